"""The directory of a zip archive, checked before any library trusts it.

What is checked: the archive ends with its directory; every entry lies inside the file, before the directory, and over
no other entry (the overlapping entries of a zip bomb); nothing is encrypted; local and central headers agree.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from ..io.files import file_size
from . import magic
from .limits import Limits, refuse

STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ALL_16, _ALL_32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _STREAMED = 1, 8


@dataclass(frozen=True)
class ZipEntry:
    """One file of the archive: its bytes are ``data_start`` to ``data_start + stored`` of the archive."""

    name: str
    method: int
    stored: int
    size: int
    data_start: int


def looks_like_zip(head: bytes) -> bool:
    """Whether the first bytes are those of an archive, or of an empty one."""
    return head[:4] in (magic.ZIP_LOCAL, magic.ZIP_END)


def read_entries(handle: BinaryIO, name: str, limits: Limits) -> dict[str, ZipEntry]:
    """Read and check the directory; no entry's content is read.

    Args:
        handle: the archive.
        name: what messages call it.
        limits: on the number of entries and the directory's size.

    Returns:
        The entries by name, in the directory's order.

    Raises:
        ModelRefusedError: anything that contradicts the format or exceeds a limit.
    """
    count, directory_bytes, directory_start = _read_end(handle, name)
    limits.check_header(name, directory_bytes, "an archive directory")
    limits.check_count(name, count, "archive entries")
    handle.seek(directory_start)
    directory = handle.read(directory_bytes)
    entries: dict[str, ZipEntry] = {}
    spans: list[tuple[int, int]] = []
    position = 0
    for _ in range(count):
        if len(directory) - position < _CENTRAL.size:
            _wrong(name, "a directory with fewer entries than it says", "truncated")
        fields = _CENTRAL.unpack_from(directory, position)
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        start = position + _CENTRAL.size
        position = start + name_bytes + extra_bytes + comment_bytes
        if fields[0] != magic.ZIP_CENTRAL or position > len(directory):
            _wrong(name, "a damaged directory")
        raw_name = directory[start : start + name_bytes]
        extra = directory[start + name_bytes : start + name_bytes + extra_bytes]
        flags, method = fields[3:5]
        stored, inflated, offset = _sizes_64(extra, fields[8], fields[9], fields[16], name)
        if flags & _ENCRYPTED or method not in (STORED, DEFLATED):
            _wrong(name, f"an entry that is encrypted or compressed by method {method}", "compressed")
        if method == STORED and stored != inflated:
            _wrong(name, "a stored entry of two sizes")
        text = raw_name.decode("utf-8", "replace")
        if "\0" in text:  # where readers in C end a name
            _wrong(name, f"the entry {text!r} with NUL in its name")
        data_start = _check_local(handle, name, offset, raw_name, (flags, method, stored, inflated))
        if data_start + stored > directory_start:
            _wrong(name, f"the entry {text!r} outside of the archive", "truncated")
        if text in entries:
            _wrong(name, f"the entry {text!r} twice", "duplicate-keys")
        entries[text] = ZipEntry(text, method, stored, inflated, data_start)
        spans.append((offset, data_start + stored))
    if position != len(directory):
        _wrong(name, "a directory with more entries than it says")
    spans.sort()
    if any(stop > start for (_, stop), (start, _) in itertools.pairwise(spans)):
        _wrong(name, "entries that overlap", "overlap")
    return entries


def _read_end(handle: BinaryIO, name: str) -> tuple[int, int, int]:
    """Number of entries, bytes and position of the directory."""
    position = file_size(handle) - _END.size
    if position < 0:
        _wrong(name, "the beginning of one", "truncated")
    handle.seek(position)
    end = _END.unpack(handle.read(_END.size))
    # Neither torch.save nor NumPy writes a comment; without one there is exactly one place for the end.
    if end[0] != magic.ZIP_END or end[7] != 0:
        _wrong(name, "no directory at its end", "truncated")
    found = end[4:7]
    if position >= _LOCATOR.size:
        handle.seek(position - _LOCATOR.size)
        locator = _LOCATOR.unpack(handle.read(_LOCATOR.size))
        if locator[0] == magic.ZIP_LOCATOR_64:
            position -= _LOCATOR.size + _END_64.size
            if position < 0 or locator[2] != position:
                _wrong(name, "a directory's end that is not where it says")
            handle.seek(position)
            end_64 = _END_64.unpack(handle.read(_END_64.size))
            if end_64[0] != magic.ZIP_END_64 or end_64[1] != _END_64.size - 12:
                _wrong(name, "a damaged end of the directory")
            found = end_64[7:10]
            unset = (_ALL_16, _ALL_32, _ALL_32)
            if any(old not in (new, none) for old, new, none in zip(end[4:7], found, unset, strict=True)):
                _wrong(name, "two ends of the directory that differ")
    count, directory_bytes, directory_start = found
    if directory_start + directory_bytes != position:
        _wrong(name, "a directory that is not before its end")
    return count, directory_bytes, directory_start


def _sizes_64(extra: bytes, stored: int, inflated: int, offset: int, name: str) -> tuple[int, int, int]:
    """Sizes and offset, from the zip64 field where the 32-bit ones say so."""
    values = [inflated, stored, offset]
    wide = [index for index, value in enumerate(values) if value == _ALL_32]
    position = 0
    while len(extra) - position >= 4:
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind == 1 and wide:
            if len(body) < 8 * len(wide):
                _wrong(name, "a damaged zip64 field")
            for index, value in zip(wide, struct.unpack_from(f"<{len(wide)}Q", body), strict=True):
                values[index] = value
            break
    return values[1], values[0], values[2]


def _check_local(handle: BinaryIO, name: str, offset: int, raw_name: bytes, expected: tuple[int, int, int, int]) -> int:
    """Compare the local header with the central one; returns where the entry's data begin."""
    handle.seek(offset)
    raw = handle.read(_LOCAL.size + len(raw_name))
    if len(raw) < _LOCAL.size + len(raw_name):
        _wrong(name, "an entry outside of the archive", "truncated")
    fields = _LOCAL.unpack_from(raw)
    flags, method, stored, inflated = expected
    if fields[0] != magic.ZIP_LOCAL or fields[9] != len(raw_name) or raw[_LOCAL.size :] != raw_name:
        _wrong(name, "an entry with two names")
    # Sizes may follow the data (flag 8) or be in the zip64 field; where they stand here, they must agree.
    for local, central in ((fields[7], stored), (fields[8], inflated)):
        if local not in (central, _ALL_32) and not (flags & _STREAMED and local == 0):
            _wrong(name, "an entry of two sizes")
    if fields[3] != method:
        _wrong(name, "an entry of two methods")
    return int(offset + _LOCAL.size + fields[9] + fields[10])


def _wrong(name: str, what: str, reason: str = "malformed") -> NoReturn:
    refuse(reason, f"{name} must be a sound zip archive, got {what}")
