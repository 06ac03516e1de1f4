"""The ops on many models, as they are defined: one pair after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, result_dtype
from .pair import correlation_distance, correlation_matrix


def correlation_distances(
    source: Tensor, suspects: Sequence[Tensor], *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA
) -> Tensor:
    """Definition of `sac_fast.correlation_distances`: (m,)."""
    distances = [correlation_distance(source, suspect, metric=metric, sigma=sigma) for suspect in suspects]
    return torch.stack(distances).to(result_dtype(source, *suspects))


def pairwise_correlation_distances(
    zoo: Sequence[Tensor], *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA
) -> Tensor:
    """Definition of `sac_fast.pairwise_correlation_distances`: (m, m)."""
    m = len(zoo)
    distances = torch.zeros(m, m, dtype=result_dtype(*zoo), device=zoo[0].device)
    for i in range(m):
        for j in range(i):
            distances[i, j] = distances[j, i] = correlation_distance(zoo[i], zoo[j], metric=metric, sigma=sigma)
    return distances


def correlation_vector(outputs: Tensor, *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA) -> Tensor:
    """Definition of `sac_fast.correlation_vector`: (n(n−1)/2,), float32 or float64."""
    matrix = correlation_matrix(outputs, metric=metric, sigma=sigma)
    n = len(matrix)
    rows, cols = torch.triu_indices(n, n, offset=1, device=matrix.device)
    return matrix[rows, cols]


def nearest_models(
    zoo: Sequence[Tensor],
    queries: Sequence[Tensor] | None = None,
    top: int = 10,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
) -> tuple[Tensor, Tensor]:
    """Definition of `sac_fast.nearest_models` on outputs: values and indices, (q, top)."""
    asked = zoo if queries is None else queries
    rows = (correlation_distances(query, zoo, metric=metric, sigma=sigma) for query in asked)
    return _nearest(rows, queries is None, top)


def nearest_vectors(zoo: Tensor, queries: Tensor | None = None, top: int = 10) -> tuple[Tensor, Tensor]:
    """Definition of `sac_fast.nearest_models` on correlation vectors (m, n(n−1)/2): values and indices, (q, top)."""
    # uint8 holds round((c + 1)·127.5)
    step = 127.5 if zoo.dtype == torch.uint8 else 1.0
    n = (1 + (1 + 8 * zoo.shape[1]) ** 0.5) / 2
    asked = zoo if queries is None else queries
    wide = zoo.to(torch.float64)
    if not all(bool(torch.isfinite(rows.to(torch.float64)).all()) for rows in (wide, asked)):
        raise ValueError("zoo and queries must be finite, got a vector with NaN or Inf")
    rows = ((wide - query.to(torch.float64)).abs().sum(dim=1) * (2 / n**2 / step) for query in asked)
    values, indices = _nearest(rows, queries is None, top)
    return values.to(torch.float32), indices


def _nearest(rows: Iterable[Tensor], leave_itself_out: bool, top: int) -> tuple[Tensor, Tensor]:
    values, indices = [], []
    for i, row in enumerate(rows):
        if leave_itself_out:
            row = row.index_fill(0, torch.tensor(i, device=row.device), torch.inf)
        # stable: ties by index
        ordered, order = torch.sort(row, stable=True)
        values.append(ordered[:top])
        indices.append(order[:top])
    return torch.stack(values), torch.stack(indices)
