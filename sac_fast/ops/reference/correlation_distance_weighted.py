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
from .gradients import gradients_of_rows, signs
from .rows import BlockPairs, directions_and_norms, normalised_rows


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


def correlation_distance_weighted_backward(
    grad: Tensor, a: Tensor, b: Tensor, weights: Tensor, *, metric: str, sigma: float
) -> tuple[Tensor, Tensor]:
    """Gradients of Σ_r grad_r d_r with respect to a and b; float64.

    ∂/∂C^a_ij = sign(C^a_ij − C^b_ij) Σ_r grad_r w_ri w_rj / (Σ_i w_ri)²
    """
    sides = directions_and_norms(a, metric), directions_and_norms(b, metric)
    (rows_a, _), (rows_b, _) = sides
    if torch.equal(rows_a, rows_b):
        return torch.zeros_like(rows_a), torch.zeros_like(rows_b)
    counts = weights_values("weights", weights)
    shares = counts / counts.amax(dim=1, keepdim=True)
    shares = shares / shares.sum(dim=1, keepdim=True)
    scaled = (grad.double()[:, None] * shares).T
    blocks = BlockPairs(rows_a, rows_b, metric, sigma)
    return gradients_of_rows(sides, blocks, metric, sigma, lambda block, apart: signs(apart) * (scaled[block] @ shares))
