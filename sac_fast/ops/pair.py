"""correlation_matrix and correlation_distance: check the arguments, choose the backend, call it.

The ops are registered with `torch.library`
(`torch.ops.sac_fast.*`) with fake kernels, so `torch.compile` and `torch.library.opcheck` know them. They are not
differentiable.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend, reference
from ..arguments import (
    COMPARISONS,
    DEFAULT_SIGMA,
    METRICS,
    bandwidth,
    finite_rows,
    one_of,
    outputs_pair,
    outputs_tensor,
    result_dtype,
)
from .boundary import check_backend, cpu_arguments, fake_kernel, kernel, ranked, view
from .moments import comparison_from_rows


def correlation_matrix(
    outputs: Tensor | np.ndarray,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
    backend: str = "auto",
) -> Tensor:
    """Sample correlation matrix of a model's outputs on n probes.

    C_ij = <ô_i, ô_j>, where ô_i is row i divided by its L2 norm ("cosine"), after centring on its own mean
    ("pearson"), or after replacing it by its ranks and centring ("spearman"); "rbf" is
    C_ij = exp(−|ô_i − ô_j|² / (2σ²)) on L2-normalised rows. A row without direction stays zero: its inner products
    are 0.

    Args:
        outputs: (n, k) float16, bfloat16, float32 or float64, n ≥ 2; any strides; tensor or NumPy array.
        metric: "cosine", "pearson", "spearman" or "rbf".
        sigma: bandwidth σ of "rbf"; the default, √½, is the reference scripts' 2σ² = 1.
        backend: "auto" follows the device; "cpu" and "cuda" use torch's matrix product in the result's dtype
            (rbf: float64), "reference" float64 throughout.

    Returns:
        (n, n) float32, float64 for float64 outputs, on the device of `outputs`.

    Raises:
        TypeError: not a dense floating-point matrix.
        ValueError: wrong shape, unknown name, or NaN or Inf (the message names the row).
        BackendError: the backend does not fit the device.

    In PyTorch, for "cosine":

        o = torch.nn.functional.normalize(outputs)
        C = o @ o.T

    Source: Guan et al., "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks",
    NeurIPS 2022 (arXiv 2210.15427), section 3.2.
    """
    outputs = outputs_tensor("outputs", outputs)
    one_of("metric", metric, METRICS)
    check_backend(backend, outputs.device)
    result: Tensor = torch.ops.sac_fast.correlation_matrix(outputs, metric, bandwidth(sigma), backend)
    return result


def correlation_distance(
    a: Tensor | np.ndarray,
    b: Tensor | np.ndarray,
    *,
    metric: str = "cosine",
    comparison: str = "l1",
    sigma: float = DEFAULT_SIGMA,
    backend: str = "auto",
) -> Tensor:
    """Distance between the sample correlations of two models on the same n probes.

    With C^x = `correlation_matrix(x)`:

    * "l1" (SAC): d = (1/n²) Σ_ij |C^a_ij − C^b_ij|
    * "l2": d = √((1/n²) Σ_ij (C^a_ij − C^b_ij)²)
    * "rsa": d = 1 − Pearson correlation of the entries above the diagonals
    * "cka": d = 1 − <HC^aH, HC^bH> / (|HC^aH| |HC^bH|), H = I − 11ᵀ/n

    Neither n×n matrix is stored. Identical models give exactly 0; the same call twice gives the same bits, for any
    number of threads. For "rsa" and "cka" a matrix without variation correlates 0 with any other (d = 1).

    Args:
        a: (n, k_a) outputs of the first model, float16, bfloat16, float32 or float64; any strides; tensor or
            NumPy array.
        b: (n, k_b) outputs of the second model on the same probes; k_b may differ from k_a.
        metric: "cosine", "pearson", "spearman" or "rbf".
        comparison: "l1", "l2", "rsa" or "cka".
        sigma: bandwidth σ of "rbf"; the default, √½, is the reference scripts' 2σ² = 1.
        backend: "auto" follows the device and falls back to "reference" where no compiled kernel serves it;
            "cpu" and "cuda" are the compiled module, "reference" is the float64 definition. CUDA kernels that no GPU
            has run yet (see `capabilities`) are used only when asked for by name.

    Returns:
        0-d tensor, float32 (|error| ≤ 1e-6), float64 if a or b is float64, on the device of `a`.

    Raises:
        TypeError: not a dense floating-point matrix.
        ValueError: shapes or devices that do not fit, unknown name, or NaN or Inf (the message names the row).
        BackendError: the backend was asked for by name and is not there, or does not fit the device.

    In PyTorch, for "cosine" and "l1":

        a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
        d = (a @ a.T - b @ b.T).abs().mean()

    Source: Guan et al., NeurIPS 2022 (arXiv 2210.15427), section 3.2; Kriegeskorte et al. 2008 (rsa);
    Kornblith et al. 2019 (cka).
    """
    a, b = outputs_pair(a, b)
    one_of("metric", metric, METRICS)
    one_of("comparison", comparison, COMPARISONS)
    check_backend(backend, a.device)
    sigma = bandwidth(sigma)
    result: Tensor = torch.ops.sac_fast.correlation_distance(a, b, metric, comparison, sigma, backend)
    return result


@kernel("correlation_matrix(Tensor outputs, str metric, float sigma, str backend) -> Tensor")
def _correlation_matrix(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    # rbf magnifies the rounding of the products by 1/(2σ²): that stays with float64
    if backend == "reference" or metric == "rbf":
        return reference.correlation_matrix(outputs, metric=metric, sigma=sigma)
    finite_rows("outputs", outputs)
    rows = reference.normalised_rows(outputs, metric).to(result_dtype(outputs))
    return rows @ rows.T


@fake_kernel("correlation_matrix")
def _(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    n = outputs.shape[0]
    return outputs.new_empty((n, n), dtype=result_dtype(outputs))


@kernel("correlation_distance(Tensor a, Tensor b, str metric, str comparison, float sigma, str backend) -> Tensor")
def _correlation_distance(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, backend: str) -> Tensor:
    if backend == "cpu" or (backend == "auto" and a.device.type == "cpu" and _backend.is_compiled()):
        return _correlation_distance_cpu(a, b, metric, comparison, sigma)
    if backend == "cuda":
        return _correlation_distance_cuda(a, b, metric, comparison, sigma)
    return reference.correlation_distance(a, b, metric=metric, comparison=comparison, sigma=sigma)


@fake_kernel("correlation_distance")
def _(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, backend: str) -> Tensor:
    return a.new_empty((), dtype=result_dtype(a, b))


def _correlation_distance_cpu(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float) -> Tensor:
    if comparison != "l1":
        return _correlation_distance_moments(a, b, metric, comparison, sigma)
    dtype = result_dtype(a, b)
    if metric == "spearman":
        metric, a, b = "pearson", ranked("a", a), ranked("b", b)
    distance = _backend.compiled().correlation_distance_cpu(view(a), view(b), metric, sigma, *cpu_arguments())
    return torch.tensor(distance, dtype=dtype)


def _correlation_distance_moments(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float) -> Tensor:
    # the k×k products pay only while they are smaller than C itself
    if metric != "rbf" and max(a.shape[1], b.shape[1]) <= a.shape[0]:
        rows_a, rows_b = _normalised_pair(a, b, metric)
        if torch.equal(rows_a, rows_b):
            return a.new_zeros((), dtype=result_dtype(a, b))
        distance = comparison_from_rows(rows_a, rows_b, comparison)
        if distance is not None:
            return distance.to(result_dtype(a, b))
    return reference.correlation_distance(a, b, metric=metric, comparison=comparison, sigma=sigma)


def _normalised_pair(a: Tensor, b: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    finite_rows("a", a)
    finite_rows("b", b)
    return reference.normalised_rows(a, metric), reference.normalised_rows(b, metric)


def _correlation_distance_cuda(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float) -> Tensor:
    if comparison != "l1":
        return _correlation_distance_moments(a, b, metric, comparison, sigma)
    module = _backend.compiled("cuda")
    dtype = result_dtype(a, b)
    # rbf magnifies the rounding of the products by 1/(2σ²): that stays with float64
    wide = dtype == torch.float64 or metric == "rbf"
    rows_a, rows_b = (
        rows.to(torch.float64 if wide else torch.float32).contiguous() for rows in _normalised_pair(a, b, metric)
    )
    if torch.equal(rows_a, rows_b):
        return a.new_zeros((), dtype=dtype)
    n = a.shape[0]
    with torch.cuda.device(a.device):
        partial = torch.empty(module.correlation_distance_cuda_blocks(n), dtype=torch.float64, device=a.device)
        module.correlation_distance_cuda(
            rows_a.data_ptr(),
            rows_a.shape[1],
            rows_b.data_ptr(),
            rows_b.shape[1],
            n,
            wide,
            0.5 / sigma**2 if metric == "rbf" else 0.0,
            partial.data_ptr(),
            torch.cuda.current_stream().cuda_stream,
        )
    return (partial.sum() / n**2).to(dtype)
