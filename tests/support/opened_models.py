"""Opens a model as the tests of each format do, and the inputs that it gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sac_fast.models import ModelEntry, open_model

INPUTS = torch.rand(7, 12, generator=torch.Generator().manual_seed(0))


def opened(path: Path, **options: Any) -> Any:
    architectures = options.pop("architectures", ())
    return open_model(ModelEntry("m", path, **options), architectures=architectures)
