"""The one file format of sac_fast: a safetensors file whose metadata hold JSON and a hash over all that it contains.

The metadata's only key is ``sac_fast``, its value ``{"format": 2, "kind": …, "hash": …, "metadata": …}``. The hash is
`hash_json` of ``{"arrays": content_hash, "format": 2, "kind": …, "metadata": …}``. The header must be written as
`json.dumps` writes it without spaces, so that a changed bit anywhere is found, also one that changes no meaning.

Format 1, which is still read, has under ``file_hash`` the SHA-256 of the whole file with the hash's own 64 digits as
zeros.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import FileFormatError, describe_error
from .dtypes import STORED_DTYPES
from .files import StrPath, atomic_write, check_holes, file_size, open_regular
from .hashing import content_hash, hash_entries, hash_json, is_hash, little_endian

FORMAT_VERSION = 2
# safetensors itself refuses larger headers.
MAX_HEADER_BYTES = 100_000_000
#: Largest file of each kind; of others `_MAX_BYTES`.
_LARGE = {"probes": 16 << 30, "inputs": 16 << 30, "fingerprint": 2 << 30}
_MAX_BYTES = 256 << 20
# Parsed as JSON twice, a header costs many times its own size: it may be this long, and a sixteenth of the data more
# (an image's entry in the provenance of probes has 130 bytes, the image thousands), and have a value a few characters.
_FREE_HEADER_BYTES = 2 << 20
_FREE_VALUES = 100_000
_CHARACTERS_A_VALUE = 8

#: Of a container's metadata in the safetensors header.
METADATA_KEY = "sac_fast"
# The 64 digits of format 1: in the first entry of the JSON, whose quotes are escaped in the header.
_OLD_DIGITS = re.compile(rb'(?<=\\"file_hash\\":\\"sha256:)[0-9a-f]{64}(?=\\")')
_CHUNK_BYTES = 1 << 20
# Files up to this size are read before their hash is checked.
_READ_AT_ONCE = 64 << 20
_DTYPES = {row.safetensors: row.name for row in STORED_DTYPES if row.safetensors}

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
# From the begin and the end of a part of the data to its bytes.
_Read = Callable[[int, int], Iterable[bytes | memoryview]]


class _Header(NamedTuple):
    """A container's header: its bytes, the table of tensors, the JSON under the key ``sac_fast``, and its hash."""

    raw: bytes
    table: dict[str, Any]
    head: dict[str, Any]
    hash: str
    data_bytes: int


def save_container(
    path: StrPath,
    kind: str,
    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]],
    metadata: Mapping[str, Any],
) -> str:
    """Write arrays and JSON metadata as one sealed safetensors file, all or nothing.

    Args:
        path: where the file is written.
        kind: what the file holds (``"probes"``, ``"fingerprint"``); asked for again at load.
        arrays: name -> array of numbers, any strides.
        metadata: anything that JSON can hold, without NaN and Infinity.

    Returns:
        The hash over arrays, kind and metadata, ``"sha256:..."``.

    Raises:
        FileFormatError: the metadata exceed 2 MiB and a sixteenth of the data, or 100 MB, which safetensors reads.
        OSError: the folder does not exist or cannot be written to.
    """
    plain = {name: little_endian(array) for name, array in arrays.items()}
    # Through JSON and back: keys that are no texts become texts before they are hashed.
    head = {"format": FORMAT_VERSION, "kind": kind, "hash": "", "metadata": json.loads(_dump(dict(metadata)))}
    head["hash"] = _seal(head, content_hash(plain))
    text = _dump(head)
    blob = safetensors.numpy.save(plain, {METADATA_KEY: text})
    length = int.from_bytes(blob[:8], "little")
    longest = _longest_header(len(blob) - length)
    if length > longest:
        raise FileFormatError(f"metadata of {os.fspath(path)!r} must stay under {longest:,} bytes, got {len(text):,}")
    header = blob[8 : 8 + length]
    if not _is_canonical(header, json.loads(header), json.loads(text)):
        raise AssertionError("safetensors wrote the header in a form that cannot be sealed")
    with atomic_write(path) as handle:
        handle.write(blob)
    return str(head["hash"])


def load_container(path: StrPath, kind: str) -> tuple[Arrays, dict[str, Any]]:
    """Read a file of `save_container` after checking type, sizes, version, kind and hash, in this order.

    Args:
        path: the file.
        kind: what the file must hold.

    Returns:
        The arrays and the metadata.

    Raises:
        FileFormatError: anything about the file is not as it was written.
    """
    with open_regular(path) as handle:
        return read_container(handle, repr(os.fspath(path)), kind)


def read_container(handle: BinaryIO, name: str, kind: str) -> tuple[Arrays, dict[str, Any]]:
    """`load_container` of an open file that stands at its beginning; ``name`` is what messages call it."""
    size = file_size(handle)
    _check_size(handle, name, kind, size)
    header = _read_header(handle, name, kind, size)
    start = size - header.data_bytes
    if size > _READ_AT_ONCE:
        # Hashed in pieces before anything is read as a whole: a huge wrong file costs time, not memory.
        _check_hash(header, name, lambda begin, end: _pieces(handle, start + begin, end - begin))
    handle.seek(0)
    blob = memoryview(bytearray(size))
    # These very bytes are hashed, also after the hash above: somebody may write to the file in between.
    if _fill(handle, blob) != size or blob[:start] != len(header.raw).to_bytes(8, "little") + header.raw:
        raise FileFormatError(f"{name} must stay as it is while it is read, got another header or size")
    data = blob[start:]
    _check_hash(header, name, lambda begin, end: [data[begin:end]])
    with _numpy_dtypes(name):
        arrays = {key: _array(entry, data) for key, entry in header.table.items()}
    metadata: dict[str, Any] = header.head["metadata"]
    return arrays, metadata


def _check_size(handle: BinaryIO, name: str, kind: str, size: int) -> None:
    """Refuse a file that is too large for its kind, or mostly holes, before anything of it is read."""
    largest = _LARGE.get(kind, _MAX_BYTES)
    if size > largest:
        raise FileFormatError(
            f"{name} must be a {kind} file of at most {largest:,} bytes, got {size:,}", reason="too-large"
        )
    check_holes(name, handle)


def _fill(handle: BinaryIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends; returns the number of bytes."""
    done = 0
    while done < len(buffer) and (piece := handle.readinto(buffer[done:])):  # type: ignore[attr-defined]
        done += int(piece)
    return done


def _array(entry: Mapping[str, Any], data: memoryview) -> np.ndarray[Any, np.dtype[Any]]:
    """An array of the table; it shares the memory of the data where these are aligned for it."""
    begin, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
    array = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"])
    return array if array.flags.aligned else array.copy()


def _dump(value: object, ensure_ascii: bool = True) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=ensure_ascii)


def _seal(head: Mapping[str, Any], arrays_hash: str) -> str:
    """The hash over all that the file says, but for the hash itself."""
    return hash_json({**{key: value for key, value in head.items() if key != "hash"}, "arrays": arrays_hash})


@contextlib.contextmanager
def _numpy_dtypes(name: str) -> Iterator[None]:
    """Refuse the arrays of a file for whatever is wrong with them."""
    try:
        yield
    except (SafetensorError, ValueError, TypeError, LookupError) as error:
        raise FileFormatError(f"{name} must be a safetensors file of NumPy dtypes, got {error}") from error


def _is_canonical(raw: bytes, table: dict[str, Any], head: dict[str, Any]) -> bool:
    """Whether a header is written in the only form that is accepted, without duplicates and superfluous spaces."""
    text = _dump(table, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return raw == text.ljust((len(text) + 7) // 8 * 8) and table["__metadata__"] == {METADATA_KEY: _dump(head)}


def _pieces(handle: BinaryIO, start: int, count: int) -> Iterator[bytes]:
    handle.seek(start)
    while count > 0 and (piece := handle.read(min(count, _CHUNK_BYTES))):
        count -= len(piece)
        yield piece


def _check_hash(header: _Header, name: str, read: _Read) -> None:
    """Compare the hash that the header states with that of what the file holds."""
    if header.head["format"] == 1:
        digest = hashlib.sha256(len(header.raw).to_bytes(8, "little"))
        digest.update(_OLD_DIGITS.sub(b"0" * 64, header.raw, count=1))
        for piece in read(0, header.data_bytes):
            digest.update(piece)
        found = "sha256:" + digest.hexdigest()
    else:
        arrays = hash_entries(
            (key, _DTYPES[entry["dtype"]], tuple(entry["shape"]), read(*entry["data_offsets"]))
            for key, entry in header.table.items()
        )
        found = _seal(header.head, arrays)
    if found != header.hash:
        raise FileFormatError(f"{name} is damaged: it must have the hash {header.hash}, got {found}", reason="damaged")


def _read_header(handle: BinaryIO, name: str, kind: str, size: int) -> _Header:
    """Read the header once its claimed length is checked, and check sizes, version, kind and form as it states them."""
    if size < 10:
        raise FileFormatError(f"{name} must be a safetensors file of at least 10 bytes, got {size}")
    begin = handle.read(8)
    length = int.from_bytes(begin, "little")
    if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        begin += handle.read(8)
        if begin[8:9] != b"{":  # with which the JSON of every safetensors file begins
            wanted = f"{name} must be a {kind} file of sac_fast (safetensors with its metadata)"
            found = f"got a file of another format: {size:,} bytes that begin with {begin!r}"
            raise FileFormatError(f"{wanted}, {found}; `sac-fast show FILE` says what it is")
        sizes = f"its header claims {length:,} bytes, the file has {size:,}"
        raise FileFormatError(f"{name} must be a safetensors file: {sizes}")
    raw = _read_json(handle, name, length, size)
    wanted = f"{name} must be a sac_fast {kind} file"
    data_bytes = size - 8 - len(raw)
    try:
        table = json.loads(raw)
        head = json.loads(table["__metadata__"][METADATA_KEY])
        version, found = head["format"], head["kind"]
        if not isinstance(head["metadata"], dict):
            raise TypeError("metadata must be a JSON object")
        canonical = version == 1 or _is_canonical(raw, table, head)
        del table["__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        found = f"another or damaged header ({describe_error(error)})"
        raise FileFormatError(f"{wanted} (safetensors with sac_fast metadata), got {found}") from error
    if end != data_bytes:
        raise FileFormatError(f"{name} must hold {end:,} bytes of data as its header says, got {data_bytes:,}")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise FileFormatError(f"{name} must have a format version of at most {FORMAT_VERSION}, got {version!r}")
    if found != kind:
        raise FileFormatError(f"{name} must be a {kind} file, got kind {found!r}")
    expected = head.get("hash") if version > 1 else _old_hash(raw)
    if not is_hash(expected):
        raise FileFormatError(f"{wanted}, got one without a hash")
    if version > 1 and (not canonical or set(head) != {"format", "kind", "hash", "metadata"}):
        raise FileFormatError(f"{name} is damaged: its header must be as it was written", reason="damaged")
    _check_table(table, name)
    return _Header(raw, table, head, expected, data_bytes)


def _longest_header(data_bytes: int) -> int:
    return min(MAX_HEADER_BYTES, _FREE_HEADER_BYTES + data_bytes // 16)


def _read_json(handle: BinaryIO, name: str, length: int, size: int) -> bytes:
    """The header's bytes, if parsing them costs no more than they and the data are worth."""
    longest = _longest_header(size - length)
    if length > longest:
        raise FileFormatError(
            f"{name} must have a header of at most {longest:,} bytes, got {length:,}", reason="too-large"
        )
    raw = handle.read(length)
    values = sum(map(raw.count, (b",", b"[", b"{")))
    if values > _FREE_VALUES + length // _CHARACTERS_A_VALUE:
        raise FileFormatError(f"{name} must have a header with few values, got {values:,}", reason="expanded")
    return raw


def _old_hash(raw: bytes) -> str | None:
    """The hash that a header of format 1 states."""
    digits = _OLD_DIGITS.search(raw)
    return digits and f"sha256:{digits[0].decode()}"


def _check_table(table: dict[str, Any], name: str) -> None:
    """Refuse entries that cannot be hashed, and those that share bytes: all of them together hash the data once."""
    position = 0
    with _numpy_dtypes(name):
        for entry in sorted(table.values(), key=lambda entry: entry["data_offsets"]):
            begin, end = entry["data_offsets"]
            sizes = (begin, end, *entry["shape"])
            if begin != position or end < begin or not all(type(size) is int and size >= 0 for size in sizes):
                raise ValueError(f"{entry['shape']} at bytes {begin} to {end}")
            position = end
            _DTYPES[entry["dtype"]]
