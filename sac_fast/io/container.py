"""The one file format of the house: a safetensors file whose metadata carry JSON and a seal.

The seal is the SHA-256 of the whole file with the seal's own 64 digits read as zeros. So a changed bit
anywhere, be it in the header, in the metadata or in the data, is found, whichever library wrote the bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..errors import FileFormatError

FORMAT_VERSION = 1
# safetensors itself refuses larger headers.
MAX_HEADER_BYTES = 100_000_000

_KEY = "sac_fast"
_NO_SEAL = "sha256:" + "0" * 64
# The seal is the first entry of the JSON, and safetensors writes the metadata first, hence quotes are
# escaped.
_SEAL = re.compile(rb'\\"file_hash\\":\\"sha256:([0-9a-f]{64})\\"')
_CHUNK = 1 << 20
# Files up to this size are read before their seal is checked.
_READ_AT_ONCE = 64 << 20
_LEFTOVER = re.compile(r"\.sac_fast-[0-9a-f]{16}\.tmp")

StrPath = str | os.PathLike[str]
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def package_version() -> str:
    """The installed version of sac_fast, or ``"unknown"`` when it runs from a source tree."""
    from importlib import metadata  # costs 10 ms, hence not at import time

    try:
        return metadata.version("sac-fast")
    except metadata.PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def atomic_write(path: StrPath) -> Iterator[BinaryIO]:
    """Write a file that is either there in full or not there at all.

    The bytes go to a temporary name in the same folder and are renamed to ``path`` once they are on the disk.
    After any exception, ``KeyboardInterrupt`` included, the temporary file is gone and an older ``path`` is
    as it was.

    Args:
        path: where the file shall be; its folder must exist.

    Yields:
        The temporary file, opened for writing bytes.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    target = Path(path)
    temporary = target.parent / f".sac_fast-{secrets.token_hex(8)}.tmp"
    # O_EXCL never follows a planted link; mode 0o666 leaves the permissions to the user's umask.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself reaches the disk with the folder; not every file system can be told so.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_leftover(path: Path) -> bool:
    """Whether this is a file that `atomic_write` leaves behind where the process was killed in the middle."""
    return _LEFTOVER.fullmatch(path.name) is not None and path.is_file()


def open_regular(path: StrPath) -> BinaryIO:
    """Open a regular file for reading; a directory, a pipe or a device is refused without waiting for it.

    Args:
        path: the file; a symbolic link is followed.

    Returns:
        The file, opened for reading bytes.

    Raises:
        FileFormatError: it does not exist, cannot be read, or is not a regular file.
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileFormatError(f"cannot read {os.fspath(path)!r}: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileFormatError(f"{os.fspath(path)!r} must be a regular file, got a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def sha256_stream(handle: BinaryIO) -> str:
    """``"sha256:..."`` of the rest of an open file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    while chunk := handle.read(_CHUNK):
        digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def canonical_json(value: object) -> str:
    """JSON that is the same for equal values: sorted keys, no spaces, ASCII, no NaN or Infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_entries(entries: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]]) -> str:
    """SHA-256 over named arrays: for each, by name, a JSON line ``[name, dtype, shape]`` and then its bytes.

    Args:
        entries: ``(name, dtype, shape, bytes)``; bytes in C order, little-endian.

    Returns:
        ``"sha256:..."``.
    """
    digest = hashlib.sha256()
    for name, dtype, shape, data in sorted(entries, key=lambda entry: entry[0]):
        # The line fixes how many bytes follow it, so no two sets of arrays give the same stream.
        digest.update(canonical_json([name, dtype, list(shape)]).encode() + b"\n")
        digest.update(data)
    return "sha256:" + digest.hexdigest()


def content_hash(arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> str:
    """SHA-256 over the arrays' names, dtypes, shapes and bytes (see `hash_entries`); independent of any file.

    Args:
        arrays: any NumPy arrays of numbers.

    Returns:
        ``"sha256:..."``.
    """
    return hash_entries(
        (name, array.dtype.name, array.shape, _plain(array).reshape(-1).view(np.uint8).data)
        for name, array in arrays.items()
    )


def save_container(
    path: StrPath,
    kind: str,
    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]],
    metadata: Mapping[str, Any],
) -> str:
    """Write arrays and JSON metadata as one sealed safetensors file, all or nothing.

    Args:
        path: where the file shall be.
        kind: what the file holds (``"probes"``, ``"fingerprint"``); asked for again at load.
        arrays: name -> array of numbers, any strides.
        metadata: anything that JSON can hold, without NaN and Infinity.

    Returns:
        The seal, ``"sha256:..."``: the hash of the file's bytes with the seal's own digits as zeros.

    Raises:
        FileFormatError: the metadata exceed 100 MB, the largest header safetensors reads.
        OSError: the folder does not exist or cannot be written to.
    """
    # The seal comes first, so that whatever else the metadata hold it is the first match of _SEAL.
    head = {"file_hash": _NO_SEAL, "format": FORMAT_VERSION, "kind": kind, "metadata": dict(metadata)}
    text = json.dumps(head, separators=(",", ":"), allow_nan=False)
    blob = safetensors.numpy.save({name: _plain(array) for name, array in arrays.items()}, {_KEY: text})
    if int.from_bytes(blob[:8], "little") > MAX_HEADER_BYTES:
        raise FileFormatError(f"metadata of {os.fspath(path)!r} must stay under 100 MB, got {len(text):,} bytes")
    match = _SEAL.search(blob)
    if match is None:
        raise AssertionError("safetensors wrote the metadata in a form that cannot be sealed")
    seal = hashlib.sha256(blob).hexdigest()
    with atomic_write(path) as handle:
        handle.write(memoryview(blob)[: match.start(1)])
        handle.write(seal.encode())
        handle.write(memoryview(blob)[match.end(1) :])
    return "sha256:" + seal


def load_container(path: StrPath, kind: str) -> tuple[Arrays, dict[str, Any]]:
    """Read a file of `save_container` after checking type, sizes, version, kind and seal, in this order.

    Args:
        path: the file.
        kind: what the file must hold.

    Returns:
        The arrays and the metadata.

    Raises:
        FileFormatError: anything about the file is not as it was written.
    """
    name = repr(os.fspath(path))
    with open_regular(path) as handle:
        header = _read_header(handle, name)
        match = _SEAL.search(header)
        head = _parse_head(header, name, kind, os.fstat(handle.fileno()).st_size - 8 - len(header))
        if match is None:
            raise FileFormatError(f"{name} must be a sac_fast {kind} file, got one without a seal")
        size = os.fstat(handle.fileno()).st_size
        if size > _READ_AT_ONCE:
            # Hashed in pieces before anything is read as a whole: a huge wrong file costs time, not memory.
            handle.seek(8 + len(header))
            _check_seal(name, header, match, iter(lambda: handle.read(_CHUNK), b""))
        handle.seek(0)
        blob = handle.read(size)
        # These very bytes are hashed, also after the hash above: somebody may write to the file in between.
        if blob[: 8 + len(header)] != len(header).to_bytes(8, "little") + header:
            raise FileFormatError(f"{name} must stay as it is while it is read, got another header")
        _check_seal(name, header, match, [memoryview(blob)[8 + len(header) :]])
        try:
            arrays = safetensors.numpy.load(blob)
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise FileFormatError(f"{name} must be a safetensors file of NumPy dtypes, got {error}") from error
    return arrays, head


def _check_seal(name: str, header: bytes, match: re.Match[bytes], data: Iterable[bytes | memoryview]) -> None:
    """Compare the seal in the header with the hash of the header and of the data after it."""
    digest = hashlib.sha256(len(header).to_bytes(8, "little") + header[: match.start(1)] + b"0" * 64)
    digest.update(header[match.end(1) :])
    for piece in data:
        digest.update(piece)
    if digest.hexdigest().encode() != match.group(1):
        raise FileFormatError(
            f"{name} is damaged: its bytes must have the hash sha256:{match.group(1).decode()}, "
            f"got sha256:{digest.hexdigest()}"
        )


def _plain(array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in C order and little-endian, without a copy where it is so already."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _read_header(handle: BinaryIO, name: str) -> bytes:
    """The JSON header's bytes; its claimed length is checked against the file's size first."""
    size = os.fstat(handle.fileno()).st_size
    if size < 10:
        raise FileFormatError(f"{name} must be a safetensors file of at least 10 bytes, got {size}")
    length = int.from_bytes(handle.read(8), "little")
    if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise FileFormatError(
            f"{name} must be a safetensors file: its header claims {length:,} bytes, the file has {size:,}"
        )
    return handle.read(length)


def _parse_head(header: bytes, name: str, kind: str, data_bytes: int) -> dict[str, Any]:
    """Check sizes, version and kind as the header states them; returns the metadata."""
    try:
        table = json.loads(header)
        head = json.loads(table.pop("__metadata__")[_KEY])
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
        version, found, metadata = head["format"], head["kind"], head["metadata"]
        if not isinstance(metadata, dict):
            raise TypeError("metadata must be a JSON object")
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise FileFormatError(
            f"{name} must be a sac_fast {kind} file (safetensors with sac_fast metadata), got another or "
            f"damaged header ({type(error).__name__}: {error})"
        ) from error
    if end != data_bytes:
        raise FileFormatError(f"{name} must hold {end:,} bytes of data as its header says, got {data_bytes:,}")
    if version != FORMAT_VERSION:
        raise FileFormatError(f"{name} must have format version {FORMAT_VERSION}, got {version!r}")
    if found != kind:
        raise FileFormatError(f"{name} must be a {kind} file, got kind {found!r}")
    return metadata
