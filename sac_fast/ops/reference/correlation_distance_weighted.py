"""`correlation_distance_weighted` as it is defined: float64, row blocks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..arguments import (
    DEFAULT_SIGMA,
    as_weights,
    check_options,
    check_weights,
    finite_rows,
    outputs_pair,
    result_dtype,
    weights_values,
)
from .rows import BlockPairs, normalised_rows


def correlation_distance_weighted(
    a: Tensor | np.ndarray,
    b: Tensor | np.ndarray,
    weights: Tensor | np.ndarray,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
) -> Tensor:
    """Definition of `sac_fast.correlation_distance_weighted`; arguments and errors are described there."""
    a, b = outputs_pair(a, b)
    sigma = check_options(sigma, metric=metric)
    finite_rows("a", a)
    finite_rows("b", b)
    weights = as_weights("weights", weights)
    check_weights("weights", weights, a)
    counts = weights_values("weights", weights)
    # neither overflow nor underflow in the squares
    counts = counts / counts.amax(dim=1, keepdim=True)
    rows_a, rows_b = normalised_rows(a, metric), normalised_rows(b, metric)
    total = torch.zeros(len(counts), dtype=torch.float64, device=a.device)
    if not torch.equal(rows_a, rows_b):
        for block, c_a, c_b in BlockPairs(rows_a, rows_b, metric, sigma):
            total += ((counts[:, block] @ (c_a - c_b).abs_()) * counts).sum(dim=1)
    return (total / counts.sum(dim=1).square()).to(result_dtype(a, b))
