"""The tasks by the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ProbeError
from .patches import QUICK_COUNTS, Counts, make_patches
from .plan import ARCHITECTURES, FULL, QUICK, Size
from .task import Task

Architectures = Mapping[str, Mapping[str, Any]]


def make_task(name: str, *, quick: bool = False, seed: int = 0) -> tuple[Task, Size, Architectures]:
    """Make a task by name.

    Args:
        name: ``"patches"``.
        quick: a small one.
        seed: of the task.

    Returns:
        Task, size of the test bed, architectures with their arguments.

    Raises:
        ProbeError: no such task, or its images are missing.
    """
    if name == "patches":
        return make_patches(seed, QUICK_COUNTS if quick else Counts()), QUICK if quick else FULL, ARCHITECTURES
    raise ProbeError(f"task must be patches, got {name!r}")
