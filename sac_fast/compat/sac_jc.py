"""The functions of SAC_JC's `SAC.py`, with the same names: ``from sac_fast.compat.sac_jc import *``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from . import evaluation, functions
from .functions import *  # noqa: F403 - the names of both scripts
from .functions import Batches, model_outputs, one_minus_cosine

__all__ = ["cal_cor", "correlation", "correlation_differences"]
__all__ += functions.__all__


def correlation(m: Tensor, n: Tensor) -> Tensor:
    """Cosine distance of every row of `m` from every row of `n`.

    C_ij = 1 − <m̂_i, n̂_j>, with m̂_i the row divided by its L2 norm (a zero row stays zero)

    Args:
        m: (n_m, k) floating point, any device.
        n: (n_n, k), same dtype and device.

    Returns:
        (n_m, n_n), dtype and device of `m`, without a graph.

    Raises:
        IndexError, RuntimeError: incompatible shapes, dtypes or devices; the exceptions are PyTorch's.

    Source: SAC.py of SAC_JC (Guan et al., arXiv 2412.20768).
    """
    return one_minus_cosine(m, n)


def cal_cor(model: nn.Module, dataloader: Batches) -> Tensor:
    """Correlation matrix of a model's outputs: ``correlation(O, O)``.

    The model is left in eval mode on the CPU, as by the script.

    Args:
        model: maps a batch to (b, k).
        dataloader: pairs of images (b, …) and labels (not used), n images in all.

    Returns:
        (n, n) on the GPU if there is one, in the model's dtype.

    Raises:
        RuntimeError: no batch, or outputs of different shapes.

    Source: SAC.py of SAC_JC.
    """
    outputs = model_outputs(model, dataloader, to_cpu=False)
    return correlation(outputs, outputs)


def correlation_differences(
    models: Iterable[Any], dataloader: Batches, *, load: Callable[[Any], nn.Module] | None = None
) -> Tensor:
    """`sac_fast.compat.correlation_differences`, with the values of SAC_JC."""
    return evaluation.correlation_differences(models, dataloader, load=load)
