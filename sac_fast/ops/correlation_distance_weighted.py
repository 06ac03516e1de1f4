"""`correlation_distance_weighted`: the distance under many weightings of the probes in one pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Metric
from . import reference
from .arguments import (
    DEFAULT_SIGMA,
    as_tensor,
    as_weights,
    check_derivative,
    check_detached,
    check_options,
    check_pair,
    check_upstream,
    check_weights,
    finite_rows,
    result_dtype,
    weights_values,
)
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


@held
def correlation_distance_weighted(
    a: Tensor | np.ndarray,
    b: Tensor | np.ndarray,
    weights: Tensor | np.ndarray,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    backend: Backend = "auto",
) -> Tensor:
    """`correlation_distance` ("l1") with probe i counted w_i times, for R weightings in one pass.

    d_r = Σ_ij w_ri |C^a_ij − C^b_ij| w_rj / (Σ_i w_ri)²

    It is the plain weighted mean of D = |C^a − C^b| over all pairs, those of a probe with itself included: weights of 1
    give `correlation_distance`, weights of 0 and 1 that of a subset of the probes, and counts of a resample with
    replacement that of the resampled probes. In such a resample pairs of a probe with its own copy stand on the
    diagonal of D, which is 0 but for rows without direction, so bootstrap replicates lie 1/n too low on average:
    `sac_fast.verdict.probe_bootstrap` corrects it. D is never stored; a tile of it is multiplied by all weights while
    it is in the cache. Differentiable in a and b as `correlation_distance` is, not in the weights.

    Args:
        a: (n, k_a) outputs of the first model, float16, bfloat16, float32 or float64; tensor or NumPy array.
        b: (n, k_b) outputs of the second model on the same probes.
        weights: (R, n) floating point or integers, R ≥ 1, finite, ≥ 0, each row with a positive sum.
        metric: "cosine", "pearson", "spearman" or "rbf".
        sigma: bandwidth σ of "rbf".
        backend: "auto" takes the compiled CPU kernel for CPU tensors, else "reference", the float64 definition on the
            tensors' device; "cpu" asks for the kernel by name. There is no CUDA kernel.

    Returns:
        (R,) float32 (|error| ≤ 1e-6), float64 if a or b is float64, on the device of `a`. The same bits for any number
        of threads; 0 for identical models.

    Raises:
        TypeError: not dense matrices of numbers.
        ValueError: shapes or devices that do not fit, unknown name, weights that are negative, NaN, Inf or all zero,
            weights that require grad, "spearman" of outputs that do, or outputs with NaN or Inf (the message names the
            row).
        BackendError: the backend was asked for by name and is not there, or does not fit the device.

    Example:
        >>> a, b = torch.eye(3), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> correlation_distance_weighted(a, b, torch.tensor([[1, 1, 1], [1, 0, 1]]))
        tensor([0.2222, 0.0000])

    In PyTorch, with the n×n matrix D of one pair:

        d = ((weights @ D) * weights).sum(dim=1) / weights.sum(dim=1) ** 2

    Source: the distance: Guan et al., NeurIPS 2022 (arXiv 2210.15427), section 3.2; resampling by counts: Efron,
    "Bootstrap methods: another look at the jackknife", Ann. Statist. 1979.
    """
    a, b, weights = as_tensor("a", a), as_tensor("b", b), as_weights("weights", weights)
    return _op(a, b, weights, metric, check_options(sigma, metric=metric, backend=backend), backend)


def _check(a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float) -> None:
    check_pair(a, b)
    check_weights("weights", weights, a)
    check_options(sigma, metric=metric)


def _fake(a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float) -> Tensor:
    return a.new_empty((weights.shape[0],), dtype=result_dtype(a, b))


def _cpu(a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float) -> Tensor:
    dtype = result_dtype(a, b)
    metric, a, b = ranked_pair(a, b, metric)
    counts = weights_values("weights", weights)
    distances = torch.empty(len(counts), dtype=torch.float64)
    _backend.compiled().correlation_distance_weighted_cpu(
        view(a), view(b), counts.data_ptr(), len(counts), metric, sigma, *cpu_arguments(), distances.data_ptr()
    )
    return distances.to(dtype)


_op = register("correlation_distance_weighted", check=_check, fake=_fake, cpu=_cpu)


def _check_backward(
    grad: Tensor, a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float, wants_a: bool, wants_b: bool
) -> None:
    _check(a, b, weights, metric, sigma)
    check_upstream(grad, (weights.shape[0],), a)
    check_derivative(metric)


def _fake_backward(
    grad: Tensor, a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    return fake_gradients(a, b, wants_a, wants_b)


def _cpu_backward(
    grad: Tensor, a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    counts, shares = weights_values("weights", weights), grad.to(torch.float64).contiguous()
    grad_a, grad_b = gradient_buffers(a, b, wants_a, wants_b)
    options = (metric, sigma, shares.data_ptr(), *cpu_arguments())
    _backend.compiled().correlation_distance_weighted_backward_cpu(
        view(a), view(b), counts.data_ptr(), len(counts), *options, grad_a.data_ptr(), grad_b.data_ptr()
    )
    return in_dtypes(grad_a, grad_b, a, b)


def _reference_backward(
    grad: Tensor, a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float, wants_a: bool, wants_b: bool
) -> tuple[Tensor, Tensor]:
    finite_rows("a", a)
    finite_rows("b", b)
    found = reference.correlation_distance_weighted_backward(grad, a, b, weights, metric=metric, sigma=sigma)
    return wanted_gradients(found, a, b, wants_a, wants_b)


_backward = register(
    "correlation_distance_weighted",
    "correlation_distance_weighted_backward",
    check=_check_backward,
    fake=_fake_backward,
    cpu=_cpu_backward,
    reference=_reference_backward,
)


def _check_gradient(a: Tensor, b: Tensor, weights: Tensor, metric: str, sigma: float) -> None:
    # whoever calls this has found that a gradient is recorded, and has switched recording off
    with torch.enable_grad():
        check_detached("weights", weights)
    check_derivative(metric)


register_gradient("correlation_distance_weighted", _backward, _check_gradient)
