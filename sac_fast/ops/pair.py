"""correlation_matrix and correlation_distance: check the arguments, choose the backend, call it.

The ops are registered with `torch.library`
(`torch.ops.sac_fast.*`) with fake kernels, so `torch.compile` and `torch.library.opcheck` know them. They are not
differentiable.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from . import reference
from .arguments import (
    COMPARISONS,
    DEFAULT_SIGMA,
    METRICS,
    PRECISIONS,
    bandwidth,
    check_choice,
    finite_rows,
    outputs_pair,
    outputs_tensor,
    result_dtype,
)
from .cuda import tiles as cuda_tiles
from .dispatch import check_backend, cpu_arguments, fake_kernel, kernel, ranked, takes_cpu, takes_cuda, view
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
        sigma: bandwidth σ of "rbf", 1e-4 … 1e15; the default, √½, is the reference scripts' 2σ² = 1.
        backend: "auto" follows the device; "cpu" and "reference" use torch's matrix product in float64, "cuda" tensor
            cores in float32's accuracy, whatever `torch.backends.cuda.matmul` allows (float64 outputs and rbf with
            2σ² < 1: float64). On a CUDA device "auto" is torch's product as long as no GPU has run the kernel (see
            `capabilities`).

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
    check_choice("metric", metric, METRICS)
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
    precision: str = "highest",
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
        sigma: bandwidth σ of "rbf", 1e-4 … 1e15; the default, √½, is the reference scripts' 2σ² = 1.
        backend: "auto" follows the device and falls back to "reference" where no compiled kernel serves it;
            "cpu" and "cuda" are the compiled module, "reference" is the float64 definition. CUDA kernels that no GPU
            has run yet (see `capabilities`) are used only when asked for by name.
        precision: of "l1" by "cuda", named as in `torch.set_float32_matmul_precision`. "highest": each normalised
            value is split into two fp16 numbers and three products are summed in float32 on tensor cores, |error| ≤
            1e-6. "high" (|error| ≤ 2e-5) takes the same way, since two products do not reach it and bf16 needs three
            as well; rows of more than 2,048 outputs are summed in float64. "medium": one fp16 product, |error| ≤ 2e-3,
            a third of the work. Other backends, other comparisons and float64 inputs compute all levels alike.

    Returns:
        0-d tensor, float32 (|error| ≤ 1e-6, but for "medium"), float64 if a or b is float64, on the device of `a`.

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
    check_choice("metric", metric, METRICS)
    check_choice("comparison", comparison, COMPARISONS)
    check_choice("precision", precision, PRECISIONS)
    check_backend(backend, a.device)
    sigma = bandwidth(sigma)
    result: Tensor = torch.ops.sac_fast.correlation_distance(a, b, metric, comparison, sigma, backend, precision)
    return result


@kernel("correlation_matrix(Tensor outputs, str metric, float sigma, str backend) -> Tensor")
def _correlation_matrix(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    tiles = takes_cuda("correlation_matrix", backend, outputs.device)
    if tiles and cuda_tiles.serves(outputs.dtype, metric, sigma, outputs.shape[1]):
        return cuda_tiles.matrices([outputs], metric, sigma, False, ["outputs"])[0]
    # float32 products of long rows of one sign would be wrong by more than 1e-6, and autocast would round them further
    return reference.correlation_matrix(outputs, metric=metric, sigma=sigma)


@fake_kernel("correlation_matrix")
def _(outputs: Tensor, metric: str, sigma: float, backend: str) -> Tensor:
    n = outputs.shape[0]
    return outputs.new_empty((n, n), dtype=result_dtype(outputs))


@kernel(
    "correlation_distance(Tensor a, Tensor b, str metric, str comparison, float sigma, str backend,"
    ' str precision="highest") -> Tensor'
)
def _correlation_distance(
    a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, backend: str, precision: str = "highest"
) -> Tensor:
    if takes_cpu(backend, a.device):
        return _correlation_distance_cpu(a, b, metric, comparison, sigma)
    if takes_cuda("correlation_distance", backend, a.device):
        return _correlation_distance_cuda(a, b, metric, comparison, sigma, precision)
    return reference.correlation_distance(a, b, metric=metric, comparison=comparison, sigma=sigma)


@fake_kernel("correlation_distance")
def _(
    a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, backend: str, precision: str = "highest"
) -> Tensor:
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


def _normalised_pair(a: Tensor, b: Tensor, metric: str, names: tuple[str, str] = ("a", "b")) -> tuple[Tensor, Tensor]:
    if not cuda_tiles.capturing(a.device):
        finite_rows(names[0], a)
        finite_rows(names[1], b)
    return reference.normalised_rows(a, metric), reference.normalised_rows(b, metric)


def _correlation_distance_cuda(
    a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, precision: str
) -> Tensor:
    if comparison != "l1":
        return _correlation_distance_moments(a, b, metric, comparison, sigma)
    dtype = result_dtype(a, b)
    if cuda_tiles.serves(dtype, metric, sigma, max(a.shape[1], b.shape[1]), precision):
        return cuda_tiles.distances(a, [b], metric, sigma, precision, ["a", "b"])[0].to(dtype)
    return distance_wide(a, b, metric, sigma, ("a", "b")).to(dtype)


def distance_wide(a: Tensor, b: Tensor, metric: str, sigma: float, names: tuple[str, str]) -> Tensor:
    """The "l1" distance by the float64 CUDA kernel: 0-d float64. `names` of a and b in messages."""
    module = _backend.compiled("cuda")
    rows_a, rows_b = (rows.contiguous() for rows in _normalised_pair(a, b, metric, names))
    n = a.shape[0]
    with cuda_tiles.on_device(a.device) as stream:
        partial = torch.empty(module.correlation_distance_cuda_blocks(n), dtype=torch.float64, device=a.device)
        module.correlation_distance_cuda(
            rows_a.data_ptr(),
            rows_a.shape[1],
            rows_b.data_ptr(),
            rows_b.shape[1],
            n,
            cuda_tiles.inverse_bandwidth(metric, sigma),
            partial.data_ptr(),
            stream,
        )
        return partial.sum() / n**2
