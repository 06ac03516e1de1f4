"""Arrays of HDF5 files, as Keras writes them, and of ``.keras`` archives; links are not followed."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np
import numpy.typing as npt

from ...io.files import file_size
from ..hdf5 import check_dataset
from ..hdf5_chunks import fill_values
from ..hdf5_open import open_hdf5
from ..limits import Limits, refuse, refuse_errors
from ..zip_layout import STORED, read_entries
from .state_dict import StoredArray

_MAX_DEPTH = 32  # of groups inside each other
_NO_WEIGHTS = {"optimizer", "optimizer_weights"}
_INSIDE = "model.weights.h5"


def hdf5_arrays(
    handle: BinaryIO, name: str, limits: Limits, resources: contextlib.ExitStack, *, archive: bool = False
) -> dict[str, StoredArray]:
    """All arrays of numbers in an HDF5 file by their paths, the states of optimizers left out.

    Args:
        handle: the open file; it must stay open while arrays are read.
        name: what messages call it.
        limits: on number and sizes.
        resources: closes the file.
        archive: it is a ``.keras`` archive, which holds the HDF5 file.

    Returns:
        Arrays in the order of their names.

    Raises:
        ModelRefusedError: links, other files, filters that need plug-ins, values that are declared but not stored.
    """
    source = _Part(handle, *_place_inside(handle, name, limits)) if archive else handle
    arrays: dict[str, StoredArray] = {}
    file_bytes, total = file_size(handle), 0
    with refuse_errors(f"{name} must be a sound HDF5 file"):
        file = resources.enter_context(open_hdf5(source, name))
        for key, dataset in _datasets(file, name, limits):
            if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8 or dataset.shape is None:
                continue
            total += check_dataset(dataset, key, name, limits, file_bytes, dataset.dtype.itemsize)
            limits.check_tensor(name, key, 0, total)
            limits.check_expansion(name, key, total, file_bytes)
            shape = tuple(int(side) for side in dataset.shape)
            dtype = dataset.dtype.newbyteorder("=").name
            arrays[key] = StoredArray(dtype, shape, functools.partial(_read, dataset, key, name))
    if not arrays:
        refuse("no-state-dict", f"{name} must hold arrays of numbers, got none")
    return arrays


def _read(dataset: Any, key: str, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = np.empty(dataset.shape, dataset.dtype.newbyteorder("="))
    with refuse_errors(f"{name} must be a sound HDF5 file"):
        fill_values(values, dataset, key, name)
    return values


def _datasets(file: Any, name: str, limits: Limits) -> Iterator[tuple[str, Any]]:
    """Datasets that the file itself holds under hard links, each once."""
    stack: list[tuple[str, Any, int]] = [("", file, 0)]
    seen: set[bytes] = set()
    count = 0
    while stack:
        path, found, depth = stack.pop()
        token = _identity(found)
        if token in seen:
            continue  # a hard link can lead to a group around it
        seen.add(token)
        if isinstance(found, h5py.Dataset):
            yield path, found
            continue
        if depth > _MAX_DEPTH:
            refuse("too-large", f"{name} must have groups at most {_MAX_DEPTH} deep, got deeper ones")
        inner = []
        for key in found:
            count += 1
            limits.check_count(name, count, "names")
            if path == "" and key in _NO_WEIGHTS:
                continue
            if found.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
                where = f"{path}/{key}".strip("/")[:80]
                refuse("external-link", f"{name} must store {where!r} itself, got a soft or external link")
            inner.append((f"{path}/{key}".strip("/"), found[key], depth + 1))
        stack += [entry for entry in reversed(inner) if isinstance(entry[1], h5py.Group | h5py.Dataset)]


def _identity(found: Any) -> bytes:
    info = h5py.h5o.get_info(found.id)
    return f"{info.fileno} {info.addr}".encode()


def _place_inside(handle: BinaryIO, name: str, limits: Limits) -> tuple[int, int]:
    """Where the HDF5 file of a ``.keras`` archive lies, and its length."""
    entry = read_entries(handle, name, limits).get(_INSIDE)
    if entry is None:
        refuse("malformed", f"{name} must hold {_INSIDE}, got an archive without it")
    if entry.method != STORED:
        refuse("compressed", f"{name} must store {_INSIDE} as Keras does, got a compressed one")
    return entry.data_start, entry.stored


class _Part(io.RawIOBase):
    """A part of an open file as a file of its own."""

    def __init__(self, handle: BinaryIO, start: int, size: int) -> None:
        self._descriptor = handle.fileno()
        self._start, self._size, self._position = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        done = os.preadv(self._descriptor, [view[:count]], self._start + self._position)
        self._position += done
        return done
