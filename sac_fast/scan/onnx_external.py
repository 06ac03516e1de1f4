"""The external weight files of an ONNX file, or of an index, whose own stamp does not change when they do.

An index names them. In ONNX their names are searched in the file's bytes, without parsing an untrusted protobuf in
the process of the scan: an entry of ``TensorProto.external_data`` is the field 13 with a key, the text "location", and
a value.
Source: https://onnx.ai/onnx/repo-docs/ExternalData.html, onnx.proto, https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError
from ..formats.identify import open_model_file
from ..formats.limits import MAX_ONNX_BYTES, Limits
from ..formats.weights.sharded import INDEX, shards_of
from ..io.files import file_size
from ..io.hashing import canonical_json
from ..store.records import MAX_TEXT

_PIECE_BYTES = 1 << 20
_MAX_BYTES = 256 << 20  # read at once; the graphs of files with external weights are small
_LENGTH = rb"([\x00-\x7f]|[\x80-\xff][\x01-\x7f])"
_ENTRY = re.compile(rb"\x6a" + _LENGTH + rb"\x0a\x08location\x12" + _LENGTH, re.DOTALL)
# The text "location" as a field, for every encoding of its length of 8.
_KEY = re.compile(rb"[\x08\x00]location")


def external_files(
    path: Path, *, root: Path | None = None, limits: Limits | None = None, stopped: Callable[[], object] = bool
) -> tuple[str, ...] | None:
    """The names of external files in an ONNX file, or of the parts that an index names.

    Args:
        path: any file; one that would not be opened has none.
        root, limits: of `open_model_file`.
        stopped: whether to give up.

    Returns:
        The names, sorted; None: there may be some, but they cannot be determined.
    """
    if path.name.endswith(INDEX):
        return _plain(list(shards_of(path, limits or Limits())))
    try:
        with open_model_file(path, limits or Limits(), root=root) as handle:
            size = file_size(handle)
            if size > MAX_ONNX_BYTES or not _has_key(handle, size, stopped):
                return ()
            if size > _MAX_BYTES or path.is_symlink():
                return None
            handle.seek(0)
            data = handle.read(size)
    except FileFormatError:
        return ()
    except OSError:
        return None
    names: list[bytes] = []
    for found in _ENTRY.finditer(data):
        whole, length = (_number(text) for text in found.groups())
        if whole == found.end() - found.start(2) + 11 + length:  # 11: the key, and the tag of the value
            names.append(data[found.end() : found.end() + length])
    if len(names) != len(_KEY.findall(data)):
        return None  # an encoding that no exporter uses, or a tensor of this name
    try:
        return _plain(sorted(name.decode() for name in set(names)))
    except UnicodeDecodeError:
        return None


def _plain(names: list[str]) -> tuple[str, ...] | None:
    """The names, if a request can hold them and none leads out of the folder."""
    is_plain = sum(map(len, names)) <= MAX_TEXT and not any(n.startswith("/") or ".." in n.split("/") for n in names)
    return tuple(names) if is_plain else None


def with_external(request: str, path: Path, names: tuple[str, ...] | None) -> str | None:
    """A request for a file with external weights: the request, a hash of their present stamps, their names.

    Returns:
        The text for `ModelRecord.request`; None: unknown names, or too many.
    """
    if not names:
        return None if names is None else request
    stamps = hashlib.sha256(canonical_json([_stamp(path.parent, name) for name in names]).encode()).hexdigest()
    text = f"{request} {stamps} {canonical_json(list(names))}"
    return text if len(text) <= MAX_TEXT else None


def names_of(request: str | None) -> tuple[str, ...]:
    """The names that `with_external` wrote into a request; the request is untrusted."""
    parts = (request or "").split(" ", 2)
    try:
        return tuple(map(str, json.loads(parts[2])))
    except (IndexError, ValueError, TypeError, RecursionError):
        return ()


def _has_key(handle: BinaryIO, size: int, stopped: Callable[[], object]) -> bool:
    tail = b""
    while size > 0 and not stopped() and (piece := handle.read(min(size, _PIECE_BYTES))):
        if _KEY.search(tail + piece):
            return True
        tail = piece[-8:]
        size -= len(piece)
    return False


def _number(text: bytes) -> int:
    return text[0] if len(text) == 1 else (text[0] & 0x7F) + (text[1] << 7)


def _stamp(folder: Path, name: str) -> list[str | int] | None:
    try:
        found = os.lstat(folder / name)
    except (OSError, ValueError):  # ValueError: a NUL character
        return None
    return [name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, str(found.st_ino)]
