"""Writes that are on the disk when the call returns, and folders by descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

# Errors of opening a link, a socket or a device; every other error may be temporary.
NOT_REGULAR = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV)


@contextlib.contextmanager
def open_folder(name: str, inside: int) -> Iterator[int]:
    """A descriptor of a folder in a folder, closed at the end; no link is followed."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def open_regular_in(folder: int, name: str, flags: int, *, shown: str = "") -> Iterator[int]:
    """A descriptor of a regular file in a folder, closed at the end; no link is followed, no pipe waited for.

    Args:
        folder: descriptor of the folder.
        name: of the file, without folders.
        flags: of `os.open`.
        shown: name in the message; empty: `name`.

    Raises:
        ValueError: no regular file.
        OSError: it cannot be opened.
    """
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{shown or name} must be a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def write_new(name: str, data: bytes | memoryview, *, folder: int) -> None:
    """Write and fsync a file that must not exist yet; after an error it is gone.

    Args:
        name: of the file, without folders.
        data: its content.
        folder: descriptor of its folder.

    Raises:
        OSError: the disk is full or fails, or the file exists.
    """
    # O_EXCL never follows a planted link; mode 0o666 leaves the permissions to the user's umask.
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        # After a failed fsync the content on the disk is unknown, and a second fsync may report success.
        os.unlink(name, dir_fd=folder)
        raise


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of the bytes where the file stands."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
