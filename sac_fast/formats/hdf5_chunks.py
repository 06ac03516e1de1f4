"""Values of HDF5 datasets, chunk by chunk: what a chunk inflates to is bounded by its declared size.

HDF5's own deflate filter has no bound: it inflates a chunk of kilobytes to gigabytes before it compares sizes.
Source: the filter pipeline in https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, H5Zshuffle.c,
H5Zfletcher32.c.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .limits import MAX_HDF5_CHUNK_BYTES, MAX_HDF5_CHUNKS, refuse

_DEFLATE, _SHUFFLE, _FLETCHER, _LZF = 1, 2, 3, h5py.h5z.FILTER_LZF
#: Filters that h5py writes without plug-ins. Others would load a library that the file names.
FILTERS = frozenset((_DEFLATE, _SHUFFLE, _FLETCHER, _LZF))
# What a filter may add to a chunk that it cannot make smaller.
_FILTER_BYTES = 1 << 16
_PIECE_BYTES = 8 << 20
_WORDS = 1 << 16  # of a checksum at once

Array = npt.NDArray[Any]


def fill_values(target: Array, dataset: Any, key: str, name: str) -> None:
    """Fill an array with the values of a dataset, converted to the array's dtype.

    Args:
        target: the shape of the dataset, or fewer rows of it.
        dataset: of h5py, numbers, with no other filters than `FILTERS`.
        key, name: path of the dataset and the file, for messages.

    Raises:
        ModelRefusedError: a chunk that is too large, inflates to another size than it declares, or is damaged.
    """
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(index) for index in range(plan.get_nfilters())]
    if not filters:
        _fill_rows(target, dataset)
        return
    if not h5py.h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()):
        refuse("not-numbers", f"{name} must hold plain numbers at {key!r}, got {dataset.dtype} in another layout")
    check_chunks(dataset, key, name)
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    places: list[tuple[tuple[int, ...], int]] = []
    left = dataset.file.id.get_filesize()

    def add(chunk: Any) -> None:
        nonlocal left
        left -= chunk.size
        if chunk.size > size + _FILTER_BYTES:
            places.clear()
            refuse("expanded", f"{name} must store chunks of {size:,} bytes at {key!r}, got {chunk.size:,}")
        places.append((chunk.chunk_offset, chunk.filter_mask))

    dataset.id.chunk_iter(add)
    if left < 0:  # the same bytes many times: each would be inflated again
        refuse("expanded", f"{name} must store each chunk of {key!r} by itself, got {-left:,} bytes more than the file")
    for place, mask in places:
        if place[0] >= target.shape[0]:
            continue
        _, raw = dataset.id.read_direct_chunk(place)
        for index in range(len(filters) - 1, -1, -1):
            if not mask >> index & 1:
                code, _, options, _ = filters[index]
                raw = _INVERSE[code](raw, size, options)
        if len(raw) != size:
            refuse("expanded", f"{name} must hold chunks of {size:,} bytes at {key!r}, got another size at {place}")
        chunk = np.frombuffer(raw, dataset.dtype).reshape(dataset.chunks)
        part = target[tuple(slice(at, at + side) for at, side in zip(place, dataset.chunks, strict=True))]
        part[...] = chunk[tuple(slice(side) for side in part.shape)]


def check_chunks(dataset: Any, key: str, name: str) -> None:
    """Refuse chunks that are too large, too many, or not all stored.

    Raises:
        ModelRefusedError: they are.
    """
    if math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_HDF5_CHUNK_BYTES:
        wanted = f"chunks of at most {MAX_HDF5_CHUNK_BYTES:,} bytes"
        refuse("too-large", f"{name} must have {wanted} at {key!r}, got larger")
    count = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if count > MAX_HDF5_CHUNKS:
        refuse("too-large", f"{name} must have at most {MAX_HDF5_CHUNKS:,} chunks at {key!r}, got {count:,}")
    if (stored := dataset.id.get_num_chunks()) != count:
        refuse("expanded", f"{name} must store every value of {key!r}, got {stored:,} chunks stored of {count:,}")


def _fill_rows(target: Array, dataset: Any) -> None:
    if not target.ndim:
        target[...] = dataset[()]
        return
    rows = max(1, _PIECE_BYTES // max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize))
    for start in range(0, len(target), rows):
        end = min(start + rows, len(target))
        target[start:end] = dataset[start:end]


def _inflate(raw: bytes, size: int, options: tuple[int, ...]) -> bytes:
    # One byte more than may come: a longer result is noticed, and not made.
    return zlib.decompressobj().decompress(raw, size + _FILTER_BYTES + 1)


def _unshuffle(raw: bytes, size: int, options: tuple[int, ...]) -> bytes:
    width = options[0]
    count = len(raw) // width
    if width < 2 or count < 2:
        return raw
    return np.frombuffer(raw, np.uint8, count * width).reshape(width, count).T.tobytes() + raw[count * width :]


def _check_sum(raw: bytes, size: int, options: tuple[int, ...]) -> bytes:
    """The bytes before a Fletcher-32 checksum, compared with it."""
    data, stored = raw[:-4], int.from_bytes(raw[-4:], "little")
    words = np.frombuffer(data + bytes(len(data) % 2), ">u2")
    low = high = 0
    for start in range(0, len(words), _WORDS):
        part = words[start : start + _WORDS].astype(np.uint64)
        high += low * len(part) + int((part * np.arange(len(part), 0, -1, dtype=np.uint64)).sum())
        low += int(part.sum())
    # Early versions of HDF5 stored the bytes of both halves the other way round.
    swapped = int.from_bytes(stored.to_bytes(4, "big"), "little")
    swapped = swapped >> 16 | (swapped & 0xFFFF) << 16
    for found in (stored, swapped):
        if (found & 0xFFFF) % 0xFFFF == low % 0xFFFF and (found >> 16) % 0xFFFF == high % 0xFFFF:
            return data
    raise ValueError("checksum of a chunk does not fit its bytes")


def _expand_lzf(raw: bytes, size: int, options: tuple[int, ...]) -> bytes:
    """What LibLZF's lzf_decompress gives; a longer result is noticed, and not made."""
    out = bytearray()
    place = 0
    while place < len(raw) and len(out) <= size + _FILTER_BYTES:
        control = raw[place]
        place += 1
        if control < 32:  # so many bytes and one more, as they are
            out += raw[place : place + control + 1]
            place += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += raw[place]
            place += 1
        start = len(out) - ((control & 31) << 8) - raw[place] - 1
        place += 1
        if start < 0:
            raise ValueError("a chunk repeats bytes before its beginning")
        length += 2
        piece = out[start : start + length]
        out += (piece * -(-length // len(piece)))[:length]  # it may overlap what it makes
    return bytes(out)


_INVERSE: dict[int, Callable[[bytes, int, tuple[int, ...]], bytes]] = {
    _DEFLATE: _inflate,
    _SHUFFLE: _unshuffle,
    _FLETCHER: _check_sum,
    _LZF: _expand_lzf,
}
