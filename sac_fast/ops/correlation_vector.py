"""correlation_vector: the entries of C above the diagonal, and the forms in which they are stored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from . import reference
from .arguments import DEFAULT_SIGMA, METRICS, bandwidth, check_choice, outputs_tensor, result_dtype
from .cuda import tiles as cuda_tiles
from .dispatch import check_backend, cpu_arguments, fake_kernel, kernel, ranked, takes_cpu, takes_cuda, view

VECTOR_DTYPES = (torch.uint8, torch.float16, torch.float32, torch.float64)


def correlation_vector(
    outputs: Tensor | np.ndarray,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
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
    """
    outputs = outputs_tensor("outputs", outputs)
    check_choice("metric", metric, METRICS)
    check_backend(backend, outputs.device)
    if dtype is not None and dtype not in VECTOR_DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, VECTOR_DTYPES))}, got {dtype}")
    vector: Tensor = torch.ops.sac_fast.correlation_vector(outputs, metric, bandwidth(sigma), backend)
    if dtype == torch.uint8:
        return ((vector + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return vector if dtype is None else vector.to(dtype)


@kernel("correlation_vector(Tensor outputs, str metric, float sigma, str backend) -> Tensor")
def _correlation_vector(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    tiles = takes_cuda("correlation_vector", backend, outputs.device)
    if tiles and cuda_tiles.serves(outputs.dtype, metric, sigma, outputs.shape[1]):
        return cuda_tiles.matrices([outputs], metric, sigma, True, ["outputs"])[0]
    if not takes_cpu(backend, outputs.device):
        return reference.correlation_vector(outputs, metric=metric, sigma=sigma)
    dtype, n = result_dtype(outputs), outputs.shape[0]
    if metric == "spearman":
        metric, outputs = "pearson", ranked("outputs", outputs)
    vector = torch.empty(n * (n - 1) // 2, dtype=dtype)
    _backend.compiled().correlation_vector_cpu(
        view(outputs), metric, sigma, dtype == torch.float64, *cpu_arguments(), vector.data_ptr()
    )
    return vector


@fake_kernel("correlation_vector")
def _(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    n = outputs.shape[0]
    return outputs.new_empty(n * (n - 1) // 2, dtype=result_dtype(outputs))
