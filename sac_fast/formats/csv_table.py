"""Recorded outputs as text tables, one line a probe; what was taken for what is said."""

from __future__ import annotations

import array
import codecs
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ..io.lazy import LazyModule
from .limits import MAX_CSV_BYTES, MAX_CSV_COLUMNS, Limits, refuse
from .table_format import (
    DELIMITERS,
    INDEX_NAMES,
    SAMPLE_LINES,
    Dialect,
    TableFormat,
    find_dialect,
    is_whole,
    refuse_ambiguous,
)

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

_HEAD_BYTES = 1 << 20
_HEAD_LINES = 3
# A table of fewer rows or columns can hold 0, 1 as outputs: probabilities of 0 and 1.
_MIN_COUNT = 3


def looks_like_csv(handle: BinaryIO) -> bool:
    """Whether a file begins with text, of which one of the first lines is numbers, but perhaps the first cell.

    Args:
        handle: the open file; left at an undefined place.
    """
    handle.seek(0)
    head = handle.read(4096)
    if not head or any(byte < 32 and byte not in b"\t\r\n" for byte in head):
        return False
    head += handle.read(_HEAD_BYTES - len(head))
    text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    raw = text.splitlines()
    lines = [line.strip() for line in raw if line.strip() and not line.startswith("#")][:_HEAD_LINES]
    cut = len(head) == _HEAD_BYTES and len(raw) <= _HEAD_LINES
    return any(_is_row(line, cut and line is lines[-1]) for line in lines)


def _is_row(line: str, cut: bool) -> bool:
    for delimiter in (*DELIMITERS, None):
        for dialect in (Dialect(delimiter), Dialect(delimiter, True)):
            try:
                cells = dialect.split(line, 0, "")
            except ValueError:
                continue
            cells = cells[:-1] if cut and len(cells) > 1 else cells
            named = len(cells) > 1 and delimiter not in (None, "space")
            if all(map(dialect.is_number, cells[1:])) and (named or dialect.is_number(cells[0])):
                return True
    return False


def read_csv(handle: BinaryIO, name: str, limits: Limits, given: TableFormat | None = None) -> tuple[torch.Tensor, str]:
    """Read float64 ``(n, k)`` and say how the table was taken.

    Cells are separated by commas, semicolons, tabs or spaces; with other delimiters than commas, numbers may have a
    decimal comma. Lines before the numbers that begin with ``#`` are comments. The first line is a header where none
    of its cells is a number, or where it numbers the columns. The first column is left out where its name says that it
    is an index, where it numbers the rows, or where it holds texts. What could be read in two ways is refused.

    Args:
        handle: the open file.
        name: what messages call it.
        limits: on sizes.
        given: what the user says of the table.

    Returns:
        The outputs, and the dialect in words.

    Raises:
        ModelRefusedError: too large, other text, lines of different lengths, or a table with two meanings.
    """
    handle.seek(0)
    most = min(MAX_CSV_BYTES, limits.max_file_bytes)
    text = handle.read(most + 1)
    if len(text) > most:
        refuse("too-large", f"{name} must have at most {most:,} bytes of text, got more; .npy files may be larger")
    given = given or TableFormat()
    lines = _lines(text.removeprefix(codecs.BOM_UTF8), name)
    first = list(itertools.islice(lines, SAMPLE_LINES))
    if not first:
        refuse("empty", f"{name} must hold recorded outputs, got no line of numbers")
    dialect = find_dialect([line for _, line in first], given, name)
    cells = 1 if dialect.delimiter is None else text.count(DELIMITERS[dialect.delimiter].encode())
    needed = 8 * (cells + text.count(b"\n") + 1)
    limits.check_tensor(name, "CSV", needed, 0)
    if needed > 2 * len(text) + limits.free_expansion_bytes:
        refuse(
            "expanded", f"{name} must have longer numbers, got {len(text):,} bytes of text for {needed:,}; save .npy"
        )
    first.reverse()
    number, line = first.pop()
    table = _Table(name, dialect, given, dialect.split(line, number, name), number)
    # popped, so that long lines are not kept beside their numbers
    for number, line in itertools.chain((first.pop() for _ in range(len(first))), lines):
        table.add(dialect.split(line, number, name), number)
    del text, line
    return table.result()


def _lines(text: bytes, name: str) -> Iterator[tuple[int, str]]:
    """The lines that hold cells, with their numbers."""
    begun = False
    for number, raw in enumerate(io.BytesIO(text), 1):
        try:
            line = raw.decode().strip(" \r\n\t" if not begun else " \r\n")
        except UnicodeDecodeError as error:
            refuse("not-numbers", f"{name} must be UTF-8 text in line {number}, got {error}", error)
        if not line or (line.startswith("#") and not begun):
            continue
        is_long = len(line) >= MAX_CSV_COLUMNS
        if is_long and any(line.count(delimiter) >= MAX_CSV_COLUMNS for delimiter in DELIMITERS.values()):
            refuse("too-large", f"{name} must have at most {MAX_CSV_COLUMNS:,} columns, got more in line {number}")
        begun = True
        yield number, line


@dataclass
class _Table:
    """Rows as they are read, the first of them undecided until all are."""

    name: str
    dialect: Dialect
    given: TableFormat
    first: list[str]
    first_line: int
    columns: int = 0  # of the lines after the first
    rows: int = 0  # likewise
    row_names: bool = False  # the first cells are texts
    wholes: list[int] = field(default_factory=lambda: [0, 0])  # whole numbers in the first column, in the others
    values: array.array[float] = field(default_factory=lambda: array.array("d"))

    def add(self, cells: list[str], line: int) -> None:
        """Add a line after the first."""
        if not self.rows:
            self.columns = len(cells)
            self.row_names = len(cells) > 1 and not self.dialect.is_number(cells[0]) and cells[0] != ""
        if len(cells) != self.columns:
            wanted = f"{self.name} must have {self.columns} columns as before"
            refuse("wrong-shape", f"{wanted}, got {len(cells)} in line {line}")
        self.rows += 1
        self._check_row_name(cells[0], line)
        self.values.extend(self._numbers(cells[self.row_names :], line))
        self.wholes[0] += is_whole(cells[0])
        self.wholes[1] += sum(map(is_whole, cells[1:]))

    def _check_row_name(self, cell: str, line: int) -> None:
        if self.row_names and (self.dialect.is_number(cell) or not cell):
            wanted = f"{self.name} must have names in all of its first column or numbers in all of it"
            refuse("not-numbers", f"{wanted}, got {cell!r} in line {line}")

    def _numbers(self, cells: Sequence[str], line: int) -> list[float]:
        together = "".join(cells)
        try:
            # Python reads 1_0 as 10, and digits of every script.
            if "_" in together or not together.isascii():
                raise ValueError
            points = [cell.replace(",", ".") for cell in cells] if self.dialect.decimal_comma else cells
            numbers = list(map(float, points))
        except ValueError as error:
            wrong = next((cell for cell in cells if not self.dialect.is_number(cell)), cells[0])
            found = f"{wrong[:80]!r}" if wrong else "an empty cell"
            wanted = f"{self.name} must hold numbers ({self.dialect.describe()})"
            refuse("not-numbers", f"{wanted}, got {found} in line {line}", error)
        if not all(map(math.isfinite, numbers)):
            refuse("not-finite", f"{self.name} must hold finite numbers, got NaN or Inf in line {line}")
        return numbers

    def result(self) -> tuple[torch.Tensor, str]:
        """The outputs, and how the table was taken."""
        said = [self.dialect.describe()]
        header = self._has_header()
        if header:
            said.append(f"line {self.first_line} is a header")
            if not self.rows:
                refuse("empty", f"{self.name} must hold recorded outputs, got no line of numbers")
            names = [*([""] if len(self.first) == self.columns - 1 else []), *self.first]
            if len(names) != self.columns:
                self._refuse_width(len(self.first))
        else:
            names = None
            self._add_first()
        width = self.columns - self.row_names
        outputs = torch.frombuffer(self.values, dtype=torch.float64).reshape(-1, width)
        if self.row_names:
            said.append("the first column names the rows and is left out")
        elif self._has_index(outputs, names):
            title = "" if names is None else f" {names[0][:80]!r}"
            start, end = int(outputs[0, 0]), int(outputs[-1, 0])
            said.append(f"the first column{title} ({start} … {end}) numbers the rows and is left out")
            outputs = outputs[:, 1:].contiguous()
        said.append(f"{outputs.shape[0]} rows of {outputs.shape[1]} outputs")
        return outputs, "table: " + "; ".join(said)

    def _add_first(self) -> None:
        """The first line is a row like all others."""
        cells = self.first
        if not self.rows:
            self.columns = len(cells)
            self.row_names = len(cells) > 1 and not self.dialect.is_number(cells[0])
        elif len(cells) != self.columns:
            self._refuse_width(len(cells))
        self._check_row_name(cells[0], self.first_line)
        self.values[:0] = array.array("d", self._numbers(cells[self.row_names :], self.first_line))
        self.rows += 1
        self.wholes = [self.wholes[0] + is_whole(cells[0]), self.wholes[1] + sum(map(is_whole, cells[1:]))]

    # --- header and index ---------------------------------------------------------------------------------------

    def _has_header(self) -> bool:
        """Whether the first line holds names."""
        if self.given.header is not None:
            return self.given.header
        is_number = self.dialect.is_number
        numbers = [is_number(cell) for cell in self.first]
        where = f"in line {self.first_line}"
        if self.rows and len(self.first) != self.columns and any(numbers):
            self._refuse_width(len(self.first))
        if not any(numbers):
            self._check_one_cell()
            if empty := [place for place, cell in enumerate(self.first[1:], 2) if not cell]:
                refuse_ambiguous(self.name, f"an empty cell {where}, column {empty[0]}", "--table-header")
            return True
        if len(self.first) == self.columns and not numbers[0] and all(numbers[1:]):
            if self._numbers_columns(self.first[1:]) and self.first[0].lower() in INDEX_NAMES:
                return True
            if self.row_names and self.first[0]:
                return self._is_numeric_header(self.first[1:])
        if not all(numbers):
            found = next(cell for cell, is_one in zip(self.first, numbers, strict=True) if not is_one)
            mixed = f"numbers and {found[:80]!r} {where}" if found else f"numbers and an empty cell {where}"
            refuse_ambiguous(self.name, f"{mixed}, which is neither a row nor a header", "--table-header")
        return self._is_numeric_header(self.first)

    def _refuse_width(self, found: int) -> NoReturn:
        wanted = f"{self.name} must have {found} columns as in line {self.first_line}"
        refuse("wrong-shape", f"{wanted}, got {self.columns} in the lines after it")

    def _check_one_cell(self) -> None:
        """Refuse a name over one column that would be several cells with another delimiter."""
        split = [Dialect(delimiter) for delimiter in DELIMITERS if self.dialect.delimiter is None]
        for other in split:
            cells = other.split(self.first[0], self.first_line, self.name)
            if len(cells) > 1 and any(map(other.is_number, cells)):
                found = f"{self.first[0][:80]!r} in line {self.first_line} over one column of numbers"
                refuse_ambiguous(self.name, found, "--table-header")

    def _is_numeric_header(self, cells: Sequence[str]) -> bool:
        """Whether a first line of numbers numbers the columns."""
        if not self.rows or not all(map(is_whole, cells)):
            return False
        others = self.rows * len(cells) - (self.wholes[1] if self.row_names else sum(self.wholes))
        if self._numbers_columns(cells) and (len(cells) > 1 or others):
            if len(cells) >= _MIN_COUNT and others:
                return True
            if len(cells) > 1 or int(cells[0]) == 0:
                found = f"the numbers {cells[0]} … {cells[-1]} in line {self.first_line}, which could be names or a row"
                refuse_ambiguous(self.name, found, "--table-header")
        # Names of classes that are numbers: whole ones over values of which none is.
        if len(cells) > 1 and len(set(cells)) == len(cells) and others == self.rows * len(cells):
            found = f"whole numbers in line {self.first_line} and none below, which could be names or a row"
            refuse_ambiguous(self.name, found, "--table-header")
        return False

    @staticmethod
    def _numbers_columns(cells: Sequence[str]) -> bool:
        return any(list(cells) == [str(i + start) for i in range(len(cells))] for start in (0, 1))

    def _has_index(self, outputs: torch.Tensor, names: Sequence[str] | None) -> bool:
        """Whether the first of several columns numbers the rows."""
        n, width = outputs.shape
        if width < 2 or self.given.index is False:
            return False
        first = outputs[:, 0]
        counts = any(bool((first == torch.arange(start, start + n)).all()) for start in (0, 1))
        rising = bool((first == first.round()).all()) and bool((first[1:] > first[:-1]).all())
        named = names is not None and names[0].lower() in INDEX_NAMES
        if len(self.first) < self.columns and names is not None and not (counts or self.given.index):
            self._refuse_width(len(self.first))
        if self.given.index or (named and rising):
            if not rising:
                wanted = f"{self.name} must have an index that counts up, in the order of the probes"
                refuse("ambiguous-table", f"{wanted}, got other numbers in the first column")
            return True
        if named:
            title = names[0] if names else ""
            found = f"the name {title!r} over a first column that does not count up"
            refuse_ambiguous(self.name, found, "--table-index")
        if not counts:
            self._check_decimal_comma(width, names)
            return False
        if n < _MIN_COUNT or self.wholes[1] == n * (width - 1):
            last = int(first[-1])
            found = f"{int(first[0])} … {last} in the first column, which could be an index or outputs"
            refuse_ambiguous(self.name, found, "--table-index")
        return True

    def _check_decimal_comma(self, width: int, names: Sequence[str] | None) -> None:
        """Refuse ``0,731`` a line: two whole numbers, or one with a decimal comma."""
        whole = sum(self.wholes) == 2 * self.rows
        if self.dialect.delimiter == "comma" and width == 2 and whole and names is None and not self.given.delimiter:
            found = "two whole numbers a line, which could be one with a decimal comma"
            refuse_ambiguous(self.name, found, "--table-delimiter")
