"""`correlation_distance`: how far the sample correlations of two models are apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Comparison, Metric, Precision
from . import reference
from .arguments import (
    DEFAULT_SIGMA,
    as_tensor,
    check_derivative,
    check_options,
    check_pair,
    check_upstream,
    finite_rows,
    result_dtype,
)
from .cuda.correlation_distances import correlation_distances as cuda_distances
from .dispatch import (
    cpu_arguments,
    fake_gradients,
    gradient_buffers,
    held,
    in_dtypes,
    ranked_pair,
    register,
    register_gradient,
    view,
    wanted_gradients,
)
from .moments import distance_from_moments, gradients_from_moments


@held
def correlation_distance(
    a: Tensor | np.ndarray,
    b: Tensor | np.ndarray,
    *,
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    sigma: float = DEFAULT_SIGMA,
    backend: Backend = "auto",
    precision: Precision = "highest",
) -> Tensor:
    """Distance between the sample correlations of two models on the same n probes.

    With C^x = `correlation_matrix(x)`:

    * "l1" (SAC): d = (1/n²) Σ_ij |C^a_ij − C^b_ij|
    * "l2": d = √((1/n²) Σ_ij (C^a_ij − C^b_ij)²)
    * "rsa": d = 1 − Pearson correlation of the entries above the diagonals
    * "cka": d = 1 − <HC^aH, HC^bH> / (|HC^aH| |HC^bH|), H = I − 11ᵀ/n

    Neither n×n matrix is stored. Identical models give exactly 0; the same call twice gives the same bits, for any
    number of threads. "l1" and "l2" of "cosine", "pearson" and "rbf" are differentiable once in a and b, in O(n·k)
    memory; of |x| at 0, of identical models and for rows without direction the gradient is 0. For "rsa" and "cka" a
    matrix without variation correlates 0 with any other (d = 1).

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
        ValueError: shapes or devices that do not fit, unknown name, NaN or Inf (the message names the row), or outputs
            that require grad with a metric or comparison that has none.
        BackendError: the backend was asked for by name and is not there, or does not fit the device.

    Example:
        >>> source = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> suspect = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> correlation_distance(source, suspect)
        tensor(0.5000)

    In PyTorch, for "cosine" and "l1":

        a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
        d = (a @ a.T - b @ b.T).abs().mean()

    Source: Guan et al., NeurIPS 2022 (arXiv 2210.15427), section 3.2; Kriegeskorte et al. 2008 (rsa);
    Kornblith et al. 2019 (cka).
    """
    a, b = as_tensor("a", a), as_tensor("b", b)
    sigma = check_options(sigma, metric=metric, comparison=comparison, precision=precision, backend=backend)
    return _op(a, b, metric, comparison, sigma, backend, precision)


def _check(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, precision: str = "highest") -> None:
    check_pair(a, b)
    check_options(sigma, metric=metric, comparison=comparison, precision=precision)


def _fake(a: Tensor, b: Tensor, *options: object) -> Tensor:
    return a.new_empty((), dtype=result_dtype(a, b))


def _cpu(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, precision: str = "highest") -> Tensor:
    if comparison != "l1":
        return distance_from_moments(a, b, metric, comparison, sigma)
    dtype = result_dtype(a, b)
    metric, a, b = ranked_pair(a, b, metric)
    distance = _backend.compiled().correlation_distance_cpu(view(a), view(b), metric, sigma, *cpu_arguments())
    return torch.tensor(distance, dtype=dtype)


def _cuda(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, precision: str = "highest") -> Tensor:
    if comparison != "l1":
        return distance_from_moments(a, b, metric, comparison, sigma)
    return cuda_distances(a, [b], metric, sigma, precision, ["a", "b"])[0]


_op = register("correlation_distance", check=_check, fake=_fake, cpu=_cpu, cuda=_cuda)


def _check_backward(
    grad: Tensor, a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, wants_a: bool, wants_b: bool
) -> None:
    check_pair(a, b)
    check_upstream(grad, (), a)
    check_options(sigma, metric=metric, comparison=comparison)
    check_derivative(metric, comparison)


def _fake_backward(
    grad: Tensor, a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    return fake_gradients(a, b, wants_a, wants_b)


def _cpu_backward(
    grad: Tensor, a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    if comparison == "l2":
        return _torch_backward(grad, a, b, metric, comparison, sigma, wants_a, wants_b)
    grad_a, grad_b = gradient_buffers(a, b, wants_a, wants_b)
    _backend.compiled().correlation_distance_backward_cpu(
        view(a), view(b), metric, sigma, float(grad), *cpu_arguments(), grad_a.data_ptr(), grad_b.data_ptr()
    )
    return in_dtypes(grad_a, grad_b, a, b)


def _torch_backward(
    grad: Tensor, a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    """By moments where they serve, else by definition, on any device; there is no CUDA kernel."""
    found = gradients_from_moments(grad, a, b, metric) if comparison == "l2" else None
    if found is None:
        return _reference_backward(grad, a, b, metric, comparison, sigma, wants_a, wants_b)
    return wanted_gradients(found, a, b, wants_a, wants_b)


def _reference_backward(
    grad: Tensor, a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    finite_rows("a", a)
    finite_rows("b", b)
    found = reference.correlation_distance_backward(grad, a, b, metric=metric, comparison=comparison, sigma=sigma)
    return wanted_gradients(found, a, b, wants_a, wants_b)


_backward = register(
    "correlation_distance",
    "correlation_distance_backward",
    check=_check_backward,
    fake=_fake_backward,
    cpu=_cpu_backward,
    cuda=_torch_backward,
    reference=_reference_backward,
)


def _check_gradient(a: Tensor, b: Tensor, metric: str, comparison: str, sigma: float) -> None:
    check_derivative(metric, comparison)


register_gradient("correlation_distance", _backward, _check_gradient)
