"""`correlation_distance` as it is defined: float64, row blocks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, check_options, finite_rows, outputs_pair, result_dtype
from .gradients import gradients_of_rows, signs
from .rows import BlockPairs, directions_and_norms, normalised_rows


def correlation_distance(
    a: Tensor | np.ndarray,
    b: Tensor | np.ndarray,
    *,
    metric: str = "cosine",
    comparison: str = "l1",
    sigma: float = DEFAULT_SIGMA,
) -> Tensor:
    """Definition of `sac_fast.correlation_distance`; arguments and errors are described there."""
    a, b = outputs_pair(a, b)
    sigma = check_options(sigma, metric=metric, comparison=comparison)
    finite_rows("a", a)
    finite_rows("b", b)
    rows_a, rows_b = normalised_rows(a, metric), normalised_rows(b, metric)
    if torch.equal(rows_a, rows_b):
        return torch.zeros((), dtype=result_dtype(a, b), device=a.device)
    blocks = BlockPairs(rows_a, rows_b, metric, sigma)
    value = {"l1": _l1, "l2": _l2, "rsa": _rsa, "cka": _cka}[comparison](blocks)
    return value.to(result_dtype(a, b))


def correlation_distance_backward(
    grad: Tensor, a: Tensor, b: Tensor, *, metric: str, comparison: str, sigma: float
) -> tuple[Tensor, Tensor]:
    """Gradients of `correlation_distance` by "l1" or "l2" with respect to a and b, times `grad`; float64.

    ∂d/∂C^a_ij = sign(D_ij) / n² for "l1" and D_ij / (n² d) for "l2", D = C^a − C^b; 0 where D (for "l2": d) is 0.
    """
    sides = directions_and_norms(a, metric), directions_and_norms(b, metric)
    (rows_a, _), (rows_b, _) = sides
    if torch.equal(rows_a, rows_b):
        return torch.zeros_like(rows_a), torch.zeros_like(rows_b)
    n = a.shape[0]
    squares = rows_a.new_zeros(())

    def by_entry(_: slice, apart: Tensor) -> Tensor:
        nonlocal squares
        if comparison == "l1":
            return signs(apart)
        squares = squares + apart.square().sum()
        return apart

    grads = gradients_of_rows(sides, BlockPairs(rows_a, rows_b, metric, sigma), metric, sigma, by_entry)
    if comparison == "l1":
        scale = grad.double() / n**2
    else:  # squares = (n d)²
        scale = torch.where(squares > 0, grad.double() / (n * squares.sqrt()), 0.0)
    return grads[0] * scale, grads[1] * scale


def _l1(blocks: BlockPairs) -> Tensor:
    return sum(((c_a - c_b).abs().sum() for _, c_a, c_b in blocks), blocks.zero) / blocks.n**2


def _l2(blocks: BlockPairs) -> Tensor:
    total = sum(((c_a - c_b).square().sum() for _, c_a, c_b in blocks), blocks.zero)
    return (total / blocks.n**2).sqrt()


def _rsa(blocks: BlockPairs) -> Tensor:
    """1 − Pearson correlation of the entries above the diagonal."""
    n = blocks.n
    sum_a = sum_b = blocks.zero
    for block, c_a, c_b in blocks:
        sum_a = sum_a + torch.triu(c_a, diagonal=block.start + 1).sum()
        sum_b = sum_b + torch.triu(c_b, diagonal=block.start + 1).sum()
    count = n * (n - 1) / 2
    mean_a, mean_b = sum_a / count, sum_b / count
    aa = bb = ab = blocks.zero
    for block, c_a, c_b in blocks:
        d_a = torch.triu(c_a - mean_a, diagonal=block.start + 1)
        d_b = torch.triu(c_b - mean_b, diagonal=block.start + 1)
        aa, bb, ab = aa + d_a.square().sum(), bb + d_b.square().sum(), ab + (d_a * d_b).sum()
    return _one_minus_cosine(aa, bb, ab, count * blocks.rounding**2)


def _cka(blocks: BlockPairs) -> Tensor:
    """1 − <HC^aH, HC^bH> / (|HC^aH| |HC^bH|), H = I − 11ᵀ/n."""
    n = blocks.n
    means_a = torch.empty(n, dtype=torch.float64, device=blocks.zero.device)
    means_b = torch.empty_like(means_a)
    for block, c_a, c_b in blocks:
        means_a[block], means_b[block] = c_a.mean(dim=1), c_b.mean(dim=1)
    aa = bb = ab = blocks.zero
    for block, c_a, c_b in blocks:
        d_a = c_a - means_a[block, None] - means_a[None, :] + means_a.mean()
        d_b = c_b - means_b[block, None] - means_b[None, :] + means_b.mean()
        aa, bb, ab = aa + d_a.square().sum(), bb + d_b.square().sum(), ab + (d_a * d_b).sum()
    return _one_minus_cosine(aa, bb, ab, n * n * blocks.rounding**2)


def _one_minus_cosine(aa: Tensor, bb: Tensor, ab: Tensor, rounding: float) -> Tensor:
    # Squared deviations no larger than float64's rounding count as none: like a zero row, a matrix without variation
    # correlates 0 with everything.
    varies = torch.minimum(aa, bb) > rounding
    return torch.where(varies, (1.0 - ab / (aa * bb).sqrt()).clamp(min=0.0), 1.0)
