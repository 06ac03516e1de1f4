"""Arrays of formats that know no operators: what uses them is taken from their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .arrays import WeightArray
from .keras_names import NAMES, keras_uses, last_part
from .names import uses_of


@dataclass(frozen=True)
class StoredArray:
    """An array as a file describes it."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], npt.NDArray[Any]]


def named_arrays(stored: Mapping[str, StoredArray], *, keras: bool = False) -> tuple[WeightArray, ...]:
    """Arrays with their uses, see `uses_of` and `keras_uses`.

    Args:
        stored: by name, in the file's order.
        keras: whether Keras gave the names; else they say so themselves.
    """
    shapes = {name: array.shape for name, array in stored.items()}
    uses = keras_uses(shapes) if keras or NAMES & set(map(last_part, shapes)) else uses_of(shapes)
    return tuple(
        WeightArray(
            name,
            use.shape,
            stored[name].dtype,
            use.axes,
            use.operator,
            reshaped(stored[name].read, use.shape),
            use.gates,
        )
        for name, use in uses.items()
    )


def reshaped(read: Callable[[], npt.NDArray[Any]], shape: tuple[int, ...]) -> Callable[[], npt.NDArray[Any]]:
    """``read`` with its result in another shape."""
    return lambda: read().reshape(shape)
