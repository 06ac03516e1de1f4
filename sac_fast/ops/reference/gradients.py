"""What the gradients of the definitions share: from ∂f/∂C to the outputs, in blocks of rows, float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .rows import BlockPairs

# Correlations that differ by no more count as equal: the rounding of an inner product
EQUAL = 2.0**-48

Side = tuple[Tensor, Tensor]


def signs(apart: Tensor) -> Tensor:
    """The sign of differences of correlations; 0 where they are equal."""
    return torch.nn.functional.hardshrink(apart, EQUAL).sign()


def gradients_of_rows(
    sides: tuple[Side, Side],
    blocks: BlockPairs,
    metric: str,
    sigma: float,
    by_entry: Callable[[slice, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Gradients of f with respect to the outputs a and b, of which ∂f/∂C^a = −∂f/∂C^b = M is symmetric.

    ∂f/∂â_i = 2 Σ_j M_ij â_j (rbf: 2 Σ_j M_ij C^a_ij â_j / σ²), up to a multiple of â_i, which has no part in the rest:
    ∂f/∂a_i = (I − â_i â_iᵀ) ∂f/∂â_i / |a_i|.

    Args:
        sides: directions (n, k) and norms (n, 1) of a and of b.
        blocks: of the same directions.
        metric, sigma: as the op has them.
        by_entry: rows of the matrix, and C^a − C^b of them -> M of them.

    Returns:
        (n, k_a) and (n, k_b), float64; 0 for rows without direction.
    """
    grads = [torch.empty_like(rows) for rows, _ in sides]
    for block, *matrices in blocks:
        entries = by_entry(block, matrices[0] - matrices[1])
        for (rows, _), matrix, grad, sign in zip(sides, matrices, grads, (2.0, -2.0), strict=True):
            grad[block] = (entries * matrix * (sign / sigma**2) if metric == "rbf" else entries * sign) @ rows
    first, second = (through_normalisation(*side, grad, metric) for side, grad in zip(sides, grads, strict=True))
    return first, second


def through_normalisation(rows: Tensor, norms: Tensor, grad: Tensor, metric: str) -> Tensor:
    """From ∂f/∂x̂ to ∂f/∂x for rows of the given directions and norms."""
    across = grad - rows * (rows * grad).sum(dim=1, keepdim=True)
    if metric == "pearson":
        across = across - grad.mean(dim=1, keepdim=True)
    return torch.where(norms > 0, across / norms, 0.0)
