"""Memory for the bytes of a store's files, which nobody can take away.

A file that is mapped ends the process by SIGBUS when somebody shortens it meanwhile. So files are read, at first into
plain memory, and beyond a share of the machine's memory into files without a name, whose pages the system may write
out: no other process can open those.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref

import numpy as np
from numpy.typing import NDArray

_PLAIN_SHARE = 0.25  # of the machine's memory
_LINE = 64  # bytes of a cache line, on whose boundary memory begins, as kernels want it


class _HeldBytes:
    """Plain memory, as long as there is little of it."""

    def __init__(self) -> None:
        self._left = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _PLAIN_SHARE)
        self._lock = threading.Lock()

    def take(self, size: int) -> NDArray[np.uint8] | None:
        with self._lock:
            if size > self._left:
                return None
            self._left -= size
        taken = np.empty(size + _LINE, np.uint8)
        weakref.finalize(taken, self._give_back, size)  # once nothing shares it any more
        start = -taken.ctypes.data % _LINE
        return taken[start : start + size]

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


held = _HeldBytes()


def read_whole(descriptor: int, size: int, folder: int | None = None) -> NDArray[np.uint8]:
    """The first bytes of an open file, in memory of our own.

    Args:
        descriptor: of the file.
        size: number of bytes, at least 1.
        folder: descriptor of the folder on whose disk a file without a name is made where memory is short; None: that
            of the system's temporary files.

    Returns:
        (size,) bytes, on the boundary of a cache line.

    Raises:
        ValueError: the file has become shorter.
        OSError: it cannot be read.
    """
    found = held.take(size)
    if found is None:
        found = _unnamed(size, folder)
    read_into(found.data, descriptor, 0)
    return found


def read_into(buffer: memoryview, descriptor: int, offset: int) -> None:
    """Fill a buffer with a file's bytes from an offset.

    Raises:
        ValueError: the file is too short.
        OSError: it cannot be read.
    """
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if not count:
            raise ValueError(f"it must have {offset + len(buffer):,} bytes, got {offset + done:,}")
        done += count


def _unnamed(size: int, folder: int | None) -> NDArray[np.uint8]:
    """Memory whose pages can be written to a file without a name; plain memory where no such file can be made."""
    import torch  # commands that read little start without it

    try:
        descriptor = _unnamed_file(folder)
        try:
            os.posix_fallocate(descriptor, 0, size)  # a disk that fills up later would end the process too
            # Not mmap.mmap, which keeps a descriptor open for each file: a process has about a thousand of them.
            mapped = torch.from_file(f"/dev/fd/{descriptor}", shared=True, size=size, dtype=torch.uint8)
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError):  # Linux allows 65,530 mappings per process
        plain = np.empty(size + _LINE, np.uint8)
        start = -plain.ctypes.data % _LINE
        return plain[start : start + size]
    found: NDArray[np.uint8] = mapped.numpy()
    return found


def _unnamed_file(folder: int | None) -> int:
    try:
        if folder is None:
            raise FileNotFoundError
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:  # a store that is read only, or a file system that has no such files
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        return descriptor
