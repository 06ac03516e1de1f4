"""The values of ONNX tensors, read from where they lie in the file or beside it.

Source: TensorProto of onnx.proto, and https://onnx.ai/onnx/repo-docs/ExternalData.html.
"""

from __future__ import annotations

import contextlib
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..identify import open_model_file
from ..limits import Limits, refuse
from ..onnx_graph import external_place
from ..onnx_wire import decode_varints
from .nibbles import unpack_nibbles
from .onnx_messages import Tensor
from .ranges import WITHOUT_NUMPY, FileRanges, item_size, stored_array
from .state_dict import StoredArray

_STRING = 8
_DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"},
    **{10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16"},
    **{17: "float8_e4m3fn", 19: "float8_e5m2", 21: "uint4", 22: "int4"},
}
# Which dtypes each list of numbers may hold, and bytes of one number; 0 where they have no fixed length.
_LISTS = {
    "float_data": ({"float32", "complex64"}, 4),
    "double_data": ({"float64", "complex128"}, 8),
    "int32_data": (
        set(_DTYPES.values()) - {"float32", "float64", "int64", "uint32", "uint64", "complex64", "complex128"},
        0,
    ),
    "int64_data": ({"int64"}, 0),
    "uint64_data": ({"uint32", "uint64"}, 0),
}
_MAX_EXTERNAL_FILES = 64


class TensorReader:
    """Checks tensors and reads their values."""

    def __init__(self, ranges: FileRanges, path: Path, limits: Limits, resources: contextlib.ExitStack) -> None:
        self._ranges = ranges
        self._path = path
        self._limits = limits
        self._resources = resources
        self._files: dict[Path, FileRanges] = {}
        self._count = self._total = 0

    def array(self, tensor: Tensor) -> StoredArray | None:
        """The array that a tensor describes; None for texts.

        Raises:
            ModelRefusedError: fewer or more values than its dimensions say, an unknown dtype, or a limit.
        """
        name, key = self._ranges.name, tensor.name[:80]
        if tensor.data_type == _STRING:
            return None
        dtype = _DTYPES.get(tensor.data_type)
        if dtype is None:
            refuse("not-dense", f"{name} must hold known dtypes, got number {tensor.data_type} at {key!r}")
        if any(side < 0 for side in tensor.dims):
            refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got {tensor.dims} at {key!r}")
        count = math.prod(tensor.dims)
        size = (count + 1) // 2 if dtype.endswith("int4") else count * item_size(dtype)
        self._count += 1
        self._limits.check_count(name, self._count)
        in_memory = 4 * count if dtype in WITHOUT_NUMPY else max(size, count)
        self._total += in_memory
        self._limits.check_tensor(name, key, in_memory, self._total)
        shape = tuple(tensor.dims)
        if tensor.external:
            file, start = self._external(tensor, size)
            return StoredArray(dtype, shape, functools.partial(_read_raw, file, start, dtype, shape))
        if tensor.stored in ("raw_data", "") or not count:
            if tensor.size != size:
                self._wrong_size(key, tensor.size, size)
            return StoredArray(dtype, shape, functools.partial(_read_raw, self._ranges, tensor.start, dtype, shape))
        held, width = _LISTS[tensor.stored]
        parts = 2 if dtype.startswith("complex") else 1
        if dtype not in held or (width and tensor.size != count * width * parts) or tensor.size < size // 16:
            self._wrong_size(key, tensor.size, size)
        if width:
            return StoredArray(dtype, shape, functools.partial(_read_raw, self._ranges, tensor.start, dtype, shape))
        numbers = size if dtype.endswith("int4") else count
        if not numbers <= tensor.size <= 10 * numbers:
            self._wrong_size(key, tensor.size, size)
        # Numbers of 1 to 10 bytes; decoding holds several arrays of 8 bytes a value at once.
        self._limits.check_tensor(name, key, 40 * numbers, self._total)
        read = functools.partial(_read_varints, self._ranges, tensor.start, tensor.size, dtype, shape, numbers)
        return StoredArray(dtype, shape, read)

    def _wrong_size(self, key: str, found: int, wanted: int) -> None:
        reason = "expanded" if found < wanted else "malformed"
        refuse(reason, f"{self._ranges.name} must store the {wanted:,} bytes of {key!r}, got {found:,}")

    def _external(self, tensor: Tensor, size: int) -> tuple[FileRanges, int]:
        name = self._ranges.name
        place, offset = external_place(tensor, size, self._path, name)
        if place not in self._files:
            if len(self._files) >= _MAX_EXTERNAL_FILES:
                refuse("external-data", f"{name} must have at most {_MAX_EXTERNAL_FILES} files of weights, got more")
            handle = self._resources.enter_context(open_model_file(place, self._limits, root=self._path.parent))
            self._files[place] = FileRanges(handle, repr(str(place)))
        return self._files[place], offset


def _read_raw(file: FileRanges, start: int, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if dtype.endswith("int4"):
        return unpack_nibbles(np.frombuffer(file.read(start, (math.prod(shape) + 1) // 2), np.uint8), dtype, shape)
    return file.array(start, dtype, shape)


def _read_varints(
    file: FileRanges, start: int, size: int, dtype: str, shape: tuple[int, ...], numbers: int
) -> npt.NDArray[Any]:
    values = decode_varints(file.read(start, size))
    if values is None or len(values) != numbers:
        refuse("malformed", f"{file.name} must store {numbers:,} numbers in a list, got another number of them")
    if dtype.endswith("int4"):
        return unpack_nibbles(values.astype(np.uint8), dtype, shape)
    if dtype == "bool":
        return np.asarray(values != 0).reshape(shape)
    width = item_size(dtype)
    raw = values.astype(f"u{width}").view(np.uint8)  # the low bytes: two's complement, and the bits of small floats
    return stored_array(raw, dtype, shape)
