"""`pairwise_correlation_distances` as it is defined: one pair after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, finite_models, result_dtype
from .correlation_distance import correlation_distance


def pairwise_correlation_distances(
    models: Sequence[Tensor], *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA
) -> Tensor:
    """Definition of `sac_fast.pairwise_correlation_distances`: (m, m)."""
    finite_models("models", models)
    m = len(models)
    distances = torch.zeros(m, m, dtype=result_dtype(*models), device=models[0].device)
    for i in range(m):
        for j in range(i):
            distances[i, j] = distances[j, i] = correlation_distance(models[i], models[j], metric=metric, sigma=sigma)
    return distances
