"""What an ONNX graph takes: the input that is asked with probes, and fixed values for all others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..formats.limits import refuse
from .preprocessing import Preprocessing

#: What stands for an array of zeros.
ZEROS = "zeros"
# Types of onnxruntime's inputs that can be given values, by NumPy's names.
_TYPES = {
    **{"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
}
_CHANNELS = (1, 3)
_MAX_VALUES = 1 << 26  # of one fixed input
Side = int | str | None


@dataclass(frozen=True)
class OnnxInput:
    """One input of a graph.

    Attributes:
        name: as the graph has it.
        dtype: NumPy's name; ``""`` where it takes no numbers.
        shape: sides, names of sides, or None where nothing is known of one.
    """

    name: str
    dtype: str
    shape: tuple[Side, ...]

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.dtype or 'of another type'} ({sides})"

    @property
    def is_whole(self) -> bool:
        """Whether it takes whole numbers."""
        return self.dtype.startswith(("int", "uint"))


def describe_inputs(session: Any) -> list[OnnxInput]:
    """The inputs of a session; a name of a side is one that other inputs may share."""
    return [
        OnnxInput(
            value.name,
            _TYPES.get(value.type.removeprefix("tensor(").removesuffix(")"), ""),
            tuple(side if isinstance(side, int | str) and side != "?" else None for side in value.shape),
        )
        for value in session.get_inputs()
    ]


def open_inputs(inputs: Sequence[OnnxInput], given: Mapping[str, Any], name: str) -> list[OnnxInput]:
    """The inputs that are not given fixed values.

    Raises:
        ModelRefusedError: none is left.
    """
    left = [value for value in inputs if value.name not in given]
    if not left:
        found = "a fixed value for each" if inputs else "no inputs"
        refuse("graph", f"{name} must have an input that takes the probes, got {found}")
    return left


def choose_input(inputs: Sequence[OnnxInput], given: Mapping[str, Any], name: str) -> OnnxInput:
    """The one input that is not given a fixed value.

    Args:
        inputs: of the graph.
        given: fixed values; those of other names are left alone.
        name: what messages call the file.

    Raises:
        ModelRefusedError: none or several are left, or one that takes no numbers.
    """
    left = open_inputs(inputs, given, name)
    if len(left) > 1:
        images = [value for value in left if len(value.shape) == 4]
        main = images[0] if len(images) == 1 else left[0]
        others = [value for value in left if value is not main]
        asked = " ".join(f"--input {value.name}={ZEROS}" for value in others)
        wanted = f"{name} must have one input for the probes ({main})"
        found = f"further ones: {', '.join(map(str, others))}"
        remedy = f"give each a fixed value, a number or zeros ({asked}), or arrays for all as .npz to --probes"
        refuse("more-inputs", f"{wanted}, got {found}; {remedy}")
    [main] = left
    if not main.dtype or main.dtype == "bool" or not main.shape:
        refuse("graph", f"{name} must take numbers with one row a probe, got {main}")
    return main


def fixed_values(
    inputs: Sequence[OnnxInput], main: OnnxInput, given: Mapping[str, Any], rows: int
) -> dict[str, npt.NDArray[Any]]:
    """Arrays for the inputs that are given fixed values.

    Args:
        inputs: of the graph.
        main: the one that takes the probes.
        given: by name: a number, nested lists of numbers, or ``"zeros"``. A number fills the whole input.
        rows: of this call; a side that is not known, or has the name of the main input's first, has as many.

    Raises:
        ModelError: a value that is no number, or of another shape than the input.
    """
    arrays = {}
    for value in inputs:
        if value.name not in given:
            continue
        wanted = tuple(_side(side, main, rows) for side in value.shape)
        said = given[value.name]
        text = f"fixed value of the input {value} must be a number, lists of numbers or {ZEROS!r}"
        if not value.dtype or math.prod(wanted) > _MAX_VALUES:
            raise ModelError(f"{text}, got an input that cannot be filled")
        try:
            array = np.zeros((), value.dtype) if said == ZEROS else np.asarray(said)
            if (
                array.dtype.kind not in "biuf"
                or not np.isfinite(array).all()
                or (value.is_whole and array.dtype.kind == "f")
            ):
                raise ValueError("other values")
            if array.ndim == len(wanted):  # sides that are not known are those of the values
                free = [side is None and size != 1 for side, size in zip(value.shape, array.shape, strict=True)]
                wanted = tuple(size if own else side for own, size, side in zip(free, array.shape, wanted, strict=True))
            arrays[value.name] = np.ascontiguousarray(np.broadcast_to(array.astype(value.dtype), wanted))
        except (ValueError, TypeError, OverflowError) as error:
            raise ModelError(f"{text} of shape {wanted}, got {str(said)[:80]!r}") from error
        if not wanted:
            arrays[value.name] = arrays[value.name].reshape(())
    return arrays


def _side(side: Side, main: OnnxInput, rows: int) -> int:
    if isinstance(side, int) and side > 0:
        return side
    if side is None or side == main.shape[0]:
        return rows
    raise ModelError(f"the side {side!r} of an input must be known, got only its name: give lists of numbers")


def adapt_to_input(
    main: OnnxInput, preprocessing: Preprocessing, size: tuple[int, int], name: str
) -> tuple[Preprocessing, str]:
    """The preprocessing with what the input declares and nobody named: layout, channels, size, pixels as whole numbers.

    Args:
        main: the input that takes the probes.
        preprocessing: what is known of it; what differs from the defaults is believed.
        size: height and width of the probes.
        name: what messages call the file.

    Returns:
        What the probes go through, and a line that says what was taken from the declaration; "" where nothing was.

    Raises:
        ModelRefusedError: it takes no images.
    """
    if len(main.shape) != 4:
        remedy = "give inputs of its shape as .npz to --probes, or its outputs"
        refuse("no-images", f"{name} must take images (n, 3, H, W), got {main}; {remedy}")
    changes: dict[str, Any] = {}
    _, *sides = main.shape
    layout = preprocessing.layout
    if layout == "NCHW" and sides[2] in _CHANNELS and sides[0] not in _CHANNELS and isinstance(sides[2], int):
        layout = changes["layout"] = "NHWC"
    channels, height, width = (sides[2], *sides[:2]) if layout == "NHWC" else sides
    one_value = len(set(preprocessing.mean)) == len(set(preprocessing.std)) == 1
    if channels == 1 and preprocessing.colour_order == "RGB" and one_value:
        changes |= {"colour_order": "GRAY", "mean": preprocessing.mean[:1], "std": preprocessing.std[:1]}
    elif isinstance(channels, int) and channels not in _CHANNELS:
        refuse("no-images", f"{name} must take images of 1 or 3 channels, got {main}")
    if preprocessing.size is None and isinstance(height, int) and isinstance(width, int) and (height, width) != size:
        if min(height, width) < 1:
            refuse("no-images", f"{name} must take images with pixels, got {main}")
        changes["size"] = (height, width)
    elif preprocessing.size is None and (isinstance(height, int) or isinstance(width, int)):
        declared = tuple(
            side if isinstance(side, int) else own for side, own in zip((height, width), size, strict=True)
        )
        changes |= {"size": declared} if declared != size else {}
    if main.is_whole and set(preprocessing.mean) == {0.0} and set(preprocessing.std) == {1.0}:
        changes["std"] = (1 / 255,)
    adapted = dataclasses.replace(preprocessing, **changes)
    said = [
        *([f"layout {adapted.layout}"] if "layout" in changes else []),
        *(["grey images"] if "colour_order" in changes else []),
        *(["size {}x{}".format(*changes["size"])] if "size" in changes else []),
        *([f"pixels as {main.dtype}"] if main.is_whole and "std" in changes else []),
    ]
    return adapted, f"{', '.join(said)} as its input declares ({main})" if said else ""
