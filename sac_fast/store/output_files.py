"""Outputs on the disk, named by the SHA-256 of their bytes (`sac_fast.store.codec`).

segments/…                       small ones, many in a file (`sac_fast.store.segments`)
outputs/ab/abcd….safetensors     large ones, and all of stores of earlier versions
incoming/…                       files that are being written; a new writer deletes what it finds here
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import StoreError
from ..io.files import stored_bytes, sync_folder
from .codec import decode
from .durable import NOT_REGULAR, open_folder, write_all, write_new
from .own_memory import read_whole
from .records import ResultKey, is_digest
from .segments import Segments, checked_place

FOLDER = "outputs"
INCOMING = "incoming"
#: In ``incoming/``: what is being added and not committed yet (`sac_fast.store.additions`).
ADDITION = "addition.json"
SUFFIX = ".safetensors"

# Larger files are read into memory that the system may write out.
_MIN_LARGE_BYTES = 1 << 20
#: Largest file, with its header: four times what a worker may send.
MAX_OUTPUTS_BYTES = 4 << 30
# A journaling file system commits concurrent fsyncs together: 64 threads are many times as fast as one.
_MAX_WRITERS = 64


class OutputFiles:
    """The files of outputs of one store; no name leads out of its folder, and no link is followed.

    Args:
        folder: the store.
        write: create missing folders.

    Raises:
        StoreError: a folder is a link, or cannot be opened.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self._write = write
        self._opened = contextlib.ExitStack()
        self.root = self._outputs = self._incoming = -1
        try:
            self.root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._opened.callback(os.close, self.root)
            self._outputs = self._subfolders([FOLDER], self.root, self._opened)[FOLDER]
            if write:
                self._incoming = self._subfolders([INCOMING], self.root, self._opened)[INCOMING]
            self.segments = Segments(self.root, write=write)
            self._opened.callback(self.segments.close)
        except OSError as error:
            self.close()
            raise StoreError(f"cannot open the folders of outputs in {str(folder)!r}: {error}") from error

    def _subfolders(self, names: Iterable[str], inside: int, opened: contextlib.ExitStack) -> dict[str, int]:
        """Descriptors of folders, which `opened` closes; a writer creates missing ones durably."""
        found: dict[str, int] = {}
        created = False
        for name in names:
            if self._write:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=inside)
                    created = True
            found[name] = opened.enter_context(open_folder(name, inside))
        if created:
            sync_folder(inside)
        return found

    def close(self) -> None:
        """Close the folders; a second call does nothing."""
        self.root = self._outputs = self._incoming = -1
        self._opened.close()

    def write(self, by_name: Mapping[str, bytes]) -> None:
        """Write files of their own; all of them, names included, are on the disk when the call returns.

        Args:
            by_name: blobs of `encode`, by their SHA-256.

        Raises:
            OSError: the disk is full or fails; then no new file is left.
        """
        added: list[str] = []
        with contextlib.ExitStack() as opened:
            shards = self._subfolders(sorted({name[:2] for name in by_name}), self._outputs, opened)
            try:
                # Its end waits for all threads, so that none still writes when files are deleted after an error.
                with ThreadPoolExecutor(min(_MAX_WRITERS, len(by_name))) as pool:
                    folders = [shards[name[:2]] for name in by_name]
                    list(pool.map(self._write_one, by_name, by_name.values(), folders, repeat(added)))
                    list(pool.map(sync_folder, shards.values()))
            except BaseException:
                for name in added:
                    with contextlib.suppress(OSError):
                        os.unlink(name + SUFFIX, dir_fd=shards[name[:2]])
                raise

    def _write_one(self, name: str, blob: bytes, shard: int, added: list[str]) -> None:
        temporary = f"{name}-{secrets.token_hex(4)}.tmp"
        write_new(temporary, blob, folder=self._incoming)
        try:
            # An existing file of this name may be damaged or not yet durable: it is replaced.
            is_new = not _exists(name + SUFFIX, shard)
            os.rename(temporary, name + SUFFIX, src_dir_fd=self._incoming, dst_dir_fd=shard)
            if is_new:
                added.append(name)
        except BaseException:
            os.unlink(temporary, dir_fd=self._incoming)
            raise

    def read(self, name: str, values: Sequence[object] | None = None) -> tuple[ResultKey, NDArray[Any]]:
        """Read outputs after checking that their bytes have the hash that is their name.

        Args:
            name: 64 digits.
            values: of their place in a segment; None: a file of their own.

        Returns:
            The result's key and its outputs, in memory of our own.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: it cannot be read now; the file itself may be sound.
            ValueError: it is damaged, a link, or no file of outputs.
        """
        place = None if values is None else checked_place(values)
        data = self._bytes(name) if place is None else self.segments.read(place)
        found = hashlib.sha256(data).hexdigest()
        if found != name and place is not None:
            self.segments.forget(place.segment)  # another writer may have deleted it and begun one of its number
            data = self.segments.read(place)
            found = hashlib.sha256(data).hexdigest()
        if found != name:
            raise ValueError(f"its bytes must have the hash {name}, got {found}")
        return decode(data)

    def _bytes(self, name: str) -> bytes | memoryview:
        if not is_digest(name):
            raise ValueError(f"name must be 64 hexadecimal digits, got {name!r}")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open_folder(name[:2], self._outputs) as shard:
                descriptor = os.open(name + SUFFIX, flags, dir_fd=shard)
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise ValueError(f"it must be a regular file in a folder, got {error.strerror}") from error
            raise
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it must be a regular file, got a folder, a pipe or a device")
            handle = stack.enter_context(os.fdopen(descriptor, "rb", closefd=False))
            if found.st_size < _MIN_LARGE_BYTES:
                return handle.read(_MIN_LARGE_BYTES)
            if found.st_size > MAX_OUTPUTS_BYTES or stored_bytes(handle) < found.st_size:
                raise ValueError(f"it must have at most {MAX_OUTPUTS_BYTES:,} bytes and no holes")
            return read_whole(descriptor, found.st_size, self.root).data

    def remove(self, names: Sequence[str]) -> None:
        """Delete files; missing ones are ignored.

        Raises:
            OSError: one cannot be deleted.
        """
        for name in names:
            if is_digest(name):
                with contextlib.suppress(FileNotFoundError), open_folder(name[:2], self._outputs) as shard:
                    os.unlink(name + SUFFIX, dir_fd=shard)

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Everything in ``outputs/``: relative path, and the file's name where the path is one that a store writes."""
        for shard in sorted(os.listdir(self._outputs)):
            if not (len(shard) == 2 and is_digest(shard * 32)) or not _is_folder(shard, self._outputs):
                yield shard, None
                continue
            with open_folder(shard, self._outputs) as shard_fd:
                inside = sorted(os.listdir(shard_fd))
            for file in inside:
                name = file.removesuffix(SUFFIX)
                is_output = file.endswith(SUFFIX) and is_digest(name) and name[:2] == shard
                yield f"{shard}/{file}", name if is_output else None

    def left_over(self) -> list[str]:
        """Names in ``incoming/``; without a writer all of them are left over."""
        with contextlib.suppress(FileNotFoundError), open_folder(INCOMING, self.root) as folder:
            return sorted(os.listdir(folder))
        return []

    def sweep(self) -> None:
        """Delete what earlier writers left in ``incoming/``; folders stay, since no writer creates them there."""
        for name in self.left_over():
            self.remove_incoming(name)

    def write_incoming(self, name: str, data: bytes) -> None:
        """Write a small file in ``incoming/``, or replace it; it need not survive a loss of power."""
        temporary = f"{name}-{secrets.token_hex(4)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        opened = os.open(temporary, flags, 0o666, dir_fd=self._incoming)
        try:
            write_all(opened, data)
            os.rename(temporary, name, src_dir_fd=self._incoming, dst_dir_fd=self._incoming)
        except BaseException:
            self.remove_incoming(temporary)
            raise
        finally:
            os.close(opened)

    def read_incoming(self, name: str, max_bytes: int) -> bytes:
        """The beginning of a file in ``incoming/``; empty where there is none."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            opened = os.open(name, flags, dir_fd=self._incoming)
        except FileNotFoundError:
            return b""
        with os.fdopen(opened, "rb") as handle:
            return handle.read(max_bytes) if stat.S_ISREG(os.fstat(opened).st_mode) else b""

    def remove_incoming(self, name: str) -> None:
        """Delete a file in ``incoming/`` that may not be there."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(name, dir_fd=self._incoming)


def unreadable(name: str, error: OSError) -> StoreError:
    """The error for a file of outputs that cannot be read now, for example for lack of descriptors or permissions."""
    return StoreError(
        f"cannot read {FOLDER}/{name[:2]}/{name}{SUFFIX}: {error.strerror or error}; the file may be sound "
        "and is left as it is: remove the cause and start again"
    )


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
