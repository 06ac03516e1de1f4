"""`correlation_matrix`: the cosine, pearson, spearman or rbf correlations of a model's outputs on n probes."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..io.choices import Backend, Metric
from . import reference
from .arguments import DEFAULT_SIGMA, as_tensor, check_options, check_outputs, result_dtype
from .cuda import correlation_matrix as cuda_matrix
from .dispatch import held, register


@held
def correlation_matrix(
    outputs: Tensor | np.ndarray,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    backend: Backend = "auto",
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
        ValueError: wrong shape, unknown name, outputs that require grad, or NaN or Inf (the message names the row).
        BackendError: the backend does not fit the device.

    Example:
        >>> correlation_matrix(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
        tensor([[1.0000, 0.6000],
                [0.6000, 1.0000]])

    In PyTorch, for "cosine":

        o = torch.nn.functional.normalize(outputs)
        C = o @ o.T

    Source: Guan et al., "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks",
    NeurIPS 2022 (arXiv 2210.15427), section 3.2.
    """
    outputs = as_tensor("outputs", outputs)
    return _op(outputs, metric, check_options(sigma, metric=metric, backend=backend), backend)


def _check(outputs: Tensor, metric: str, sigma: float) -> None:
    check_outputs("outputs", outputs)
    check_options(sigma, metric=metric)


def _fake(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    n = outputs.shape[0]
    return outputs.new_empty((n, n), dtype=result_dtype(outputs))


def _cpu(outputs: Tensor, metric: str, sigma: float) -> Tensor:
    # autocast, or float32 sums of long rows of one sign, would be wrong by more than 1e-6
    return reference.correlation_matrix(outputs, metric=metric, sigma=sigma)


_op = register("correlation_matrix", check=_check, fake=_fake, cpu=_cpu, cuda=cuda_matrix.correlation_matrix)
