"""The files of a report: JSON in one spelling, and their SHA-256 in the form of `sha256sum`."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, require
from ..formats.json_text import parse_json
from ..formats.limits import MAX_JSON_BYTES
from ..io.files import atomic_write, read_regular
from ..io.hashing import sha256_file
from ..io.schema import check_depth

REPORT_FILE, PAGE_FILE, PDF_FILE = "report.json", "report.html", "report.pdf"
SUMS_FILE, SIGNATURE_FILE = "SHA256SUMS", "report.dsse.json"
MAX_SUMS_BYTES = 16 << 20
_ENCODER = json.JSONEncoder(indent=1, allow_nan=False)
_MIN_LINE = 68  # bytes: a hash, two spaces, a name, an end
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\\]+)")


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON in the one form that `read_json` reads."""
    with atomic_write(path) as handle:
        handle.write(to_text(content).encode())
    return path


def to_text(content: Mapping[str, Any]) -> str:
    """JSON as it stands in files of a case."""
    return _ENCODER.encode(content) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from an untrusted file.

    Raises:
        FileFormatError: missing, too large, not as `write_json` writes it, or no object.
    """
    raw = read_regular(path, MAX_JSON_BYTES, "as JSON of a report")
    try:
        content = parse_json(raw, repr(str(path)))
        # an indent for each value: deep ones are written as thousands of times their bytes
        check_depth(content, "values")
        # so that no changed byte goes unseen, not even a space
        require(_is_text_of(content, raw), "the bytes must be as sac_fast writes them", "others")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{str(path)!r} must be JSON of sac_fast, got {error}") from error
    return dict(content)


def _is_text_of(content: Mapping[str, Any], raw: bytes) -> bool:
    """Whether bytes are `to_text` of a value, compared without making all of it."""
    place, view = 0, memoryview(raw)
    for piece in itertools.chain(_ENCODER.iterencode(content), "\n"):
        part = piece.encode()
        if view[place : place + len(part)] != part:
            return False
        place += len(part)
    return place == len(raw)


def write_sums(folder: Path, files: Iterable[Path]) -> Path:
    """Write SHA256SUMS, which `sha256sum -c SHA256SUMS` reads."""
    path = folder / SUMS_FILE
    with atomic_write(path) as handle:
        handle.write(_lines({file.relative_to(folder).as_posix(): sha256_file(file) for file in files}))
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """Hashes by file name from an untrusted SHA256SUMS.

    Raises:
        FileFormatError: missing, too large, or not in the form of `write_sums`.
    """
    path = folder / SUMS_FILE
    raw = read_regular(path, MAX_SUMS_BYTES, "as hashes of a report")
    found: dict[str, str] = {}
    most = len(raw) // _MIN_LINE + 1  # so that empty lines are no list of millions
    for line in raw.decode("utf-8", errors="replace").split("\n", most)[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise FileFormatError(f"lines of {str(path)!r} must be a hash, two spaces and a name, got {line[:200]!r}")
        found[match[2]] = "sha256:" + match[1]
    require(_lines(found) == raw, f"{str(path)!r} must name each file once, in order", "another form", FileFormatError)
    return found


def _lines(hashes: Mapping[str, str]) -> bytes:
    return "".join(f"{hashes[name].removeprefix('sha256:')}  {name}\n" for name in sorted(hashes)).encode()
