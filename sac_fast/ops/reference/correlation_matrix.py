"""`correlation_matrix` as it is defined: float64, row blocks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..arguments import DEFAULT_SIGMA, check_options, finite_rows, outputs_tensor, result_dtype
from .rows import correlations, normalised_rows, row_blocks


def correlation_matrix(outputs: Tensor | np.ndarray, *, metric: str = "cosine", sigma: float = DEFAULT_SIGMA) -> Tensor:
    """Definition of `sac_fast.correlation_matrix`; arguments and errors are described there."""
    outputs = outputs_tensor("outputs", outputs)
    sigma = check_options(sigma, metric=metric)
    finite_rows("outputs", outputs)
    rows = normalised_rows(outputs, metric)
    n = rows.shape[0]
    matrix = torch.empty(n, n, dtype=result_dtype(outputs), device=rows.device)
    for block in row_blocks(n, n):
        matrix[block] = correlations(rows, block, metric, sigma)
    return matrix
