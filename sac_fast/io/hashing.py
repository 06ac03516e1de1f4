"""SHA-256 of files, JSON and arrays, always written as ``"sha256:"`` and 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, TypeGuard

import numpy as np

from .files import StrPath, open_regular

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
# Made once: json.dumps makes an encoder for every call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def is_hash(value: object) -> TypeGuard[str]:
    """Whether a value is the text ``"sha256:"`` and 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def sha256_stream(handle: BinaryIO) -> str:
    """``"sha256:..."`` of the rest of an open file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    while chunk := handle.read(_CHUNK_BYTES):
        digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def sha256_file(path: StrPath) -> str:
    """``"sha256:…"`` of a regular file, as `sha256sum` counts it; see `open_regular`."""
    with open_regular(path) as handle:
        return sha256_stream(handle)


def canonical_json(value: object) -> str:
    """JSON that is the same for equal values: sorted keys, no spaces, ASCII, no NaN or Infinity."""
    return _encode(value)


def hash_json(value: object) -> str:
    """``"sha256:..."`` of the `canonical_json` of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_entries(entries: Iterable[tuple[str, str, tuple[int, ...], Iterable[bytes | memoryview]]]) -> str:
    """SHA-256 over named arrays: for each, by name, a JSON line ``[name, dtype, shape]`` and then its bytes.

    Args:
        entries: ``(name, dtype, shape, pieces)``; the pieces hold the values in C order, little-endian.

    Returns:
        ``"sha256:..."``.
    """
    digest = hashlib.sha256()
    for name, dtype, shape, pieces in sorted(entries, key=lambda entry: entry[0]):
        # The line fixes how many bytes follow it, so no two sets of arrays give the same stream.
        digest.update(canonical_json([name, dtype, list(shape)]).encode() + b"\n")
        for piece in pieces:
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def content_hash(arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> str:
    """SHA-256 over the arrays' names, dtypes, shapes and bytes (see `hash_entries`); independent of any file.

    Args:
        arrays: any NumPy arrays of numbers.

    Returns:
        ``"sha256:..."``.
    """
    return hash_entries(
        (name, array.dtype.name, array.shape, [little_endian(array).reshape(-1).view(np.uint8).data])
        for name, array in arrays.items()
    )


def little_endian(array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in C order and little-endian, without a copy where it is so already."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
