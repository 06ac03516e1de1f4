"""Rows of a file, read where they are wanted."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..neighbours.vectors import empty_rows
from .own_memory import read_into, read_whole

# A few times what a processor's caches hold, and little beside a process.
_BLOCK_BYTES = 32 << 20
# A share of the rows of one in so many is sooner read with all rows than row by row.
_MANY = 8

Bytes = NDArray[np.uint8]


class StoredRows:
    """The first rows of an open file of rows of one size; not mapped, since a mapped file can be shortened meanwhile.

    Args:
        descriptor: of the file; a copy of it is kept.
        name: of the file, for messages.
        rows: number of rows that count.
        row_bytes: of one.

    Raises:
        ValueError: the file is shorter, now or when it is read.
    """

    def __init__(self, descriptor: int, name: str, rows: int, row_bytes: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < rows * row_bytes:
            raise ValueError(f"{name} must have {rows * row_bytes:,} bytes, got {size:,}")
        self.name, self.shape = name, (rows, row_bytes)
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, last: int) -> Bytes:
        """Rows first … last - 1."""
        return self._read(empty_rows(last - first, self.shape[1]), first)

    def take(self, rows: NDArray[np.int64]) -> Bytes:
        """Some rows, by number."""
        found = empty_rows(len(rows), self.shape[1])
        if len(rows) * _MANY > len(self):
            for first, block in self.blocks():
                places = np.flatnonzero((rows >= first) & (rows < first + len(block)))
                found[places] = block[rows[places] - first]
            return found
        for place, row in enumerate(rows.tolist()):
            self._read(found[place : place + 1], row)
        return found

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, Bytes]]:
        """Rows first … last - 1, some at a time: the number of the first, and rows that the next block overwrites.

        Args:
            first, last: by default all rows.
        """
        last = len(self) if last is None else last
        step = max(1, _BLOCK_BYTES // max(1, self.shape[1]))
        buffer = empty_rows(min(step, last - first), self.shape[1])
        for start in range(first, last, step):
            yield start, self._read(buffer[: min(step, last - start)], start)

    def whole(self, folder: int | None = None) -> Bytes:
        """All rows at once.

        Args:
            folder: see `sac_fast.store.own_memory.read_whole`.
        """
        if 0 in self.shape:
            return np.empty(self.shape, np.uint8)
        try:
            return read_whole(self._descriptor, self.shape[0] * self.shape[1], folder).reshape(self.shape)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def _read(self, rows: Bytes, first: int) -> Bytes:
        if rows.size:
            try:
                read_into(rows.reshape(-1).data, self._descriptor, first * self.shape[1])
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from error
        return rows
