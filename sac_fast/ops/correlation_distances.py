"""`correlation_distances`: one source against many suspects, with the l1 comparison."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Metric, Precision
from .arguments import (
    DEFAULT_SIGMA,
    Models,
    as_models,
    as_tensor,
    check_models,
    check_options,
    check_outputs,
    result_dtype,
)
from .cuda import correlation_distances as cuda_distances
from .dispatch import cpu_arguments, held, ranked, ranked_models, register, view


@held
def correlation_distances(
    source: Tensor | np.ndarray,
    suspects: Models,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    backend: Backend = "auto",
    precision: Precision = "highest",
) -> Tensor:
    """`correlation_distance` of one source to each of m suspects.

    d_s = (1/n²) Σ_ij |C^source_ij − C^s_ij|. Each tile of the source's correlations is formed once for all suspects.

    Args:
        source: (n, k) outputs, float16, bfloat16, float32 or float64; tensor or NumPy array.
        suspects: (m, n, k), or a sequence of (n, k_s), m ≥ 1; the k_s may differ.
        metric, sigma, backend, precision: see `correlation_distance`.

    Returns:
        (m,) float32, float64 if any input is float64.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the suspect.

    Example:
        >>> source = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> correlation_distances(source, [source, torch.ones(2, 3)])
        tensor([0.0000, 0.5000])

    In PyTorch: ``torch.stack([correlation_distance(source, s) for s in suspects])``.
    """
    source = as_tensor("source", source)
    models = as_models("suspects", suspects)
    sigma = check_options(sigma, metric=metric, precision=precision, backend=backend)
    return _op(source, models, metric, sigma, backend, precision)


def _check(source: Tensor, suspects: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> None:
    check_outputs("source", source)
    check_models("suspects", suspects, like=source)
    check_options(sigma, metric=metric, precision=precision)


def _fake(source: Tensor, suspects: list[Tensor], *options: object) -> Tensor:
    return source.new_empty(len(suspects), dtype=result_dtype(source, *suspects))


def _cpu(source: Tensor, suspects: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> Tensor:
    dtype = result_dtype(source, *suspects)
    if metric == "spearman":
        source = ranked("source", source)
    metric, suspects = ranked_models("suspects", suspects, metric)
    distances = torch.empty(len(suspects), dtype=torch.float64)
    _backend.compiled().correlation_distances_cpu(
        view(source), [view(x) for x in suspects], metric, sigma, *cpu_arguments(), distances.data_ptr()
    )
    return distances.to(dtype)


_op = register("correlation_distances", check=_check, fake=_fake, cpu=_cpu, cuda=cuda_distances.correlation_distances)
