"""Checks of arguments that raise a ProbeError."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ProbeError


def import_optional(module: str, what: str, missing: str | None) -> Any:
    """Import a module of an extra; a ProbeError if something is missing for `what`."""
    if missing is not None:
        raise ProbeError(f"{what} must be installed: {missing}")
    return importlib.import_module(module)


def as_integer(value: object) -> int | None:
    """The value as a Python int; None for other types, including bool and integral floats."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # it refuses what is no integer
    except TypeError:
        return None


def check_integer(name: str, value: object, minimum: int | None = None, maximum: int | None = None) -> int:
    """The value as an int.

    Raises:
        ProbeError: no integer, less than ``minimum``, or more than ``maximum``, which comes with a minimum.
    """
    number = as_integer(value)
    too_small = number is not None and minimum is not None and number < minimum
    too_large = number is not None and maximum is not None and number > maximum
    if number is None or too_small or too_large:
        bounds = (
            "" if minimum is None else f" of at least {minimum}" if maximum is None else f" in {minimum}..{maximum}"
        )
        raise ProbeError(f"{name} must be an integer{bounds}, got {value!r}")
    return number


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise a ProbeError if the value is none of those allowed."""
    if value not in allowed:
        raise ProbeError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_images(images: npt.NDArray[Any], labels: npt.NDArray[Any] | None) -> None:
    """Raise a ProbeError unless they are uint8 ``(n, H, W, 3)``, none of them 0, with no labels or int64 ``(n,)``."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ProbeError(f"images must be uint8 (n, H, W, 3), none of them 0, got {images.dtype} {images.shape}")
    if labels is not None and (labels.dtype != np.int64 or labels.shape != images.shape[:1]):
        raise ProbeError(f"labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")
