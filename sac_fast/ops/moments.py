"""l2, rsa and cka of dot-product correlations without any n×n work.

With C = X̂X̂ᵀ all three follow from inner products of the matrices, their row sums and their diagonals, and
`<ÂÂᵀ, B̂B̂ᵀ> = |ÂᵀB̂|²` needs only k_a×k_b numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .arguments import result_dtype
from .cuda.correlation_distance import normalised_pair

# Below this share of the mean square, the variance is a result of cancellation: the two-pass definition is needed.
_MIN_SHARE = 1e-8


class _Moments(NamedTuple):
    aa: Tensor  # <C^a, C^a>
    bb: Tensor
    ab: Tensor
    rows_a: Tensor  # row sums of C^a, (n,)
    rows_b: Tensor
    diagonal_a: Tensor  # (n,)
    diagonal_b: Tensor


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


def comparison_from_rows(rows_a: Tensor, rows_b: Tensor, comparison: str) -> Tensor | None:
    """Compare C^a = ÂÂᵀ with C^b = B̂B̂ᵀ by "l2", "rsa" or "cka".

    Args:
        rows_a, rows_b: (n, k_a) and (n, k_b) float64, normalised rows.

    Returns:
        A 0-d float64 tensor, or None where the moments lose too many digits to cancellation.
    """
    moments = _Moments(
        aa=(rows_a.T @ rows_a).square().sum(),
        bb=(rows_b.T @ rows_b).square().sum(),
        ab=(rows_a.T @ rows_b).square().sum(),
        rows_a=rows_a @ rows_a.sum(dim=0),
        rows_b=rows_b @ rows_b.sum(dim=0),
        diagonal_a=rows_a.square().sum(dim=1),
        diagonal_b=rows_b.square().sum(dim=1),
    )
    if comparison == "l2":
        n = rows_a.shape[0]
        return (moments.aa + moments.bb - 2.0 * moments.ab).clamp(min=0.0).sqrt() / n
    return _rsa(moments) if comparison == "rsa" else _cka(moments)


def _rsa(m: _Moments) -> Tensor | None:
    n = m.rows_a.shape[0]
    count = n * (n - 1) / 2
    sum_a = (m.rows_a.sum() - m.diagonal_a.sum()) / 2
    sum_b = (m.rows_b.sum() - m.diagonal_b.sum()) / 2
    square_a = (m.aa - m.diagonal_a.square().sum()) / 2
    square_b = (m.bb - m.diagonal_b.square().sum()) / 2
    product = (m.ab - (m.diagonal_a * m.diagonal_b).sum()) / 2
    return _one_minus_cosine(
        square_a - sum_a**2 / count,
        square_b - sum_b**2 / count,
        product - sum_a * sum_b / count,
        square_a,
        square_b,
    )


def _cka(m: _Moments) -> Tensor | None:
    n = m.rows_a.shape[0]

    def centred(product: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
        return product - 2.0 / n * (rows_x @ rows_y) + rows_x.sum() * rows_y.sum() / n**2

    return _one_minus_cosine(
        centred(m.aa, m.rows_a, m.rows_a),
        centred(m.bb, m.rows_b, m.rows_b),
        centred(m.ab, m.rows_a, m.rows_b),
        m.aa,
        m.bb,
    )


def _one_minus_cosine(aa: Tensor, bb: Tensor, ab: Tensor, whole_a: Tensor, whole_b: Tensor) -> Tensor | None:
    if bool((aa <= _MIN_SHARE * whole_a) | (bb <= _MIN_SHARE * whole_b)):
        return None
    return (1.0 - ab / torch.sqrt(aa * bb)).clamp(min=0.0)
