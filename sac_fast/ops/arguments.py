"""Arguments of the ops: what the public functions accept, and what the registered ops check.

`as_…` makes tensors of what users pass, `check_…` raises for tensors that do not fit, `outputs_…` does both.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ..io.choices import Backend, Comparison, Metric, Precision
from ..io.choices import check_choice as check_choice
from ..neighbours.vectors import DEFAULT_SIGMA as DEFAULT_SIGMA

METRICS: tuple[Metric, ...] = get_args(Metric)
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_CHOICES: dict[str, tuple[str, ...]] = {
    "metric": METRICS,
    "comparison": COMPARISONS,
    "precision": PRECISIONS,
    "backend": BACKENDS,
}

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
STORED_DTYPES = (torch.uint8, torch.float16, torch.float32)
VECTOR_DTYPES = (*STORED_DTYPES, torch.float64)


# A batch of models: outputs (m, n, k), or a sequence of (n, k_i)
Models = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


def bandwidth(sigma: float) -> float:
    """Return the rbf bandwidth as a float, 1e-4 … 1e15: 1/(2σ²) magnifies float64's rounding of squared distances."""
    try:
        value = float(sigma)
    except (TypeError, ValueError):
        raise TypeError(f"sigma must be a number, got {type(sigma).__name__}") from None
    if not (1e-4 <= value <= 1e15):
        raise ValueError(f"sigma must lie within 1e-4 … 1e15, got {sigma!r}")
    return value


def check_options(sigma: float, **chosen: str) -> float:
    """Return the bandwidth as `bandwidth` does; raise for an unknown metric, comparison, precision or backend."""
    for name, value in chosen.items():
        if value not in _CHOICES[name]:
            check_choice(name, value, _CHOICES[name])
    return bandwidth(sigma)


def check_not_masked(name: str, value: Any) -> None:
    """Raise a TypeError for a NumPy masked array, whose mask torch would pass over in silence."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain NumPy array, got a masked one; leave out or fill in what it masks")


def check_dense(name: str, value: Tensor) -> None:
    """Raise a TypeError for a sparse tensor or one of another layout."""
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}")


def check_detached(name: str, value: Tensor) -> None:
    """Raise a ValueError for a tensor whose gradient would get lost: the ops have no backward."""
    if value.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} must not require grad (the ops have no backward): expected {name}.detach()")


def check_outputs_dtype(name: str, x: Tensor) -> None:
    """Raise a TypeError unless `x` is dense and floating point."""
    if x.dtype not in FLOATING:
        raise TypeError(f"{name} must be floating point (float16, bfloat16, float32 or float64), got {x.dtype}")
    check_dense(name, x)


def check_outputs(name: str, x: Tensor) -> None:
    """Raise unless `x` is a dense, detached floating-point tensor of shape (n, k), n ≥ 2 and k ≥ 1."""
    check_outputs_dtype(name, x)
    if x.dim() != 2:
        raise ValueError(f"{name} must have shape (n, k), got {tuple(x.shape)}")
    n, k = x.shape
    if n < 2:
        raise ValueError(f"{name} must have at least 2 rows (probes), got {n}")
    if k < 1:
        raise ValueError(f"{name} must have at least 1 column (output), got {k}")
    check_detached(name, x)


def check_same_probes(name: str, x: Tensor, like: Tensor, called: str) -> None:
    """Raise unless `x` has the rows and the device of `like`, which messages call `called`."""
    if x.shape[0] != like.shape[0]:
        raise ValueError(f"{name} must have {like.shape[0]} rows like {called}, got {x.shape[0]}")
    if x.device != like.device:
        raise ValueError(f"{name} must be on {like.device} like {called}, got {x.device}")


def check_pair(a: Tensor, b: Tensor) -> None:
    """Raise unless both are outputs with the same n on the same device."""
    check_outputs("a", a)
    check_outputs("b", b)
    check_same_probes("b", b, a, "a")


def check_models(name: str, models: Sequence[Tensor], like: Tensor | None = None) -> None:
    """Raise unless all are outputs with the n and the device of `like`, or of the first one."""
    if not models:
        raise ValueError(f"{name} must hold at least 1 model, got 0")
    first, called = (models[0], f"{name}[0]") if like is None else (like, "the first argument")
    for i, model in enumerate(models):
        check_outputs(f"{name}[{i}]", model)
        check_same_probes(f"{name}[{i}]", model, first, called)


def check_stack(name: str, x: Tensor) -> None:
    """Raise unless `x` is the outputs (m, n, k) of m ≥ 1 models in one tensor."""
    if x.dim() != 3:
        raise ValueError(f"{name} must have shape (m, n, k), got {tuple(x.shape)}")
    if x.shape[0] < 1:
        raise ValueError(f"{name} must hold at least 1 model, got 0")
    check_dense(name, x)
    check_outputs(name, x[0])


def as_tensor(name: str, value: Any) -> Tensor:
    """Return a tensor as it is, and a NumPy array of floating point as a tensor.

    Arrays are shared where torch can, copied where it cannot (read-only, byte-swapped, unaligned or with strides that
    torch does not have).
    """
    if isinstance(value, Tensor):
        return value
    check_not_masked(name, value)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a torch tensor or a NumPy array, got {type(value).__name__}")
    native = value.dtype.newbyteorder("=")
    if native not in (np.float16, np.float32, np.float64):
        raise TypeError(f"{name} must be floating point (float16, float32 or float64), got {value.dtype}")
    whole_steps = all(stride >= 0 and stride % value.itemsize == 0 for stride in value.strides)
    sharable = value.dtype.isnative and value.flags.writeable and value.flags.aligned and whole_steps
    return torch.from_numpy(value if sharable else np.array(value, dtype=native))


def check_derivative(metric: str, comparison: str = "l1") -> None:
    """Raise a ValueError for a metric or comparison without a gradient."""
    if metric == "spearman":
        raise ValueError("metric must be cosine, pearson or rbf where gradients are recorded, got 'spearman' (ranks)")
    if comparison not in ("l1", "l2"):
        raise ValueError(f"comparison must be l1 or l2 where gradients are recorded, got {comparison!r}")


def check_upstream(grad: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise unless `grad` is the gradient of a result of `shape` on the device of `like`."""
    check_outputs_dtype("grad", grad)
    if grad.shape != shape:
        raise ValueError(f"grad must have shape {shape}, got {tuple(grad.shape)}")
    if grad.device != like.device:
        raise ValueError(f"grad must be on {like.device} like a, got {grad.device}")
    check_detached("grad", grad)


def outputs_tensor(name: str, value: Any) -> Tensor:
    """Return `value` as a dense, detached floating-point tensor of shape (n, k), n ≥ 2 and k ≥ 1."""
    outputs = as_tensor(name, value)
    check_outputs(name, outputs)
    return outputs


def outputs_pair(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return both output matrices checked, with the same n on the same device."""
    a, b = as_tensor("a", a), as_tensor("b", b)
    check_pair(a, b)
    return a, b


def as_models(name: str, value: Any) -> list[Tensor]:
    """Return a batch of models, (m, n, k) or a sequence of (n, k_i), as a list of (n, k_i) tensors."""
    if isinstance(value, Tensor | np.ndarray):
        stack = as_tensor(name, value)
        # errors of a stack name it as a whole, not its first model
        check_stack(name, stack)
        return list(stack.unbind(0))
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a tensor, a NumPy array or a sequence of them, got {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must hold at least 1 model, got 0")
    return [as_tensor(f"{name}[{i}]", model) for i, model in enumerate(value)]


def outputs_list(name: str, value: Any, like: Tensor | None = None) -> list[Tensor]:
    """Return a batch of models as a list of checked (n, k_i) tensors; n and device as `like`'s, or the first one's."""
    models = as_models(name, value)
    check_models(name, models, like)
    return models


def as_vectors(name: str, value: Any) -> Tensor:
    """Return stored correlation vectors as a tensor; memory maps are not copied."""
    if isinstance(value, Tensor):
        return value
    check_not_masked(name, value)
    if not isinstance(value, np.ndarray) or value.dtype not in (np.uint8, np.float16, np.float32):
        got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be vectors of uint8, float16 or float32, got {got}")
    with warnings.catch_warnings():
        # torch warns of read-only arrays; nothing here writes to them
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(value))


def check_vectors(name: str, value: Tensor, like: Tensor | None = None) -> None:
    """Raise unless `value` is correlation vectors (m, n(n−1)/2), of the length and dtype of `like`."""
    if value.dtype not in STORED_DTYPES:
        raise TypeError(f"{name} must be vectors of uint8, float16 or float32, got {value.dtype}")
    check_dense(name, value)
    m, entries = value.shape if value.dim() == 2 else (0, 0)
    if m < 1 or entries < 1 or probes_of(entries) * (probes_of(entries) - 1) // 2 != entries:
        raise ValueError(f"{name} must have shape (m, n(n-1)/2), m at least 1, got {tuple(value.shape)}")
    check_detached(name, value)
    if like is not None and (value.shape[1] != like.shape[1] or value.dtype != like.dtype):
        wanted = f"(q, {like.shape[1]}) {like.dtype} like models"
        raise ValueError(f"{name} must be {wanted}, got {tuple(value.shape)} {value.dtype}")


def probes_of(entries: int) -> int:
    """The n of correlation vectors of n(n−1)/2 entries."""
    return (1 + math.isqrt(1 + 8 * entries)) // 2


def as_weights(name: str, value: Any) -> Tensor:
    """Return a tensor as it is, and a NumPy array of numbers as a float64 tensor."""
    if isinstance(value, Tensor):
        return value
    check_not_masked(name, value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be a torch tensor or a NumPy array of numbers, got {got}")
    return torch.from_numpy(np.array(value, dtype=np.float64))


def check_weights(name: str, value: Tensor, outputs: Tensor) -> None:
    """Raise unless `value` is real numbers (R, n), R ≥ 1, one for each of the n probes of `outputs`."""
    if value.is_complex() or value.dtype == torch.bool or value.layout != torch.strided:
        raise TypeError(f"{name} must be dense real numbers, got {value.dtype}, layout {value.layout}")
    n = outputs.shape[0]
    if value.dim() != 2 or value.shape[1] != n or value.shape[0] < 1:
        raise ValueError(f"{name} must have shape (R, {n}), R at least 1, got {tuple(value.shape)}")
    if value.device != outputs.device:
        raise ValueError(f"{name} must be on {outputs.device} like a, got {value.device}")
    check_detached(name, value)


def weights_values(name: str, value: Tensor) -> Tensor:
    """Return checked weights as contiguous float64; raises for what only their values tell."""
    weights = value.to(torch.float64).contiguous()
    finite = torch.isfinite(weights)
    for wrong, what in (
        (~finite.all(dim=1), "finite, got NaN or Inf"),
        ((weights < 0).any(dim=1), "at least 0, got less"),
        (~(weights > 0).any(dim=1), "positive somewhere, got only zeros"),
    ):
        if bool(wrong.any()):
            raise ValueError(f"{name} must be {what} in row {int(torch.nonzero(wrong)[0, 0])}")
    return weights


def finite_rows(name: str, x: Tensor) -> None:
    """Raise a ValueError that names the first row of `x` with NaN or Inf."""
    finite = torch.isfinite(x).all(dim=1)
    if not bool(finite.all()):
        row = int(torch.nonzero(~finite)[0, 0])
        raise ValueError(f"{name} must be finite, got NaN or Inf in row {row}")


def finite_models(name: str, models: Sequence[Tensor]) -> None:
    """Raise a ValueError that names the first model, and its first row, with NaN or Inf."""
    for i, model in enumerate(models):
        finite_rows(f"{name}[{i}]", model)


def result_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is float64, else float32 (half precision is never kept for a result)."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
