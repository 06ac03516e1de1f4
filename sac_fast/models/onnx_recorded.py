"""Recorded inputs as an ONNX graph takes them: by name, in its dtypes, one at a time where a row is a whole input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from .named_inputs import NamedInputs
from .onnx_inputs import OnnxInput

#: Reason of the ModelError of recorded inputs that are not those of a graph.
WRONG_INPUTS = "wrong-inputs"


def match_inputs(left: Sequence[OnnxInput], names: Sequence[str], name: str) -> dict[str, OnnxInput]:
    """Which recorded array goes to which input.

    Args:
        left: the graph's inputs that are given no fixed value.
        names: of the arrays.
        name: what messages call the file.

    Raises:
        ModelError: several arrays, and other names than those of the inputs.
    """
    if len(left) == len(names) == 1:
        return {names[0]: left[0]}
    by_name = {value.name: value for value in left}
    if set(names) != set(by_name):
        wanted = f"{name} must be given an array for each input without a fixed value ({', '.join(map(str, left))})"
        raise ModelError(f"{wanted}, got {', '.join(map(repr, names))}", reason=WRONG_INPUTS)
    return {key: by_name[key] for key in names}


def is_batched(value: OnnxInput, ndim: int, name: str) -> bool:
    """Whether an array's rows are the rows of an input; False where each row is a whole input.

    Args:
        value: the input.
        ndim: of the array.
        name: what messages call the file.

    Raises:
        ModelError: neither.
    """
    if not 0 <= ndim - len(value.shape) <= 1:
        dimensions = f"{len(value.shape)} dimensions, or one more where each row is a whole input"
        raise ModelError(
            f"recorded input for {value} of {name} must have {dimensions}, got {ndim}", reason=WRONG_INPUTS
        )
    return ndim == len(value.shape)


def feed_of(batch: NamedInputs, taken: Mapping[str, OnnxInput], name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays by the graph's names, each in its dtype and shape.

    Args:
        batch: the rows of one call; one row where a row is a whole input.
        taken: of `match_inputs`.
        name: what messages call the file.

    Raises:
        ModelError: values or sides that the graph does not take.
    """
    feed = {}
    for key, value in taken.items():
        array: npt.NDArray[Any] = batch.tensors[key].numpy()
        if not is_batched(value, array.ndim, name):
            array = array[0]
        sides = zip(value.shape[1:], array.shape[1:], strict=True) if array.ndim else ()
        if any(isinstance(side, int) and side > 0 and side != own for side, own in sides):
            raise ModelError(
                f"recorded input {key!r} must fit {value} of {name}, got shape {array.shape}", reason=WRONG_INPUTS
            )
        feed[value.name] = _in_dtype(array, value, key)
    return feed


def _in_dtype(array: npt.NDArray[Any], value: OnnxInput, key: str) -> npt.NDArray[Any]:
    if not value.dtype:
        raise ModelError(f"recorded input {key!r} must go to an input of numbers, got {value}", reason=WRONG_INPUTS)
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array.astype(value.dtype)).reshape(array.shape)
    # Floats may lose digits; whole numbers, and floats that become whole ones, may not change.
    exact = value.is_whole or value.dtype == "bool" or array.dtype.kind != "f"
    if not np.isfinite(made).all() or (exact and not np.array_equal(made.astype(array.dtype), array)):
        raise ModelError(f"recorded input {key!r} must be {value.dtype} for {value}, got others", reason=WRONG_INPUTS)
    return made
