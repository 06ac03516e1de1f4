"""The functions of SAC's `correlation_wrong.py`, with the same names: ``from sac_fast.compat.sac import *``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from . import evaluation, functions
from .functions import *  # noqa: F403 - the names of both scripts
from .functions import Batches, model_outputs, one_minus_cosine

__all__ = ["cal_cor", "cal_cor_onehot", "correlation", "correlation_differences", "output_to_label"]
__all__ += functions.__all__


def correlation(m: Tensor, n: Tensor) -> Tensor:
    """Half the cosine distance of every row of `m` from every row of `n`.

    C_ij = (1 − <m̂_i, n̂_j>) / 2, with m̂_i the row divided by its L2 norm (a zero row stays zero)

    Args:
        m: (n_m, k) floating point, any device.
        n: (n_n, k), same dtype and device.

    Returns:
        (n_m, n_n), dtype and device of `m`, without a graph.

    Raises:
        IndexError, RuntimeError: incompatible shapes, dtypes or devices; the exceptions are PyTorch's.

    Source: correlation_wrong.py of SAC (Guan et al., NeurIPS 2022, arXiv 2210.15427).
    """
    return one_minus_cosine(m, n).div_(2)


def cal_cor(model: nn.Module, dataloader: Batches) -> Tensor:
    """Correlation matrix of a model's outputs: ``correlation(O, O)``.

    The model is left in eval mode on the CPU, as by the script.

    Args:
        model: maps a batch to (b, k).
        dataloader: pairs of images (b, …) and labels (not used), n images in all.

    Returns:
        (n, n) on the CPU, in the model's dtype.

    Raises:
        RuntimeError: no batch, or outputs of different shapes.

    Source: correlation_wrong.py of SAC.
    """
    outputs = model_outputs(model, dataloader, to_cpu=True)
    return correlation(outputs, outputs)


def cal_cor_onehot(model: nn.Module, dataloader: Batches) -> Tensor:
    """Correlation matrix of a model that returns labels only: ``correlation(P, P)``.

    P = `output_to_label` (O). The model is left in eval mode on the CPU, as by the script.

    Args:
        model: maps a batch to (b, classes).
        dataloader: pairs of images (b, …) and labels (not used), n images in all.

    Returns:
        (n, n) on the CPU, in PyTorch's default dtype (float32).

    Raises:
        RuntimeError: no batch, or outputs of different shapes.

    Source: correlation_wrong.py of SAC.
    """
    labels = model_outputs(model, dataloader, output_to_label, to_cpu=True)
    return correlation(labels, labels)


def output_to_label(output: Tensor) -> Tensor:
    """Outputs as if the model returned labels only.

    p_i = softmax(v_i), where v_ij = 1 at the largest entry of row i and 0.01 elsewhere

    Args:
        output: (n, classes), any dtype and device.

    Returns:
        (n, classes) on the CPU in PyTorch's default dtype (float32).

    Raises:
        IndexError: not a matrix, or one without columns.

    Source: correlation_wrong.py of SAC.
    """
    with torch.no_grad():
        chosen = torch.argmax(output, dim=1).cpu()
        values = torch.full(output.shape, 0.01)
        rows = torch.arange(len(chosen)).reshape(-1, *[1] * (chosen.dim() - 1))
        values[rows, chosen] = 1
        return torch.softmax(values, dim=-1)


def correlation_differences(
    models: Iterable[Any], dataloader: Batches, *, load: Callable[[Any], nn.Module] | None = None
) -> Tensor:
    """`sac_fast.compat.correlation_differences`, with the values of SAC: half of those of SAC_JC."""
    return evaluation.correlation_differences(models, dataloader, load=load, halved=True)
