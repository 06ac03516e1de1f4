"""Arrays of torch checkpoints and TorchScript archives, as data: nothing that the file names is run."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..limits import Limits, refuse
from ..torch_file import Pickled, read_pickled
from ..torch_pickle import Inert, InertObject, read_pickle
from ..torch_tensors import MAX_DEPTH, PickledTensor, check_sizes, describe_tensor, is_tensor, unwrapped
from .pickled_numpy import is_pickled_array, pickled_array
from .ranges import FileRanges, item_size
from .state_dict import StoredArray

_Values = Callable[[], Any]

MAX_NAME = 1024  # characters of a dotted name
MAX_STEPS = 500_000  # values that are looked at; one that is reached twice counts twice
# What trainers keep beside the weights.
STATES_OF_TRAINING = ("optim", "scheduler", "sched", "scaler", "grad_scaler")


def torch_arrays(handle: BinaryIO, name: str, limits: Limits, *, as_data: bool = True) -> dict[str, StoredArray]:
    """All arrays of a checkpoint, with dotted names where mappings or objects hold them.

    Args:
        handle: the open file; it must stay open while arrays are read.
        name: what messages call it.
        limits: on pickle, number and sizes.
        as_data: see `read_pickled`.

    Returns:
        Arrays in the file's order; the states of optimizers and schedulers are left out.

    Raises:
        ModelRefusedError: no sound checkpoint, or one without arrays.
    """
    pickled = read_pickled(handle, name, limits, as_data=as_data)
    return _arrays_of(pickled, FileRanges(handle, name), limits)


def pickle_arrays(handle: BinaryIO, name: str, limits: Limits, start: int = 0) -> dict[str, StoredArray]:
    """All NumPy arrays of a plain pickle, see `torch_arrays`.

    Args:
        handle: the open file.
        name: what messages call it.
        limits: on pickle, number and sizes.
        start: where the pickle begins.
    """
    ranges = FileRanges(handle, name)
    limits.check_header(name, ranges.size - start, "a pickle")
    value, _ = read_pickle(io.BytesIO(ranges.read(start, ranges.size - start)), name, any_class=True)
    return _arrays_of(Pickled(value, {}), ranges, limits)


def _arrays_of(pickled: Pickled, ranges: FileRanges, limits: Limits) -> dict[str, StoredArray]:
    name = ranges.name
    reader = ArrayReader(ranges, pickled, limits)
    arrays: dict[str, StoredArray] = {}
    for key, entry in _walk(pickled.value, name):
        found = pickled_array(entry, key, name, limits) if isinstance(entry, InertObject) else reader.array(entry, key)
        if found is None:
            continue
        if key in arrays:
            refuse("duplicate-keys", f"{name} must name every tensor once, got {key!r} twice")
        arrays[key] = found
        limits.check_count(name, len(arrays))
    if not arrays:
        refuse("no-state-dict", f"{name} must hold tensors under names, got none")
    return arrays


def _walk(value: Any, name: str) -> Iterator[tuple[str, Inert]]:
    """Tensors of nested mappings, sequences and objects, with their dotted names."""
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    steps = 0
    while stack:
        key, found, depth = stack.pop()
        if is_pickled_array(found) or is_tensor(found):
            yield key, found
            continue
        children = _children(found)
        steps += 1 + len(children)
        if depth > MAX_DEPTH or steps > MAX_STEPS:
            wanted = f"at most {MAX_STEPS:,} values in mappings at most {MAX_DEPTH} deep"
            refuse("too-large", f"{name} must hold {wanted}, got more")
        inner = []
        for part, child in children:
            text = str(part)
            if any(text.lower().startswith(start) for start in STATES_OF_TRAINING):
                continue
            dotted = f"{key}.{text}" if key else text
            if len(dotted) > MAX_NAME:
                refuse("too-large", f"{name} must have names of at most {MAX_NAME:,} characters, got a longer one")
            inner.append((dotted, child, depth + 1))
        stack += reversed(inner)


def _children(found: Any) -> list[tuple[Any, Any]]:
    """What a value holds that can hold arrays: items by key or number, an object's attributes."""
    if isinstance(found, Mapping):
        pairs: list[tuple[Any, Any]] = list(found.items())
    elif isinstance(found, list | tuple):
        pairs = list(enumerate(found))
    elif isinstance(found, InertObject):
        # State of objects with __slots__: a pair of two mappings.
        states = found.state if isinstance(found.state, tuple) else (found.state,)
        pairs = [pair for state in states if isinstance(state, Mapping) for pair in state.items()]
        pairs += found.items or []
        if not pairs:
            pairs = list(enumerate(found.arguments))
    else:
        return []
    containers = (Mapping, list, tuple, Inert)
    return [(part, child) for part, child in pairs if isinstance(part, str | int) and isinstance(child, containers)]


class ArrayReader:
    """Turns inert records of tensors into arrays, each checked against its storage."""

    def __init__(self, ranges: FileRanges, pickled: Pickled, limits: Limits) -> None:
        self._ranges = ranges
        self._pickled = pickled
        self._limits = limits
        self._total = 0

    def array(self, entry: Any, key: str, *, as_stored: bool = False) -> StoredArray:
        """The array that a record describes.

        Args:
            entry: the record.
            key: its name, for messages.
            as_stored: refuse a quantised tensor instead of scaling its numbers.

        Raises:
            ModelRefusedError: no dense tensor inside its storage, or a limit.
        """
        name = self._ranges.name
        entry = unwrapped(entry, key, name)
        said = None
        quantised = isinstance(entry, Inert) and entry.name == "_rebuild_qtensor" and not as_stored
        if quantised and len(entry.arguments) > 4:
            said = entry.arguments[4]
            entry = _Plain(*entry.arguments[:4])
        tensor = describe_tensor(entry, key, name)
        self._total += tensor.size
        check_sizes(tensor, key, name, self._limits, self._ranges.size, self._total)
        # What lies between the values is read with them.
        span = (tensor.stop - tensor.offset) * tensor.dtype.itemsize if tensor.size else 0
        self._limits.check_expansion(name, key, span, tensor.size)
        place = self._pickled.places.get(tensor.storage.key)
        if place is None:
            refuse("malformed", f"{name} must hold the values of {key!r}, got no storage {tensor.storage.key[:80]!r}")
        read = functools.partial(_read, self._ranges, place, tensor, self._big_endian)
        if said is not None:
            read = functools.partial(_dequantised, read, *self._scales(said, key))
        return StoredArray(_dtype_name(tensor), tensor.shape, read)

    @property
    def _big_endian(self) -> bool:
        return self._pickled.big_endian

    def _scales(self, said: Any, key: str) -> tuple[_Values, _Values, int | None]:
        """Scale, zero point and axis of a quantised tensor, with one scale or one a channel."""
        found = said if isinstance(said, tuple) else ()
        if len(found) == 3 and isinstance(found[1], float) and math.isfinite(found[1]) and type(found[2]) is int:
            scale, zero = found[1], found[2]
            if abs(zero) < 1 << 31:
                return lambda: np.float32(scale), lambda: np.float32(zero), None
        if len(found) == 4 and isinstance(found[1], Inert) and isinstance(found[2], Inert) and type(found[3]) is int:
            scales, zeros = self.array(found[1], f"{key} scales"), self.array(found[2], f"{key} zero points")
            return scales.read, zeros.read, found[3]
        refuse("not-dense", f"{self._ranges.name} must hold tensors with known scales, got others at {key!r}")


class _Plain(Inert):
    """The record of the whole numbers of a quantised tensor."""

    name = "_rebuild_tensor_v2"


def _dtype_name(tensor: PickledTensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _read(ranges: FileRanges, start: int, tensor: PickledTensor, big_endian: bool) -> npt.NDArray[Any]:
    """The values of a tensor: its part of the storage, then its strides."""
    dtype = _dtype_name(tensor)
    span = tensor.stop - tensor.offset if tensor.size else 0
    stored = ranges.array(start + tensor.offset * item_size(dtype), dtype, (span,), big_endian=big_endian)
    strides = tuple(step * stored.itemsize for step in tensor.stride)
    values = np.require(np.lib.stride_tricks.as_strided(stored, tensor.shape, strides), requirements="C")
    values = values.conj() if tensor.conj else values
    return -values if tensor.neg else values


def _dequantised(
    read: Callable[[], npt.NDArray[Any]], scale: _Values, zero: _Values, axis: int | None
) -> npt.NDArray[np.float32]:
    """``(q - zero) · scale``."""
    values = read()
    along = [1] * values.ndim
    if axis is not None:
        along[axis] = -1
    zeros, scales = (np.asarray(part(), np.float32).reshape(along) for part in (zero, scale))
    return np.asarray((values.astype(np.float32) - zeros) * scales, np.float32)
