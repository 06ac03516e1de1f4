"""l2, rsa and cka of dot-product correlations without any n×n work.

With C = X̂X̂ᵀ all three follow from inner products of the matrices, their row sums and their diagonals, and
`<ÂÂᵀ, B̂B̂ᵀ> = |ÂᵀB̂|²` needs only k_a×k_b numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .arguments import finite_rows, result_dtype
from .cuda.correlation_distance import normalised_pair

# Below this share of the mean square, the variance is a result of cancellation: the two-pass definition is needed.
_MIN_SHARE = 1e-8


class _Matrix(NamedTuple):
    """What the moments of C = X̂X̂ᵀ are made of."""

    rows: Tensor  # X̂, (n, k)
    sums: Tensor  # row sums of C, (n,)
    diagonal: Tensor  # of C, (n,)


def distance_from_moments(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float) -> Tensor:
    """`correlation_distance` by "l2", "rsa" or "cka", by its definition where the moments do not serve."""
    # the k×k products pay only while they are smaller than C itself
    if metric != "rbf" and max(a.shape[1], b.shape[1]) <= a.shape[0]:
        rows_a, rows_b = normalised_pair(a, b, metric)
        if torch.equal(rows_a, rows_b):
            return a.new_zeros((), dtype=result_dtype(a, b))
        distance = comparison_from_rows(rows_a, rows_b, comparison)
        if distance is not None:
            return distance.to(result_dtype(a, b))
    return reference.correlation_distance(a, b, metric=metric, comparison=comparison, sigma=sigma)


def gradients_from_moments(grad: Tensor, a: Tensor, b: Tensor, metric: str) -> tuple[Tensor, Tensor] | None:
    """Gradients of "l2" with respect to a and b, times `grad`, float64; None where the moments do not serve.

    With D = ÂÂᵀ − B̂B̂ᵀ, ∂d/∂Â = 2 DÂ / (n² d) and DÂ = Â(ÂᵀÂ) − B̂(B̂ᵀÂ); likewise for B̂.
    """
    if metric == "rbf" or max(a.shape[1], b.shape[1]) > a.shape[0]:
        return None
    finite_rows("a", a)
    finite_rows("b", b)
    sides = reference.directions_and_norms(a, metric), reference.directions_and_norms(b, metric)
    (rows_a, _), (rows_b, _) = sides
    if torch.equal(rows_a, rows_b):
        return torch.zeros_like(rows_a), torch.zeros_like(rows_b)
    aa, bb, ab = rows_a.T @ rows_a, rows_b.T @ rows_b, rows_a.T @ rows_b
    squares = (aa.square().sum() + bb.square().sum() - 2.0 * ab.square().sum()).clamp(min=0.0)  # (n d)²
    scale = torch.where(squares > 0, 2.0 * grad.double() / (len(rows_a) * squares.sqrt()), 0.0)
    towards = (rows_a @ aa - rows_b @ ab.T) * scale, (rows_b @ bb - rows_a @ ab) * scale
    first, second = (
        reference.through_normalisation(*side, each, metric) for side, each in zip(sides, towards, strict=True)
    )
    return first, second


def comparison_from_rows(rows_a: Tensor, rows_b: Tensor, comparison: str) -> Tensor | None:
    """Compare C^a = ÂÂᵀ with C^b = B̂B̂ᵀ by "l2", "rsa" or "cka".

    Args:
        rows_a, rows_b: (n, k_a) and (n, k_b) float64, normalised rows.

    Returns:
        A 0-d float64 tensor, or None where the moments lose too many digits to cancellation.
    """
    a, b = (_Matrix(x, x @ x.sum(dim=0), x.square().sum(dim=1)) for x in (rows_a, rows_b))
    pairs = ((a, a), (b, b), (a, b))
    products = [(x.rows.T @ y.rows).square().sum() for x, y in pairs]
    if comparison == "l2":
        aa, bb, ab = products
        return (aa + bb - 2.0 * ab).clamp(min=0.0).sqrt() / rows_a.shape[0]
    if comparison == "rsa":
        products = [_above_diagonal(product, x, y) for product, (x, y) in zip(products, pairs, strict=True)]
    centre = _centred_above if comparison == "rsa" else _centred_rows
    aa, bb, ab = (centre(product, x, y) for product, (x, y) in zip(products, pairs, strict=True))
    if bool((aa <= _MIN_SHARE * products[0]) | (bb <= _MIN_SHARE * products[1])):
        return None
    return (1.0 - ab / torch.sqrt(aa * bb)).clamp(min=0.0)


def _above_diagonal(product: Tensor, x: _Matrix, y: _Matrix) -> Tensor:
    """Of <C^x, C^y> the share of the entries above the diagonal."""
    return (product - (x.diagonal * y.diagonal).sum()) / 2


def _centred_above(product: Tensor, x: _Matrix, y: _Matrix) -> Tensor:
    """The product of the entries above the diagonal less their means (rsa)."""
    n = len(x.sums)
    sum_x, sum_y = ((c.sums.sum() - c.diagonal.sum()) / 2 for c in (x, y))
    return product - sum_x * sum_y / (n * (n - 1) / 2)


def _centred_rows(product: Tensor, x: _Matrix, y: _Matrix) -> Tensor:
    """<HC^xH, HC^yH> (cka)."""
    n = len(x.sums)
    return product - 2.0 / n * (x.sums @ y.sums) + x.sums.sum() * y.sums.sum() / n**2
