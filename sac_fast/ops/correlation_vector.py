"""`correlation_vector`: the entries of C above the diagonal, and the forms in which they are stored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Metric
from .arguments import DEFAULT_SIGMA, VECTOR_DTYPES, as_tensor, check_options, check_outputs, result_dtype
from .cuda import correlation_vector as cuda_vector
from .dispatch import cpu_arguments, held, ranked, register, view


@held
def correlation_vector(
    outputs: Tensor | np.ndarray,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """The n(n−1)/2 correlations above the diagonal, row by row: a model's condensed fingerprint.

    Order of `scipy.spatial.distance.squareform`. The distance of two models is (2/n²) Σ|v^a − v^b| (the diagonals are
    equal, but for rows without direction). The storage forms and what they cost: float16 is wrong by up to 2⁻¹² an
    entry, so a distance by up to 2⁻¹¹ ≈ 4.9e-4; uint8 holds round((c + 1)·127.5), wrong by up to 1/255 an entry, a
    distance by up to 2/255 ≈ 7.8e-3. Errors of single entries average out: over thousands of entries a distance is
    usually a hundred times better than these bounds.

    Args:
        outputs: (n, k) float16, bfloat16, float32 or float64, n ≥ 2; tensor or NumPy array.
        metric: "cosine", "pearson", "spearman" or "rbf".
        sigma: bandwidth σ of "rbf".
        dtype: torch.uint8, float16, float32 or float64; None: float32, float64 for float64 outputs.
        backend: "auto", "cpu", "cuda" or "reference".

    Returns:
        (n(n−1)/2,) of `dtype`.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_matrix`.

    Example:
        >>> outputs = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> correlation_vector(outputs)
        tensor([0.6000, 0.0000, 0.8000])
        >>> correlation_vector(outputs, dtype=torch.uint8)
        tensor([204, 128, 230], dtype=torch.uint8)
    """
    outputs = as_tensor("outputs", outputs)
    sigma = check_options(sigma, metric=metric, backend=backend)
    if dtype is not None and dtype not in VECTOR_DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, VECTOR_DTYPES))}, got {dtype}")
    vector = _op(outputs, metric, sigma, backend)
    if dtype == torch.uint8:
        return ((vector + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return vector if dtype is None else vector.to(dtype)


def _check(outputs: Tensor, metric: str, sigma: float) -> None:
    check_outputs("outputs", outputs)
    check_options(sigma, metric=metric)


def _fake(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    n = outputs.shape[0]
    return outputs.new_empty(n * (n - 1) // 2, dtype=result_dtype(outputs))


def _cpu(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    dtype, n = result_dtype(outputs), outputs.shape[0]
    if metric == "spearman":
        metric, outputs = "pearson", ranked("outputs", outputs)
    vector = torch.empty(n * (n - 1) // 2, dtype=dtype)
    _backend.compiled().correlation_vector_cpu(
        view(outputs), metric, sigma, dtype == torch.float64, *cpu_arguments(), vector.data_ptr()
    )
    return vector


_op = register("correlation_vector", check=_check, fake=_fake, cpu=_cpu, cuda=cuda_vector.correlation_vector)
