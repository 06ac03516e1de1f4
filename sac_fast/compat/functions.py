"""Functions that the scripts of SAC and SAC_JC share.

Every function uses the scripts' PyTorch operations in the same order, so that rounding, NaN, zero rows and half
precision agree; it saves copies, n×n intermediates and the graph. Models run under `no_grad` instead of
`inference_mode`, so that results are ordinary tensors that a script may change in place, and a model may enable
gradients itself.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

#: Names that both scripts define.
__all__ = ["FeatureHook", "cal_correct", "calculate_auc", "correlation_dist", "feature"]
__all__ += ["pairwise_euclid_distance", "similarity"]
_BLOCK_ENTRIES = 1 << 22

Batches = Iterable[tuple[Tensor, Any] | list[Any]]


def one_minus_cosine(m: Tensor, n: Tensor) -> Tensor:
    """``1 − <m̂_i, n̂_j>`` with one n×n allocation: `sac_jc.correlation`."""
    with torch.no_grad():
        left = F.normalize(m, dim=-1)
        right = left if n is m else F.normalize(n, dim=-1)
        cosines = torch.mm(left, right.transpose(0, 1))
        return torch.sub(torch.ones((), dtype=cosines.dtype), cosines, out=cosines)


def pairwise_euclid_distance(A: Tensor) -> Tensor:
    """Squared Euclidean distances of all pairs of rows.

    D_ij = |a_i|² + |a_j|² − 2 <a_i, a_j>

    Args:
        A: (n, k), any dtype and device.

    Returns:
        (n, n), dtype and device of `A`. As in the scripts, values are not clamped and may be slightly negative.

    Raises:
        IndexError, RuntimeError: not a matrix; the exceptions are PyTorch's.

    Source: SAC.py of SAC_JC, correlation_wrong.py of SAC.
    """
    with torch.no_grad():
        squares = torch.sum(torch.pow(A, 2), dim=1)
        column = squares.reshape(A.shape[0], 1)
        result = torch.matmul(A, A.transpose(0, 1)).mul_(2)
        step = max(1, _BLOCK_ENTRIES // max(1, A.shape[0]))
        for start in range(0, A.shape[0], step):
            block = result[start : start + step]
            torch.sub(column[start : start + step] + squares, block, out=block)
        return result


def correlation_dist(A: Tensor) -> Tensor:
    """Gaussian correlation of all pairs of L2-normalised rows.

    C_ij = exp(−|â_i − â_j|²)

    Args:
        A: (n, k) floating point, any device.

    Returns:
        (n, n), dtype and device of `A`.

    Raises:
        IndexError, RuntimeError: not a floating-point matrix; the exceptions are PyTorch's.

    Source: SAC.py of SAC_JC, correlation_wrong.py of SAC.
    """
    with torch.no_grad():
        return pairwise_euclid_distance(F.normalize(A, dim=-1)).neg_().exp_()


@contextlib.contextmanager
def _placed(model: nn.Module) -> Iterator[torch.device]:
    """Put the model in eval mode on the GPU, if there is one, and on the CPU afterwards, as the scripts do."""
    model.eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model.to(device)
        yield device
    finally:
        model.cpu()


def model_outputs(
    model: nn.Module, dataloader: Batches, each: Callable[[Tensor], Tensor] = Tensor.detach, *, to_cpu: bool
) -> Tensor:
    """The model's outputs on all batches, (n, k), with `each` applied to every batch, without a graph."""
    outputs = []
    with _placed(model) as device, torch.no_grad():
        for x, _ in dataloader:
            output = each(model(x.to(device)))
            outputs.append(output.cpu() if to_cpu else output)
        return torch.cat(outputs, dim=0)


def cal_correct(model: nn.Module, dataloader: Batches) -> float:
    """Accuracy of the model: ``#{argmax_j o_ij = y_i} / n``.

    The model is left in eval mode on the CPU, as by the scripts.

    Args:
        model: maps a batch of float32 images to (b, classes).
        dataloader: pairs of images (b, …), any dtype, converted to float32, and labels (b,).

    Returns:
        The accuracy, 0..1.

    Raises:
        IndexError: a batch of one image, for which the scripts' formula fails.
        ZeroDivisionError: no batch.

    Source: SAC.py of SAC_JC.
    """
    right: Tensor | int = 0
    total = 0
    with _placed(model) as device, torch.no_grad():
        for x, y in dataloader:
            predicted = torch.max(model(x.to(device, torch.float32)), 1)[1].squeeze()
            right = right + (predicted == y.to(device).long()).sum()
            total += predicted.shape[0]
    return int(right) / total


def feature(model: nn.Module, dataloader: Batches) -> Tensor:
    """The model's outputs on the last batch, as returned by the scripts' function of this name.

    o = model(x_last)

    The model is left in eval mode on the CPU, as by the scripts.

    Args:
        model: any module.
        dataloader: pairs of images (b, …) and labels; the model runs on all of them.

    Returns:
        (b, k) on the CPU, in the model's dtype, without a graph.

    Raises:
        ValueError: no batch.

    Source: SAC.py of SAC_JC.
    """
    output: Tensor | None = None
    with _placed(model) as device, torch.no_grad():
        for x, _ in dataloader:
            output = model(x.to(device))
    if output is None:
        raise ValueError("dataloader must give at least one batch, got none")
    return output.detach().cpu()


def similarity(output1: Tensor, output2: Tensor) -> Tensor | int:
    """Sum of the cosine distances of matching rows: ``Σ_i |1 − <ô1_i, ô2_i>|``.

    The sum runs in the order of the rows and in the outputs' own precision, as the scripts' loop does.

    Args:
        output1: (n, k) floating point, any device.
        output2: (at least n, k), same dtype and device.

    Returns:
        (1, 1), dtype and device of the outputs; the number 0 where `output1` has no row, as in the scripts.

    Raises:
        IndexError: `output2` has fewer rows, or one of them has fewer than two dimensions.
        RuntimeError: k, dtypes or devices differ, or more than two dimensions.

    Source: SAC.py of SAC_JC.
    """
    with torch.no_grad():
        m = F.normalize(output1, dim=-1)
        n = F.normalize(output2, dim=-1)
        rows = m.shape[0]
        if n.dim() < 2:
            raise IndexError(f"output2 must have shape (n, k), got {tuple(n.shape)}")
        if rows == 0:
            return 0
        if m.dim() < 2 or n.shape[0] < rows:
            raise IndexError(
                f"output1 and output2 must be matching rows (n, k), got {tuple(m.shape)}, {tuple(n.shape)}"
            )
        # bmm accumulates half precision in float32 like the products of the loop; a product and sum would not.
        terms = torch.bmm(m.unsqueeze(1), n[:rows].unsqueeze(2)).reshape(rows)
        terms = torch.abs(1 - terms)
        return _sum_in_order(terms).reshape(1, 1)


def _sum_in_order(terms: Tensor) -> Tensor:
    """``((t_0 + t_1) + t_2) + …``, rounded to the terms' dtype after each addition."""
    on_cpu = terms.cpu()
    if terms.dtype == torch.bfloat16:  # unknown to NumPy
        total: Tensor = functools.reduce(torch.add, on_cpu)
        return total.to(terms.device)
    with np.errstate(all="ignore"):
        last = np.add.accumulate(on_cpu.numpy())[-1:]
    return torch.from_numpy(last.copy()).to(terms.device)


def calculate_auc(list_a: Sequence[Any] | Tensor, list_b: Sequence[Any] | Tensor) -> float:
    """Area under the ROC curve of telling b (label 1) from a (label 0) by size.

    AUC = ∫ TPR d(FPR), by trapezoids: ``P(a < b) + ½ P(a = b)``

    Args:
        list_a: (p,) distances of the stolen models: list, NumPy array or tensor on any device.
        list_b: (q,) distances of the independent models.

    Returns:
        1.0 where every b is larger than every a, 0.5 at chance.

    Raises:
        ValueError: NaN, Inf, or no scores (scikit-learn's messages).

    Source: SAC.py of SAC_JC, correlation_wrong.py of SAC.
    """
    from sklearn.metrics import auc, roc_curve  # imported late: it takes a second

    labels = np.repeat([0, 1], [len(list_a), len(list_b)])
    false_rate, true_rate, _ = roc_curve(labels, np.concatenate([_scores(list_a), _scores(list_b)]))
    area: float = auc(false_rate, true_rate)
    return area


def _scores(values: Sequence[Any] | Tensor) -> np.ndarray[Any, Any]:
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray([float(value) if isinstance(value, Tensor) else value for value in values])


class FeatureHook:
    """Keeps the latest output of a module.

    Args:
        module: any module.

    Attributes:
        output: the latest output, detached; not set before the first forward pass.
        hook: PyTorch's handle.

    Source: utils.py of SAC_JC, correlation_wrong.py of SAC.
    """

    output: Any

    def __init__(self, module: nn.Module) -> None:
        self.hook = module.register_forward_hook(self.hook_fn)

    def hook_fn(self, module: nn.Module, input: Any, output: Any) -> None:
        """Called by PyTorch after each forward pass of the module."""
        self.output = pytree.tree_map_only(Tensor, Tensor.detach, output)

    def close(self) -> None:
        """Remove the hook; `output` stays."""
        self.hook.remove()
