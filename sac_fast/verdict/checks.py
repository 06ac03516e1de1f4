"""Checks of the arguments of the statistics. They need NumPy alone, so that `sac_fast.verdict` loads without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
#: A smaller rate needs more nulls than anybody has, and in the end more than float64 can count.
MIN_RATE = 1e-12


def _to_float(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error


def check_number(name: str, value: float) -> float:
    """Return `value` as a finite float."""
    checked = _to_float(name, value)
    if not math.isfinite(checked):
        raise ValueError(f"{name} must be finite, got {checked}")
    return checked


def check_rate(name: str, value: float) -> float:
    """Return `value` as a float strictly between 0 and 1, and not below `MIN_RATE`."""
    checked = _to_float(name, value)
    if not 0 < checked < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {checked}")
    if checked < MIN_RATE:
        raise ValueError(f"{name} must be at least {MIN_RATE:g}, got {checked:g}")
    return checked


def check_count(name: str, value: int, minimum: int = 0) -> int:
    """Return `value` as an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        bound = f"be at least {minimum}" if minimum else "not be negative"
        raise ValueError(f"{name} must {bound}, got {value}")
    return int(value)


def check_values(name: str, given: ArrayLike, minimum: int = 1, ndim: int = 1) -> Values:
    """Return a float64 copy with `ndim` dimensions and at least `minimum` rows, all finite."""
    try:
        checked = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a sequence of numbers, got {given!r}") from error
    if checked.ndim != ndim:
        wanted = "one dimension" if ndim == 1 else f"{ndim} dimensions"
        raise ValueError(f"{name} must have {wanted}, got {checked.ndim}")
    if len(checked) < minimum:
        wanted = "at least one distance" if minimum == 1 else f"at least {minimum} distances"
        raise ValueError(f"{name} must hold {wanted}, got {len(checked) or 'none'}")
    bad = checked[~np.isfinite(checked)]
    if bad.size:
        raise ValueError(f"{name} must be finite, got {bad[0]}")
    return checked


def check_groups(name: str, given: Mapping[str, ArrayLike], ndim: int = 1) -> dict[str, Values]:
    """Return named groups of values, none of them empty."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must map names to distances, got {type(given).__name__}")
    if not given:
        raise ValueError(f"{name} must hold at least one group of distances, got none")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have names as keys, got {key!r}")
    return {key: check_values(f"{name}[{key!r}]", group, ndim=ndim) for key, group in given.items()}
