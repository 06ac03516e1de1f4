"""Parts of an open file, read when they are asked for, and turned into arrays."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...io.dtypes import STORED_DTYPES
from ...io.files import file_size
from ...io.lazy import LazyModule
from ..limits import refuse

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

#: dtypes of torch that NumPy lacks; their values become float32.
WITHOUT_NUMPY = {row.name for row in STORED_DTYPES if row.name.startswith(("bfloat", "float8"))}


class FileRanges:
    """Reads parts of an open file, whatever its position; calls from several threads do not disturb each other."""

    def __init__(self, handle: BinaryIO, name: str) -> None:
        self.name = name
        self.size = file_size(handle)
        self._handle = handle

    def read(self, start: int, count: int) -> bytes:
        """The bytes from ``start``.

        Raises:
            ModelRefusedError: the file ends before.
        """
        if start < 0 or count < 0 or start + count > self.size:
            refuse("truncated", f"{self.name} must hold bytes {start:,} to {start + count:,}, got {self.size:,}")
        found = os.pread(self._handle.fileno(), count, start)
        if len(found) != count:  # the kernel gives at most 2 GiB at once
            buffer = bytearray(count)
            self.read_into(memoryview(buffer), start)
            return bytes(buffer)
        return found

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill ``buffer`` from ``start``."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self._handle.fileno(), [buffer[done:]], start + done)
            if count == 0:
                refuse("truncated", f"{self.name} must keep its size while it is read, got its end early")
            done += count

    def array(self, start: int, dtype: str, shape: tuple[int, ...], *, big_endian: bool = False) -> npt.NDArray[Any]:
        """An array that lies in the file row by row, see `stored_array`."""
        raw = np.empty(math.prod(shape) * item_size(dtype), np.uint8)
        self.read_into(raw.data, start)
        return stored_array(raw, dtype, shape, big_endian=big_endian)


def item_size(dtype: str) -> int:
    """Bytes of one value of a dtype that torch has."""
    return int(getattr(torch, dtype).itemsize)


def stored_array(
    raw: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...], *, big_endian: bool = False
) -> npt.NDArray[Any]:
    """Bytes as values of a dtype; as float32 where NumPy has no such dtype.

    Args:
        raw: as many bytes as the values need.
        dtype: its name in torch.
        shape: of the result.
        big_endian: how the bytes of one value lie.
    """
    if dtype in WITHOUT_NUMPY:
        swapped = raw.view(f"u{item_size(dtype)}").byteswap().view(np.uint8) if big_endian else raw
        return np.asarray(torch.from_numpy(swapped).view(getattr(torch, dtype)).float()).reshape(shape)
    if dtype == "bool":
        return np.asarray(raw != 0).reshape(shape)  # other bytes than 0 and 1 are no valid values
    stored = np.dtype(dtype).newbyteorder(">" if big_endian else "<")
    return np.asarray(raw.view(stored), dtype).reshape(shape)
