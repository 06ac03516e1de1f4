"""What the definitions share: normalised rows, and C in blocks of rows, float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

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
    for rows in row_blocks(n, k):
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
    return directions_and_norms(x, metric)[0]


def directions_and_norms(x: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """`normalised_rows`, and the norms (n, 1) of the rows, centred as the metric says; 0 without direction."""
    if metric == "spearman":
        x = average_ranks(x)
    x = x.to(torch.float64)
    x, largest = _scaled(x)
    if metric in ("pearson", "spearman"):
        # shifted by the first entry before the mean is taken: a constant row becomes exactly zero
        x = x - x[:, :1]
        x, largest_centred = _scaled(x - x.mean(dim=1, keepdim=True))
        largest = largest * largest_centred
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1.0), norm * largest


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    # magnitude 1 before anything is squared: no overflow, nothing lost at any scale
    largest = x.abs().amax(dim=1, keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    return x / largest, largest


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Rows 0 … n − 1 in blocks of at most so many entries that C never has to exist."""
    step = max(1, _BLOCK_ENTRIES // width)
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def correlations(rows: Tensor, block: slice, metric: str, sigma: float) -> Tensor:
    """Rows `block` of C, float64, (block, n)."""
    products = rows[block] @ rows.T
    if metric != "rbf":
        return products
    squared_norms = (rows * rows).sum(dim=1)
    squared = squared_norms[block, None] + squared_norms[None, :] - 2.0 * products
    return torch.exp(squared.clamp_(min=0.0).mul_(-0.5 / sigma**2))


class BlockPairs:
    """The same rows of C^a and C^b, block after block; may be iterated over several times."""

    def __init__(self, rows_a: Tensor, rows_b: Tensor, metric: str, sigma: float) -> None:
        self.n = rows_a.shape[0]
        self.zero = torch.zeros((), dtype=torch.float64, device=rows_a.device)
        # the rounding error of an entry of size 1
        self.rounding = 1e-14 * (max(1.0, 0.5 / sigma**2) if metric == "rbf" else 1.0)
        self._arguments = (rows_a, rows_b, metric, sigma)

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        rows_a, rows_b, metric, sigma = self._arguments
        for block in row_blocks(self.n, self.n):
            c_a, c_b = (correlations(rows, block, metric, sigma) for rows in (rows_a, rows_b))
            yield block, c_a, c_b
