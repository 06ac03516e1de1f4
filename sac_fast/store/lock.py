"""One writer per store: an flock on a file that holds the writer's process id."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
import weakref
from pathlib import Path

from ..errors import StoreError, StoreLockedError

NAME = "writer.lock"
_PID_BYTES = 20  # padded, with a line end

_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


class WriterLock:
    """A lock that is held from construction to `release`, or to the end of the process.

    Args:
        folder: the store.

    Raises:
        StoreLockedError: another writer holds it.
        StoreError: the file cannot be created or is no regular file.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(folder / NAME, flags, 0o666)
        except OSError as error:
            raise StoreError(f"cannot write to the store {str(folder)!r}: {NAME}: {error.strerror}") from error
        try:
            _check_own(descriptor)
            _lock(descriptor)
        except OSError as error:
            is_held = isinstance(error, BlockingIOError)  # else it may be a pipe, which cannot be read at a place
            pid = _pid(os.pread(descriptor, _PID_BYTES, 0)) if is_held else None
            os.close(descriptor)
            if not is_held:
                raise StoreError(f"cannot lock the store {str(folder)!r}: {error.strerror}") from error
            who = "another process" if pid is None else f"process {pid}"
            raise StoreLockedError(
                f"the store {str(folder)!r} must have one writer, got a second one: {who} writes to it; "
                "wait until it ends, or stop it",
                pid,
            ) from None
        # The id is for people only. It has a fixed length, since growing the file could fail on a full disk.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, f"{os.getpid():<19}\n".encode(), 0)
        self._descriptor = descriptor
        _held.add(self)

    def fileno(self) -> int:
        """The locked file's descriptor."""
        return self._descriptor

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def writer_of(folder: Path) -> int | None:
    """The id of the process that writes to a store now; 0 where it is not known, None without a writer.

    Args:
        folder: the store.
    """
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(os.pread(descriptor, _PID_BYTES, 0)) or 0
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _check_own(descriptor: int) -> None:
    """Refuse a file that has another name too, or holds something else: the writer's id would be written into it."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > _PID_BYTES:
        raise OSError(errno.EEXIST, "must be a file of its own with an id in it, got another file or a link to one")


def _lock(descriptor: int) -> None:
    for _ in range(2):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)  # `writer_of` holds the lock for microseconds
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _pid(text: bytes) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isdigit() else None


def _release_in_child() -> None:
    """A forked child would hold the lock after the parent's death; closing its copy does not unlock the parent's."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
