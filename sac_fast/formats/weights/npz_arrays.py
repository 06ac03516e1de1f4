"""Arrays of ``.npz`` files, each read when it is asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import zipfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...io.files import file_size
from ..limits import Limits, refuse, refuse_errors
from ..npy import read_npy_header
from ..zip_layout import STORED, ZipEntry, read_entries
from .ranges import FileRanges
from .state_dict import StoredArray

_HEADER_BYTES = 1 << 14


def npz_arrays(handle: BinaryIO, name: str, limits: Limits, resources: contextlib.ExitStack) -> dict[str, StoredArray]:
    """All arrays of numbers of an archive.

    Args:
        handle: the open file; it must stay open while arrays are read.
        name: what messages call it.
        limits: on number and sizes.
        resources: closes the archive.

    Returns:
        Arrays in the archive's order.

    Raises:
        ModelRefusedError: arrays of objects, or a header that says another size than is stored.
    """
    entries = read_entries(handle, name, limits)
    ranges = FileRanges(handle, name)
    with refuse_errors(f"{name} must be a sound .npz file"):
        # The directory is checked by now; the library inflates piece by piece and compares the checksum.
        archive = resources.enter_context(zipfile.ZipFile(handle))
    arrays: dict[str, StoredArray] = {}
    total = 0
    for entry in entries.values():
        key = entry.name.removesuffix(".npy")
        if not entry.name.endswith(".npy"):
            refuse("malformed", f"{name} must hold .npy arrays only, got {entry.name[:80]!r}")
        shape, fortran, dtype, start = _header(archive, ranges, entry, name, key)
        if dtype.hasobject:
            refuse("object-array", f"{name} must hold numbers at {key!r}, got Python objects, which need code to run")
        if dtype.kind not in "fiubc" or dtype.subdtype is not None:
            refuse("not-numbers", f"{name} must hold numbers at {key!r}, got {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if size != entry.size - start:
            reason = "truncated" if size > entry.size - start else "malformed"
            refuse(reason, f"{name} must hold {size:,} bytes at {key!r} as its header says, got {entry.size - start:,}")
        total += size
        limits.check_tensor(name, key, size, total)
        limits.check_expansion(name, key, total, file_size(handle))
        read = functools.partial(_read, archive, ranges, entry, start, shape, fortran, dtype)
        arrays[key] = StoredArray(dtype.name, shape, read)
    return arrays


def _header(
    archive: zipfile.ZipFile, ranges: FileRanges, entry: ZipEntry, name: str, key: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order and dtype of an entry, and where its values begin in it."""
    with refuse_errors(f"{name} must hold an .npy array at {key!r}"):
        if entry.method == STORED:
            head = ranges.read(entry.data_start, min(entry.stored, _HEADER_BYTES))
        else:
            with archive.open(entry.name) as stream:
                head = stream.read(_HEADER_BYTES)
        begun = io.BytesIO(head)
        shape, fortran, dtype = read_npy_header(begun, name, key)
        return shape, fortran, dtype, begun.tell()


def _read(
    archive: zipfile.ZipFile,
    ranges: FileRanges,
    entry: ZipEntry,
    start: int,
    shape: tuple[int, ...],
    fortran: bool,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    raw = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    if entry.method == STORED:
        ranges.read_into(raw.data, entry.data_start + start)
    else:
        _inflate(archive, ranges.name, entry, start, raw)
    values = raw.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _inflate(archive: zipfile.ZipFile, name: str, entry: ZipEntry, start: int, raw: npt.NDArray[np.uint8]) -> None:
    with refuse_errors(f"{name} must be a sound .npz file"), archive.open(entry.name) as stream:
        stream.read(start)
        done = 0
        while done < len(raw):
            count = stream.readinto(raw[done:].data)  # type: ignore[attr-defined]
            if not count:
                refuse("truncated", f"{name} must hold as many bytes at {entry.name!r} as it says, got fewer")
            done += count
        if stream.read(1):
            refuse("malformed", f"{name} must hold as many bytes at {entry.name!r} as it says, got more")
