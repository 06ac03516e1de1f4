"""Segments: files that hold many small outputs one after another, so that a store of 10⁶ models has few files.

segments/00000001.seg    records, one behind another; nothing before the end is changed but the first word of a record

    record = word (8 bytes) | length of the blob (uint64) | SHA-256 of the blob (32 bytes) | blob | zeros to 8 bytes

A blob is a whole file of outputs (`sac_fast.store.codec`), so a segment can be read without the database. The database
says where each one lies. A writer that was stopped before its commit leaves bytes behind the last committed record; the
next writer cuts them off (`sac_fast.store.additions`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..io.files import STORE_RECORD, STORE_WORDS, sync_folder
from .durable import NOT_REGULAR, open_folder, open_regular_in, write_all

FOLDER = "segments"
SUFFIX = ".seg"
#: Largest blob of a record.
MAX_BLOB = 256 << 10
# A segment that has grown beyond this gets no more records.
_FULL = 64 << 20
_LIVE, _REMOVED = STORE_WORDS
_HEAD = STORE_RECORD
_MAX_NUMBER = 99_999_999
_MAX_OPEN = 2  # descriptors that are kept for reading


class Place(NamedTuple):
    """Where a blob lies: number of the segment, first byte, length."""

    segment: int
    start: int
    length: int


class Found(NamedTuple):
    """A record that was found in a segment: name and place of its blob, and whether it was removed."""

    name: str
    place: Place
    is_removed: bool


class Segments:
    """The segments of one store, by descriptor: no link is followed.

    Args:
        root: descriptor of the store's folder.
        write: create the folder.

    Raises:
        OSError: the folder is a link, or cannot be opened.
    """

    def __init__(self, root: int, *, write: bool) -> None:
        self._root = root
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._guard = threading.Lock()
        if write:
            with contextlib.suppress(FileExistsError):
                os.mkdir(FOLDER, dir_fd=root)
                sync_folder(root)
            with open_folder(FOLDER, root):
                pass

    def close(self) -> None:
        """Close what is open."""
        with self._guard:
            while self._descriptors:
                os.close(self._descriptors.popitem()[1])

    def choose(self, last: int, end: int) -> tuple[int, int]:
        """Where the next addition begins: number and first byte.

        Args:
            last: the last segment that the database names; 0: none.
            end: of its last record.
        """
        numbers = self.numbers()
        if last and last >= max(numbers, default=0) and end < _FULL:
            with contextlib.suppress(OSError), self._open(last) as opened:
                if os.fstat(opened).st_size == end:
                    return last, end
        return max([last, *numbers]) + 1, 0

    def append(self, number: int, start: int, blobs: Sequence[bytes]) -> list[Place]:
        """Write blobs at the end of a segment; they are on the disk when the call returns.

        Args:
            number, start: of `choose`.
            blobs: of `encode`.

        Returns:
            Their places.

        Raises:
            OSError: the disk is full or fails; `undo` takes back what was written.
        """
        parts: list[bytes] = []
        places = []
        end = start
        for blob in blobs:
            places.append(Place(number, end + _HEAD.size, len(blob)))
            parts += [_HEAD.pack(_LIVE, len(blob), hashlib.sha256(blob).digest()), blob, bytes(-len(blob) % 8)]
            end += _HEAD.size + _padded(len(blob))
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if start == 0 else 0)
        with open_folder(FOLDER, self._root) as folder:
            opened = os.open(_file(number), flags, 0o666, dir_fd=folder)
            try:
                os.lseek(opened, start, os.SEEK_SET)
                write_all(opened, b"".join(parts))
                os.fsync(opened)
            finally:
                os.close(opened)
            if start == 0:
                os.fsync(folder)
        return places

    def undo(self, number: int, start: int) -> None:
        """Cut a segment off where an addition began that was not committed.

        Raises:
            OSError: the disk fails.
        """
        self.forget(number)
        with contextlib.suppress(FileNotFoundError), open_folder(FOLDER, self._root) as folder:
            if start == 0:
                os.unlink(_file(number), dir_fd=folder)
                return
            opened = os.open(_file(number), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                if stat.S_ISREG(os.fstat(opened).st_mode) and os.fstat(opened).st_size > start:
                    os.ftruncate(opened, start)
                    os.fsync(opened)
            finally:
                os.close(opened)

    def read(self, place: Place) -> bytes:
        """The bytes of a blob.

        Raises:
            FileNotFoundError: the segment does not exist.
            OSError: it cannot be read now.
            ValueError: it is no segment, or ends before.
        """
        with self._guard:
            data = os.pread(self._descriptor(place.segment), place.length, place.start)
        if len(data) != place.length:
            raise ValueError(f"{FOLDER}/{_file(place.segment)} must have bytes {place.start} … +{place.length}")
        return data

    def mark_removed(self, places: Sequence[Place]) -> None:
        """Mark records as removed, so that a check does not take them for results that were lost.

        Raises:
            OSError: the disk fails.
        """
        for number in {place.segment for place in places}:
            with contextlib.suppress(FileNotFoundError, ValueError), self._open(number, os.O_RDWR) as opened:
                for place in places:
                    if place.segment == number and os.pread(opened, 8, place.start - _HEAD.size) == _LIVE:
                        os.pwrite(opened, _REMOVED, place.start - _HEAD.size)
                os.fsync(opened)

    def delete(self, number: int) -> None:
        """Delete a segment of which nothing is needed."""
        self.forget(number)
        with contextlib.suppress(FileNotFoundError), open_folder(FOLDER, self._root) as folder:
            os.unlink(_file(number), dir_fd=folder)

    def names(self) -> list[str]:
        """Everything in ``segments/``."""
        with contextlib.suppress(FileNotFoundError), open_folder(FOLDER, self._root) as folder:
            return sorted(os.listdir(folder))
        return []

    def numbers(self) -> list[int]:
        """Numbers of the segments that are there."""
        return [number for number in map(number_of, self.names()) if number is not None]

    def size(self, number: int) -> int:
        """Bytes of a segment; 0 where it is not there."""
        with contextlib.suppress(FileNotFoundError, ValueError), self._open(number) as opened:
            return os.fstat(opened).st_size
        return 0

    def records(self, number: int) -> Iterator[Found]:
        """All records of a segment in their order, by their headers.

        Raises:
            ValueError: it is no segment, or something else stands behind the last record; its message says where.
            OSError: it cannot be read now.
        """
        with self._open(number) as opened:
            size, at = os.fstat(opened).st_size, 0
            while at < size:
                head = os.pread(opened, _HEAD.size, at)
                word, length, digest = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, b"")
                end = at + _HEAD.size + _padded(length)
                if word not in (_LIVE, _REMOVED) or not 0 < length <= MAX_BLOB or end > size:
                    raise ValueError(f"a record must begin at byte {at:,}, got something else up to {size:,}")
                yield Found(digest.hex(), Place(number, at + _HEAD.size, length), word == _REMOVED)
                at = end

    @contextlib.contextmanager
    def _open(self, number: int, flags: int = os.O_RDONLY) -> Iterator[int]:
        shown = f"{FOLDER}/{_file(number)}"
        with contextlib.ExitStack() as stack:
            try:
                with open_folder(FOLDER, self._root) as folder:
                    opened = stack.enter_context(open_regular_in(folder, _file(number), flags, shown=shown))
            except OSError as error:
                if error.errno in NOT_REGULAR:
                    raise ValueError(f"{shown} must be a regular file, got {error.strerror}") from error
                raise
            yield opened

    def _descriptor(self, number: int) -> int:
        """A descriptor that is kept for the next blob of the same segment."""
        if number not in self._descriptors:
            with self._open(number) as opened:
                self._descriptors[number] = os.dup(opened)
            while len(self._descriptors) > _MAX_OPEN:
                os.close(self._descriptors.popitem(last=False)[1])
        return self._descriptors[number]

    def forget(self, number: int) -> None:
        """Close what is kept of a segment, which may be another file now."""
        with self._guard:
            if number in self._descriptors:
                os.close(self._descriptors.pop(number))


def number_of(name: str) -> int | None:
    """The number of a segment by its file's name; None: it is none."""
    digits = name.removesuffix(SUFFIX)
    is_segment = name.endswith(SUFFIX) and len(digits) == 8 and digits.isascii() and digits.isdecimal()
    return int(digits) if is_segment and int(digits) > 0 else None


def checked_place(values: Sequence[object]) -> Place:
    """A place as the database has it.

    Raises:
        ValueError: it is none.
    """
    segment, start, length = values
    if not (type(segment) is int and type(start) is int and type(length) is int):
        raise ValueError(f"a place in a segment must be three integers, got {values!r}"[:200])
    if not (0 < segment <= _MAX_NUMBER and _HEAD.size <= start < 1 << 48 and 0 < length <= MAX_BLOB):
        raise ValueError(f"a place must lie in a segment, got {values!r}"[:200])
    return Place(segment, start, length)


def _file(number: int) -> str:
    return f"{number:08}{SUFFIX}"


def _padded(length: int) -> int:
    return length + -length % 8
