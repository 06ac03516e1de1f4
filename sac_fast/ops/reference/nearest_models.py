"""`nearest_models` as it is defined: all distances of each query, sorted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, finite_models, probes_of
from .correlation_distances import correlation_distances


def nearest_models(
    models: Sequence[Tensor],
    queries: Sequence[Tensor] | None = None,
    top: int = 10,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
) -> tuple[Tensor, Tensor]:
    """Definition of `sac_fast.nearest_models` on outputs: values and indices, (q, top); no queries: every model."""
    finite_models("models", models)
    finite_models("queries", queries or ())
    rows = (correlation_distances(query, models, metric=metric, sigma=sigma) for query in queries or models)
    return _nearest(rows, not queries, top)


def nearest_vectors(models: Tensor, queries: Tensor | None = None, top: int = 10) -> tuple[Tensor, Tensor]:
    """Definition of `sac_fast.nearest_models` on correlation vectors (m, n(n−1)/2): values and indices, (q, top)."""
    # uint8 holds round((c + 1)·127.5)
    step = 127.5 if models.dtype == torch.uint8 else 1.0
    n = probes_of(models.shape[1])
    asked = models if queries is None else queries
    wide = models.to(torch.float64)
    if not all(bool(torch.isfinite(rows.to(torch.float64)).all()) for rows in (wide, asked)):
        raise ValueError("models and queries must be finite, got a vector with NaN or Inf")
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
