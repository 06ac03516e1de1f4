"""correlation_matrix and correlation_distance as they are defined: float64, row blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..arguments import (
    COMPARISONS,
    DEFAULT_SIGMA,
    METRICS,
    bandwidth,
    check_choice,
    finite_rows,
    outputs_pair,
    outputs_tensor,
    result_dtype,
)

# Entries of a block of C (float64: 32 MiB), so that C itself never has to exist
_BLOCK_ENTRIES = 1 << 22


def average_ranks(x: Tensor) -> Tensor:
    """Ranks of each row's entries, 1 … k; ties share their mean rank.

    Args:
        x: (n, k) floating point.

    Returns:
        (n, k) float64 (multiples of ½). Equals `scipy.stats.rankdata(x, axis=1)`.
    """
    n, k = x.shape
    ranks = torch.empty(n, k, dtype=torch.float64, device=x.device)
    position = torch.arange(1, k + 1, dtype=torch.float64, device=x.device)
    for rows in _row_blocks(n, k):
        ordered, order = torch.sort(x[rows], dim=1)
        starts = torch.ones_like(order)
        starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        group = torch.cumsum(starts, dim=1) - 1
        zeros = torch.zeros(order.shape, dtype=torch.float64, device=x.device)
        total = zeros.scatter_add(1, group, position.expand(order.shape))
        count = zeros.scatter_add(1, group, torch.ones_like(zeros))
        ranks[rows] = zeros.scatter(1, order, (total / count).gather(1, group))
    return ranks


def normalised_rows(x: Tensor, metric: str) -> Tensor:
    """The rows x̂_i whose inner products are the correlations: float64, of norm 1, or 0 for a row without
    direction (all zero; for pearson and spearman: constant).

    Args:
        x: (n, k) floating point, finite.
        metric: "cosine" and "rbf" scale the rows; "pearson" centres them first; "spearman" takes ranks first.
    """
    if metric == "spearman":
        x = average_ranks(x)
    x = x.to(torch.float64)
    x = _scaled(x)
    if metric in ("pearson", "spearman"):
        # shifted by the first entry before the mean is taken: a constant row becomes exactly zero
        x = x - x[:, :1]
        x = _scaled(x - x.mean(dim=1, keepdim=True))
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1.0)


def correlation_matrix(outputs: Tensor | np.ndarray, *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA) -> Tensor:
    """Definition of `sac_fast.correlation_matrix`; arguments and errors are described there."""
    outputs = outputs_tensor("outputs", outputs)
    check_choice("metric", metric, METRICS)
    sigma = bandwidth(sigma)
    finite_rows("outputs", outputs)
    rows = normalised_rows(outputs, metric)
    n = rows.shape[0]
    matrix = torch.empty(n, n, dtype=result_dtype(outputs), device=rows.device)
    for block in _row_blocks(n, n):
        matrix[block] = _correlations(rows, block, metric, sigma)
    return matrix


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
    check_choice("metric", metric, METRICS)
    check_choice("comparison", comparison, COMPARISONS)
    sigma = bandwidth(sigma)
    finite_rows("a", a)
    finite_rows("b", b)
    rows_a, rows_b = normalised_rows(a, metric), normalised_rows(b, metric)
    if torch.equal(rows_a, rows_b):
        return torch.zeros((), dtype=result_dtype(a, b), device=a.device)
    blocks = BlockPairs(rows_a, rows_b, metric, sigma)
    value = {"l1": _l1, "l2": _l2, "rsa": _rsa, "cka": _cka}[comparison](blocks)
    return value.to(result_dtype(a, b))


def _scaled(x: Tensor) -> Tensor:
    # magnitude 1 before anything is squared: no overflow, nothing lost at any scale
    largest = x.abs().amax(dim=1, keepdim=True)
    return x / torch.where(largest > 0, largest, 1.0)


def _row_blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ENTRIES // width)
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def _correlations(rows: Tensor, block: slice, metric: str, sigma: float) -> Tensor:
    """Rows `block` of C, float64, (block, n)."""
    products = rows[block] @ rows.T
    if metric != "rbf":
        return products
    squared_norms = (rows * rows).sum(dim=1)
    squared = squared_norms[block, None] + squared_norms[None, :] - 2.0 * products
    return torch.exp(squared.clamp_(min=0.0).mul_(-0.5 / sigma**2))


class BlockPairs:
    """The same rows of C^a and C^b, block after block, as often as asked."""

    def __init__(self, rows_a: Tensor, rows_b: Tensor, metric: str, sigma: float) -> None:
        self.n = rows_a.shape[0]
        self.zero = torch.zeros((), dtype=torch.float64, device=rows_a.device)
        # what rounding may make of an entry of size 1
        self.rounding = 1e-14 * (max(1.0, 0.5 / sigma**2) if metric == "rbf" else 1.0)
        self._arguments = (rows_a, rows_b, metric, sigma)

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        rows_a, rows_b, metric, sigma = self._arguments
        for block in _row_blocks(self.n, self.n):
            yield (
                block,
                _correlations(rows_a, block, metric, sigma),
                _correlations(rows_b, block, metric, sigma),
            )


def _l1(blocks: BlockPairs) -> Tensor:
    total = blocks.zero
    for _, c_a, c_b in blocks:
        total = total + (c_a - c_b).abs().sum()
    return total / blocks.n**2


def _l2(blocks: BlockPairs) -> Tensor:
    total = blocks.zero
    for _, c_a, c_b in blocks:
        total = total + (c_a - c_b).square().sum()
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
    # Squared deviations at the level of float64's rounding are none at all: like a zero row, a matrix without variation
    # correlates 0 with everything.
    varies = torch.minimum(aa, bb) > rounding
    return torch.where(varies, (1.0 - ab / (aa * bb).sqrt()).clamp(min=0.0), 1.0)
