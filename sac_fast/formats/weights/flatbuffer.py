"""Flatbuffers read within bounds: every offset is checked against the file, and what is read is counted.

Offsets may lead to one table a million times, so that a small file could stand for a large structure.

Source: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from typing import NoReturn

import numpy as np

from ..limits import MAX_FLATBUFFER_VALUES, refuse
from .ranges import FileRanges

_BLOCK = 1 << 16
_MAX_TEXT = 1 << 12  # bytes of one name


class Flatbuffer:
    """One open file."""

    def __init__(self, ranges: FileRanges) -> None:
        self._ranges = ranges
        self._block = (0, b"")
        self._left = MAX_FLATBUFFER_VALUES

    def root(self) -> Table:
        """The table that the file begins with."""
        return Table(self, self.number("<I", 0))

    def number(self, form: str, position: int) -> int:
        """A whole number in the form of `struct`."""
        return int(self._unpack(form, position))

    def real(self, position: int) -> float:
        """A float32."""
        return float(self._unpack("<f", position))

    def bytes(self, position: int, count: int) -> bytes:
        """Some bytes, from a block that is kept.

        Raises:
            ModelRefusedError: outside of the file.
        """
        if position < 0 or count < 0 or position + count > self._ranges.size:
            self.wrong(f"an offset to byte {position:,} of {self._ranges.size:,}", "truncated")
        offset = position - self._block[0]
        if offset < 0 or offset + count > len(self._block[1]):
            block = self._ranges.read(position, min(max(_BLOCK, count), self._ranges.size - position))
            self._block, offset = (position, block), 0
        return self._block[1][offset : offset + count]

    def spend(self, count: int) -> None:
        """Count values that are read."""
        self._left -= count
        if self._left < 0:
            self.wrong(f"more than {MAX_FLATBUFFER_VALUES:,} values outside of its arrays", "expanded")

    def wrong(self, found: str, reason: str = "malformed") -> NoReturn:
        """Refuse the file."""
        refuse(reason, f"{self._ranges.name} must be a sound flatbuffer, got {found}")

    def _unpack(self, form: str, position: int) -> float:
        self.spend(1)
        found: float = struct.unpack(form, self.bytes(position, struct.calcsize(form)))[0]
        return found


class Table:
    """One table; fields by their number in the schema."""

    def __init__(self, buffer: Flatbuffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - buffer.number("<i", position)
        self._size = buffer.number("<H", self._vtable)

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A whole number."""
        place = self._place(field)
        return self._buffer.number(form, place) if place else default

    def table(self, field: int) -> Table | None:
        """Another table."""
        place = self._place(field)
        return Table(self._buffer, place + self._buffer.number("<I", place)) if place else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, count = self.vector(field, 4)
        places = [start + 4 * number for number in range(count)]
        return [Table(self._buffer, place + self._buffer.number("<I", place)) for place in places]

    def numbers(self, field: int, dtype: str) -> list[int]:
        """A vector of whole numbers of a dtype of NumPy."""
        return [int(value) for value in self._values(field, dtype)]

    def reals(self, field: int) -> list[float]:
        """A vector of float32."""
        return [float(value) for value in self._values(field, "<f4")]

    def text(self, field: int) -> str:
        """A text; its beginning where it is long."""
        start, count = self.vector(field, 1)
        self._buffer.spend(count // 16)
        return self._buffer.bytes(start, min(count, _MAX_TEXT)).decode("utf-8", "replace")

    def vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Where a vector's values begin, and their number; (0, 0) where there is none."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + self._buffer.number("<I", place)
        count = self._buffer.number("<I", start)
        self._buffer.bytes(start + 4 + count * itemsize, 0)  # it ends inside the file
        return start + 4, count

    def _values(self, field: int, dtype: str) -> list[int | float]:
        kind = np.dtype(dtype)
        start, count = self.vector(field, kind.itemsize)
        self._buffer.spend(count)
        values: list[int | float] = np.frombuffer(self._buffer.bytes(start, count * kind.itemsize), kind).tolist()
        return values

    def _place(self, field: int) -> int:
        """Where a field lies; 0 where it has its default."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return 0
        offset = self._buffer.number("<H", self._vtable + entry)
        return self._position + offset if offset else 0
