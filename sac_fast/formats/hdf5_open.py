"""Opens HDF5 files of others: what their first block may ask of the library is checked before the library reads it.

Source: the superblock in https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from .limits import refuse, refuse_errors
from .magic import HDF5

if TYPE_CHECKING:
    import h5py

_MIN_START = 512  # of a superblock that comes after other bytes; it may also be at twice that, and so on
# After the signature: versions and sizes, 16 bytes, in version 1 four more; then four addresses.
_FIXED = {0: 24, 1: 28}


def find_superblock(handle: BinaryIO | io.RawIOBase) -> int | None:
    """Where an HDF5 file begins in a file; None: nowhere."""
    size, place = handle.seek(0, io.SEEK_END), 0
    while place < size:
        handle.seek(place)
        if handle.read(len(HDF5)) == HDF5:
            return place
        place = max(_MIN_START, 2 * place)
    return None


def open_hdf5(handle: BinaryIO | io.RawIOBase, name: str) -> h5py.File:
    """Open an HDF5 file to be read.

    Args:
        handle: the open file, or a part of one; it is left at an undefined place.
        name: what messages call it.

    Raises:
        ModelRefusedError: a file that is not sound, or one that says how a driver of several files reads it: the
            library takes as much memory as that block claims to have.
    """
    import h5py  # slow, and `identify` asks this module of every file

    _check_superblock(handle, name)
    with refuse_errors(f"{name} must be a sound HDF5 file"):
        if isinstance(handle, io.RawIOBase) and not isinstance(handle, io.FileIO):
            return h5py.File(handle, "r")
        # The same open file by another name, so that it is not another one by now.
        return h5py.File(f"/proc/self/fd/{handle.fileno()}", "r", locking=False)


def _check_superblock(handle: BinaryIO | io.RawIOBase, name: str) -> None:
    start = find_superblock(handle)
    if start is None:
        refuse("malformed", f"{name} must be a sound HDF5 file, got no signature of one")
    handle.seek(start)
    head = handle.read(256) or b""
    # Later versions have a checksum and no such block.
    if len(head) <= 14 or head[8] not in _FIXED:
        return
    width = head[13]  # bytes of an address: base, free space, end of the file, driver
    addresses = head[_FIXED[head[8]] :]
    free, driver = addresses[width : 2 * width], addresses[3 * width : 4 * width]
    undefined = b"\xff" * width
    if (free, driver) != (undefined, undefined):
        refuse("malformed", f"{name} must be one HDF5 file, got one of a driver for several, or with free space")
