"""Files that are written in full or not at all, and opened only where they are regular files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError

StrPath = str | os.PathLike[str]

#: A store's database, by which every room tells a folder that is a store: its name, and what its header says.
STORE_DATABASE = "zoo.sqlite"
STORE_APPLICATION_ID = 0x5341435A  # "SACZ"
#: What the header of a store's file of outputs says that it is.
STORE_OUTPUTS = "zoo outputs"
#: Begins each record of a store's segment of outputs: one of the words, length and SHA-256 of the file that follows.
STORE_RECORD = struct.Struct("<8sQ32s")
STORE_WORDS = (b"outputs\n", b"removed\n")
#: What the index of a labelled zoo, zoo.json, says that it is.
LABELLED_ZOO = "sac_fast labelled zoo"
#: Longest path, in characters, that a system opens.
MAX_PATH = 4096

#: Bytes of holes that a file may have beyond as many as it stores.
FREE_HOLES = 1 << 20
# Between holes of one file; more are not counted.
_MAX_EXTENTS = 1 << 16
_LEFTOVER = re.compile(r"\.sac_fast-[0-9a-f]{16}\.tmp")
# Sockets and devices without a driver cannot even be opened.
_REASONS = {
    errno.ELOOP: "symlink-loop",
    errno.ENAMETOOLONG: "path-too-long",
    **dict.fromkeys((errno.ENXIO, errno.ENODEV), "not-a-regular-file"),
}


@contextlib.contextmanager
def atomic_write(path: StrPath) -> Iterator[BinaryIO]:
    """Write a file that is either there in full or not there at all.

    The bytes go to a temporary name in the same folder and are renamed to ``path`` once they are on the disk.
    After any exception, ``KeyboardInterrupt`` included, the temporary file is gone and an older ``path`` is
    as it was.

    Args:
        path: where the file is written; its folder must exist.

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
    # The rename itself reaches the disk with the folder; not every file system supports that.
    with contextlib.suppress(OSError):
        sync_folder(target.parent)


def sync_folder(folder: Path | int) -> None:
    """Make renames and new names in a folder durable.

    Args:
        folder: its path or a descriptor of it.

    Raises:
        OSError: the disk fails.
    """
    if isinstance(folder, int):
        os.fsync(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        FileFormatError: it does not exist, cannot be read, or is not a regular file; its ``reason`` is
            ``"missing"``, ``"symlink-loop"``, ``"path-too-long"`` or ``"not-a-regular-file"``.
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would otherwise block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        message = f"{os.fspath(path)!r} must be a regular file, got a folder, a pipe or a device"
        raise FileFormatError(message, reason="not-a-regular-file")
    return os.fdopen(descriptor, "rb")


def file_size(handle: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(handle.fileno()).st_size


def stored_bytes(handle: BinaryIO) -> int:
    """Bytes of an open file that lie on a disk: its size without its holes.

    A file of terabytes can take no place at all. Where the file system does not tell, the whole size counts.
    """
    size = file_size(handle)
    if os.fstat(handle.fileno()).st_blocks * 512 >= size:
        return size
    # What was written a moment ago may have no blocks yet, and what is compressed has few: neither has holes.
    stored = position = 0
    before = os.lseek(handle.fileno(), 0, os.SEEK_CUR)
    with contextlib.suppress(OSError):  # no data after this position, or a file system without holes
        for _ in range(_MAX_EXTENTS):
            start = os.lseek(handle.fileno(), position, os.SEEK_DATA)
            position = os.lseek(handle.fileno(), start, os.SEEK_HOLE)
            stored += position - start
    os.lseek(handle.fileno(), before, os.SEEK_SET)
    return stored


@dataclass
class Holes:
    """Holes of one file, or of several that are read together: no more than they store, and 1 MiB.

    Holes take no place on a disk, and cost whoever reads them as much as bytes do.

    Attributes:
        most: bytes of holes that all files may have together; None: any number that the rule allows.
        holes, stored: bytes of the files until now that lie on no disk, and on one.
    """

    most: int | None = None
    holes: int = 0
    stored: int = 0

    def add(self, name: str, handle: BinaryIO) -> None:
        """Count an open file, unless it is refused; ``name`` is what messages call it.

        Raises:
            FileFormatError: it has too many holes, with those before it; its ``reason`` is ``"expanded"``.
        """
        size, stored = file_size(handle), stored_bytes(handle)
        holes, allowed = self.holes + size - stored, self.stored + stored + FREE_HOLES
        if holes > (allowed if self.most is None else min(allowed, self.most)):
            others = f", after others with {self.holes:,} bytes of holes" if self.holes else ""
            found = f"{stored:,} bytes of {size:,}{others}"
            raise FileFormatError(f"{name} must lie on the disk, got {found}", reason="expanded")
        self.holes, self.stored = holes, self.stored + stored


def check_holes(name: str, handle: BinaryIO) -> None:
    """Refuse a file by the rule of `Holes`."""
    Holes().add(name, handle)


def read_regular(path: StrPath, max_bytes: int, what: str = "") -> bytes:
    """The bytes of a regular file, see `open_regular`.

    Args:
        path: the file.
        max_bytes: a larger file is refused, without being read in full.
        what: why, for the message: ``"as a …"``.

    Raises:
        FileFormatError: as `open_regular`, a larger file, or one of `Holes`.
    """
    with open_regular(path) as handle:
        size, content = file_size(handle), b""
        if size <= max_bytes:
            check_holes(repr(os.fspath(path)), handle)
            # No more than the file has: read() allocates what it is asked for at once.
            content = handle.read(size + 1)
    if max(size, len(content)) > max_bytes:
        limit = f"{max_bytes:,} bytes, {what}" if what else f"{max_bytes:,} bytes"
        raise FileFormatError(f"{os.fspath(path)!r} must have at most {limit}, got more")
    return content


def blobs_of(root: StrPath) -> Path | None:
    """``X/blobs`` of a folder ``X/snapshots/REVISION``, where a model hub keeps its files; None of any other."""
    real = Path(os.path.realpath(root))
    return real.parent.parent / "blobs" if real.parent.name == "snapshots" else None


def is_inside(found: str, root: StrPath) -> bool:
    """Whether a path without links lies in a folder, or in its `blobs_of`.

    Args:
        found: the path, as `os.path.realpath` gives it.
        root: the folder.
    """
    return Path(found).is_relative_to(os.path.realpath(root)) or Path(found).parent == blobs_of(root)


def leads_into(path: StrPath, folder: StrPath) -> bool:
    """Whether a path lies in a folder, all links followed; one that is too long to be opened does not.

    `Path.resolve` ends by RuntimeError where a link leads to itself; here such a path stays as it is.
    """
    # realpath takes as many steps as the square of the length
    return len(os.fspath(path)) <= MAX_PATH and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def path_of(descriptor: int, path: StrPath) -> str:
    """Where an open file lies; "" where that is not known."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    # Without /proc: where the path leads to now, if that is the file that is open.
    with contextlib.suppress(OSError):
        found = os.path.realpath(path, strict=True)
        if os.path.samestat(os.stat(found), os.fstat(descriptor)):
            return found
    return ""


def is_store(folder: StrPath) -> bool:
    """Whether a folder has a store's database, by its header: a file of that name alone makes no store."""
    try:
        with open_regular(os.path.join(folder, STORE_DATABASE)) as handle:
            head = handle.read(72)
    except FileFormatError:
        return False
    return head.startswith(b"SQLite format 3\0") and head[68:] == STORE_APPLICATION_ID.to_bytes(4, "big")


def cannot_read(path: StrPath, error: OSError | ValueError) -> FileFormatError:
    """The error for a path that cannot be opened; a ValueError says that its name holds a NUL character."""
    code, cause = (error.errno or 0, error.strerror) if isinstance(error, OSError) else (0, error)
    return FileFormatError(f"cannot read {os.fspath(path)!r}: {cause}", reason=_REASONS.get(code, "missing"))
