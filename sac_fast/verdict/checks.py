"""Checks of what the statistics are given."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
#: A smaller rate asks for more nulls than anybody has, and in the end for more than float64 can count.
SMALLEST_RATE = 1e-12


def number(name: str, value: float) -> float:
    """Return `value` as a finite float."""
    try:
        checked = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error
    if not math.isfinite(checked):
        raise ValueError(f"{name} must be finite, got {checked}")
    return checked


def values(name: str, given: ArrayLike, least: int = 1, ndim: int = 1) -> Values:
    """Return a float64 copy; refuses what is too short, of other dimensions, NaN or infinite."""
    try:
        checked = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a sequence of numbers, got {given!r}") from error
    if checked.ndim != ndim:
        raise ValueError(
            f"{name} must have {'one dimension' if ndim == 1 else f'{ndim} dimensions'}, got {checked.ndim}"
        )
    if len(checked) < least:
        wanted = "at least one distance" if least == 1 else f"at least {least} distances"
        raise ValueError(f"{name} must hold {wanted}, got {len(checked) or 'none'}")
    bad = checked[~np.isfinite(checked)]
    if bad.size:
        raise ValueError(f"{name} must be finite, got {bad[0]}")
    return checked


def groups(name: str, given: Mapping[str, ArrayLike], ndim: int = 1) -> dict[str, Values]:
    """Return named groups of values, none of them empty."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must map names to distances, got {type(given).__name__}")
    if not given:
        raise ValueError(f"{name} must hold at least one group of distances, got none")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have names as keys, got {key!r}")
    return {key: values(f"{name}[{key!r}]", of, ndim=ndim) for key, of in given.items()}


def rate(name: str, value: float) -> float:
    """Return `value` as a float strictly between 0 and 1, and not below `SMALLEST_RATE`."""
    try:
        checked = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error
    if not 0 < checked < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {checked}")
    if checked < SMALLEST_RATE:
        raise ValueError(f"{name} must be at least {SMALLEST_RATE:g}, got {checked:g}")
    return checked


def count(name: str, value: int, least: int = 0) -> int:
    """Return `value` as an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(
            f"{name} must be at least {least}, got {value}" if least else f"{name} must not be negative, got {value}"
        )
    return int(value)
