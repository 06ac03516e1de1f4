"""`correlation_distances` as it is defined: one suspect after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, finite_models, finite_rows, result_dtype
from .correlation_distance import correlation_distance


def correlation_distances(
    source: Tensor, suspects: Sequence[Tensor], *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA
) -> Tensor:
    """Definition of `sac_fast.correlation_distances`: (m,)."""
    finite_rows("source", source)
    finite_models("suspects", suspects)
    distances = [correlation_distance(source, suspect, metric=metric, sigma=sigma) for suspect in suspects]
    return torch.stack(distances).to(result_dtype(source, *suspects))
