"""A correlation matrix that is computed only when its entries are used.

The scripts keep one n×n matrix per model and use them in one expression,
``torch.sum(torch.abs(cor_mats[i + 1] - cor_mats[0]))``. In an unmodified script `cal_cor` returns a tensor that keeps
the outputs (n, k) instead. Difference, absolute value and sum (or mean) of such tensors are computed by the fused
kernel; any other operation computes the matrix first, which is then kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .evaluation import mean_difference

Form = Callable[[Tensor], Tensor]

_SUBTRACT = {torch.sub, torch.subtract, Tensor.sub, Tensor.subtract, Tensor.__sub__}
_ABSOLUTE = {torch.abs, torch.absolute, Tensor.abs, Tensor.absolute, Tensor.__abs__}
_SUM = {torch.sum, Tensor.sum}
_MEAN = {torch.mean, Tensor.mean}
# Functions of the shape alone.
_SHAPE = {
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.__len__,
    Tensor.is_floating_point,
    *(
        vars(torch._C.TensorBase)[name].__get__
        for name in ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad")
    ),
}


class DeferredMatrix(Tensor):
    """``form(outputs)``, ``form(a) − form(b)``, or its absolute value: n×n, computed on demand.

    Args:
        outputs: the outputs (n, k) of one model, or of two models whose matrices are subtracted.
        form: correlation of a model's outputs: `sac_jc.correlation` or half of it.
        factor: ratio of the mean |C_a − C_b| of `form` to that of ``1 − cos``: 1 or ½.
        absolute: whether this is the absolute value of the difference.
    """

    _outputs: tuple[Tensor, ...]
    _form: Form
    _factor: float
    _absolute: bool
    _matrix: Tensor | None

    @staticmethod
    def __new__(
        cls: type[DeferredMatrix], outputs: tuple[Tensor, ...], form: Form, factor: float, *, absolute: bool = False
    ) -> DeferredMatrix:
        n, like = len(outputs[0]), outputs[0]
        result: DeferredMatrix = Tensor._make_wrapper_subclass(cls, (n, n), dtype=like.dtype, device=like.device)
        result._outputs, result._form, result._factor, result._absolute = outputs, form, factor, absolute
        result._matrix = None
        return result

    def formed(self) -> Tensor:
        """The matrix, computed once, so that in-place changes are kept."""
        if self._matrix is None:
            first, *second = (self._form(outputs) for outputs in self._outputs)
            for other in second:
                first = first.sub_(other)
            self._matrix = first.abs_() if self._absolute else first
        return self._matrix

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _SHAPE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if not kwargs:
            fused = _fused(func, args)
            if fused is not None:
                return fused
        args, kwargs = pytree.tree_map_only(DeferredMatrix, DeferredMatrix.formed, (args, kwargs))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's annotation is not of a class method
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Calls from C++ bypass __torch_function__.
        args, kwargs = pytree.tree_map_only(DeferredMatrix, DeferredMatrix.formed, (args, kwargs or {}))
        return func(*args, **kwargs)


def _fused(func: Any, args: tuple[Any, ...]) -> Tensor | None:
    """The result of the fused kernel, or None if it does not apply."""
    if any(not isinstance(value, DeferredMatrix) or value._matrix is not None for value in args):
        return None
    first = args[0]
    pair = len(first._outputs) == 2
    if func in _SUBTRACT and len(args) == 2 and not pair:
        second = args[1]
        alike = first._form is second._form and first.shape == second.shape and first.dtype == second.dtype
        if alike and len(second._outputs) == 1 and not first._absolute and not second._absolute:
            return DeferredMatrix(first._outputs + second._outputs, first._form, first._factor)
    if len(args) == 1 and pair:
        if func in _ABSOLUTE:
            return DeferredMatrix(first._outputs, first._form, first._factor, absolute=True)
        # For half precision the kernel's rounding differs from the formula's.
        if first._absolute and first.dtype in (torch.float32, torch.float64) and func in _SUM | _MEAN:
            mean: Tensor = mean_difference(*first._outputs).to(first.dtype) * first._factor
            return mean * first.numel() if func in _SUM else mean
    return None
