"""Checks of the ops' arguments, shared by the reference and the fast path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

METRICS = ("cosine", "pearson", "spearman", "rbf")
COMPARISONS = ("l1", "l2", "rsa", "cka")
BACKENDS = ("auto", "cuda", "cpu", "reference")
# 2σ² = 1, the form of the reference scripts
DEFAULT_SIGMA = math.sqrt(0.5)

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`, else raise a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def bandwidth(sigma: float) -> float:
    """Return the rbf bandwidth as a float; it must be positive and finite, and so must 1/(2σ²)."""
    try:
        value = float(sigma)
    except (TypeError, ValueError):
        raise TypeError(f"sigma must be a number, got {type(sigma).__name__}") from None
    if not (1e-15 <= value <= 1e15):
        raise ValueError(f"sigma must lie within 1e-15 … 1e15, got {sigma!r}")
    return value


def outputs_tensor(name: str, value: Any) -> Tensor:
    """Return `value` as a detached dense floating-point tensor of shape (n, k), n ≥ 2 and k ≥ 1.

    NumPy arrays are shared where torch can, copied where it cannot (read-only, byte-swapped, unaligned or with
    strides that torch does not have).
    """
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
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got layout {value.layout}")
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


def finite_rows(name: str, x: Tensor) -> None:
    """Raise a ValueError that names the first row of `x` with NaN or Inf."""
    finite = torch.isfinite(x).all(dim=1)
    if not bool(finite.all()):
        row = int(torch.nonzero(~finite)[0, 0])
        raise ValueError(f"{name} must be finite, got NaN or Inf in row {row}")


def result_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is float64, else float32 (half precision is never kept for a result)."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
