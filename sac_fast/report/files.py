"""The files of a report and their SHA-256, in the form of `sha256sum`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import FileFormatError, require
from ..io.files import atomic_write, file_size, open_regular
from ..io.hashing import sha256_stream

REPORT_FILE, PAGE_FILE, PDF_FILE = "report.json", "report.html", "report.pdf"
SUMS_FILE, SIGNATURE_FILE = "SHA256SUMS", "report.dsse.json"
MAX_SUMS_BYTES = 64 << 20
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\\]+)")


def sha256_file(path: Path) -> str:
    """``"sha256:…"`` of a regular file, as `sha256sum` counts it."""
    with open_regular(path) as handle:
        return sha256_stream(handle)


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of an untrusted file.

    Raises:
        FileFormatError: it is missing, no regular file, or larger than the limit.
    """
    with open_regular(path) as handle:
        size = file_size(handle)
        require(size <= limit, f"{str(path)!r} must have at most {limit} bytes", size, FileFormatError)
        return handle.read(limit + 1)


def write_sums(folder: Path, files: Iterable[Path]) -> Path:
    """Write SHA256SUMS, which `sha256sum -c SHA256SUMS` reads."""
    lines = {file.relative_to(folder).as_posix(): sha256_file(file) for file in files}
    path = folder / SUMS_FILE
    with atomic_write(path) as handle:
        handle.write("".join(f"{lines[name].removeprefix('sha256:')}  {name}\n" for name in sorted(lines)).encode())
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """Hashes by file name from an untrusted SHA256SUMS.

    Raises:
        FileFormatError: missing, too large, or not in the form of `write_sums`.
    """
    path = folder / SUMS_FILE
    raw = read_bytes(path, MAX_SUMS_BYTES)
    found: dict[str, str] = {}
    for line in raw.decode("utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise FileFormatError(f"lines of {str(path)!r} must be a hash, two spaces and a name, got {line!r}")
        found[match[2]] = "sha256:" + match[1]
    text = "".join(f"{found[name].removeprefix('sha256:')}  {name}\n" for name in sorted(found))
    require(text.encode() == raw, f"{str(path)!r} must name each file once, in order", "another order", FileFormatError)
    return found
