"""`correlation_vector` as it is defined: the entries of C above the diagonal."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA
from .correlation_matrix import correlation_matrix


def correlation_vector(outputs: Tensor, *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA) -> Tensor:
    """Definition of `sac_fast.correlation_vector`: (n(n−1)/2,), float32 or float64."""
    matrix = correlation_matrix(outputs, metric=metric, sigma=sigma)
    n = len(matrix)
    rows, cols = torch.triu_indices(n, n, offset=1, device=matrix.device)
    return matrix[rows, cols]
