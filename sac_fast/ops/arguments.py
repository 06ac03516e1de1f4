"""Checks of the ops' arguments, shared by the reference and the fast path."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

METRICS = ("cosine", "pearson", "spearman", "rbf")
COMPARISONS = ("l1", "l2", "rsa", "cka")
PRECISIONS = ("highest", "high", "medium")
BACKENDS = ("auto", "cuda", "cpu", "reference")
# 2σ² = 1, the form of the reference scripts
DEFAULT_SIGMA = math.sqrt(0.5)

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`, else raise a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def bandwidth(sigma: float) -> float:
    """Return the rbf bandwidth as a float, 1e-4 … 1e15: 1/(2σ²) magnifies float64's rounding of squared distances."""
    try:
        value = float(sigma)
    except (TypeError, ValueError):
        raise TypeError(f"sigma must be a number, got {type(sigma).__name__}") from None
    if not (1e-4 <= value <= 1e15):
        raise ValueError(f"sigma must lie within 1e-4 … 1e15, got {sigma!r}")
    return value


def check_not_masked(name: str, value: Any) -> None:
    """Raise a TypeError for a NumPy masked array, whose mask torch would pass over in silence."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain NumPy array, got a masked one; leave out or fill in what it masks")


def dense(name: str, value: Tensor) -> None:
    """Raise a TypeError for a sparse tensor or one of another layout."""
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}")


def outputs_tensor(name: str, value: Any) -> Tensor:
    """Return `value` as a detached dense floating-point tensor of shape (n, k), n ≥ 2 and k ≥ 1.

    NumPy arrays are shared where torch can, copied where it cannot (read-only, byte-swapped, unaligned or with
    strides that torch does not have).
    """
    check_not_masked(name, value)
    if isinstance(value, np.ndarray):
        native = value.dtype.newbyteorder("=")
        if native not in (np.float16, np.float32, np.float64):
            raise TypeError(f"{name} must be floating point (float16, float32 or float64), got {value.dtype}")
        whole_steps = all(stride >= 0 and stride % value.itemsize == 0 for stride in value.strides)
        sharable = value.dtype.isnative and value.flags.writeable and value.flags.aligned and whole_steps
        value = torch.from_numpy(value if sharable else np.array(value, dtype=native))
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor or a NumPy array, got {type(value).__name__}")
    if value.dtype not in _FLOATING:
        wanted = "float16, bfloat16, float32 or float64"
        raise TypeError(f"{name} must be floating point ({wanted}), got {value.dtype}")
    dense(name, value)
    if value.dim() != 2:
        raise ValueError(f"{name} must have shape (n, k), got {tuple(value.shape)}")
    n, k = value.shape
    if n < 2:
        raise ValueError(f"{name} must have at least 2 rows (probes), got {n}")
    if k < 1:
        raise ValueError(f"{name} must have at least 1 column (output), got {k}")
    return value.detach().resolve_neg()


def outputs_pair(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return both output matrices checked, with the same n on the same device."""
    a, b = outputs_tensor("a", a), outputs_tensor("b", b)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"b must have {a.shape[0]} rows like a, got {b.shape[0]}")
    if a.device != b.device:
        raise ValueError(f"b must be on {a.device} like a, got {b.device}")
    return a, b


def outputs_list(name: str, value: Any, like: Tensor | None = None) -> list[Tensor]:
    """Return a zoo, (m, n, k) or a sequence of (n, k_i), as a list of checked (n, k_i) tensors.

    All have the n and the device of `like`, or of the first one.
    """
    if isinstance(value, Tensor | np.ndarray):
        models = list(outputs_stack(name, value).unbind(0))
    elif isinstance(value, Sequence):
        if not value:
            raise ValueError(f"{name} must hold at least 1 model, got 0")
        models = [outputs_tensor(f"{name}[{i}]", model) for i, model in enumerate(value)]
    else:
        wanted = "a tensor, a NumPy array or a sequence of them"
        raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}")
    first, called = (models[0], f"{name}[0]") if like is None else (like, "the first argument")
    for i, model in enumerate(models):
        if model.shape[0] != first.shape[0]:
            raise ValueError(f"{name}[{i}] must have {first.shape[0]} rows like {called}, got {model.shape[0]}")
        if model.device != first.device:
            raise ValueError(f"{name}[{i}] must be on {first.device} like {called}, got {model.device}")
    return models


def outputs_stack(name: str, value: Tensor | np.ndarray) -> Tensor:
    """Return a zoo that is one tensor or array as a checked tensor (m, n, k)."""
    if value.ndim != 3:
        raise ValueError(f"{name} must have shape (m, n, k), got {tuple(value.shape)}")
    if len(value) == 0:
        raise ValueError(f"{name} must hold at least 1 model, got 0")
    if value.shape[2] < 1:
        raise ValueError(f"{name} must have at least 1 column (output), got 0")
    if isinstance(value, Tensor):
        dense(name, value)
    # one look at all of them: they share dtype, shape and layout
    flat = outputs_tensor(name, value.reshape(-1, value.shape[2]) if value.shape[1] > 1 else value[0])
    return flat.reshape(*value.shape)


def vectors_tensor(name: str, value: Any, like: Tensor | None = None, anywhere: bool = False) -> Tensor:
    """Return correlation vectors (m, n(n−1)/2) as a contiguous tensor; memory maps are not copied.

    They have the form of `like`, and its device unless they may be `anywhere`.
    """
    check_not_masked(name, value)
    if isinstance(value, np.ndarray):
        if value.dtype not in (np.uint8, np.float16, np.float32):
            raise TypeError(f"{name} must be vectors of uint8, float16 or float32, got {value.dtype}")
        with warnings.catch_warnings():
            # torch warns of read-only arrays; nothing here writes to them
            warnings.simplefilter("ignore", UserWarning)
            value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or value.dtype not in (torch.uint8, torch.float16, torch.float32):
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be vectors of uint8, float16 or float32, got {got}")
    dense(name, value)
    m, entries = value.shape if value.dim() == 2 else (0, 0)
    n = (1 + math.isqrt(1 + 8 * entries)) // 2
    if m < 1 or n < 2 or n * (n - 1) // 2 != entries:
        raise ValueError(f"{name} must have shape (m, n(n-1)/2), m at least 1, got {tuple(value.shape)}")
    if like is not None and (value.shape[1] != like.shape[1] or value.dtype != like.dtype):
        wanted = f"(q, {like.shape[1]}) {like.dtype} like zoo"
        raise ValueError(f"{name} must be {wanted}, got {tuple(value.shape)} {value.dtype}")
    if like is not None and value.device != like.device and not anywhere:
        raise ValueError(f"{name} must be on {like.device} like zoo, got {value.device}")
    return value.detach().contiguous()


def weights_tensor(name: str, value: Any, outputs: Tensor) -> Tensor:
    """Return weights of the n probes of `outputs` as a checked tensor (R, n): finite, ≥ 0, no row without weight."""
    check_not_masked(name, value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        value = torch.from_numpy(np.array(value, dtype=np.float64))
    if not isinstance(value, Tensor):
        got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be a torch tensor or a NumPy array of numbers, got {got}")
    if value.is_complex() or value.dtype == torch.bool or value.layout != torch.strided:
        raise TypeError(f"{name} must be dense real numbers, got {value.dtype}, layout {value.layout}")
    n = outputs.shape[0]
    if value.dim() != 2 or value.shape[1] != n or value.shape[0] < 1:
        raise ValueError(f"{name} must have shape (R, {n}), R at least 1, got {tuple(value.shape)}")
    if value.device != outputs.device:
        raise ValueError(f"{name} must be on {outputs.device} like a, got {value.device}")
    return value.detach().resolve_neg()


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


def result_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is float64, else float32 (half precision is never kept for a result)."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
