"""Whole numbers among the arguments: Python's, NumPy's, and others that say ``__index__``."""

from __future__ import annotations

import operator

import numpy as np

from ..errors import ProbeError


def as_integer(value: object) -> int | None:
    """The value as an int, which JSON can hold; None where it is none: a float, even a whole one, True, a text."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # it refuses what is no integer
    except TypeError:
        return None


def integer(name: str, value: object, least: int | None = None) -> int:
    """The value as an int.

    Raises:
        ProbeError: no integer, or less than ``least``.
    """
    number = as_integer(value)
    if number is None or (least is not None and number < least):
        raise ProbeError(f"{name} must be an integer{'' if least is None else f' of at least {least}'}, got {value!r}")
    return number
