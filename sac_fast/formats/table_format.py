"""How a text table of recorded outputs is written: delimiter, header, index column; what cannot be told is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from .limits import refuse, refuse_errors

#: Delimiters by the name that the option takes.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}
#: Names of an index column, in lower case.
INDEX_NAMES = ("", "index", "id", "idx", "unnamed: 0", "row", "row_names")
#: Lines by which the delimiter is told.
SAMPLE_LINES = 50
# No two ways to read the same digits: a cell of a megabyte of them, and a letter, would be tried in all.
_DIGITS = r"\s*[+-]?(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*"
_NAMED = r"|\s*[+-]?(nan|inf|infinity)\s*"
_NUMBER = re.compile(_DIGITS.format(point=r"\.") + _NAMED, re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(_DIGITS.format(point=",") + _NAMED, re.IGNORECASE | re.ASCII)
# Where csv does more than to split a line: it has a limit on cells, quotes, and characters that it refuses.
_SHORT, _SPECIAL = 1 << 16, re.compile('["\r\n\0]')
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*", re.ASCII)


@dataclass(frozen=True)
class TableFormat:
    """How a text table is written, where its content does not tell.

    Attributes:
        header: whether the first line holds names; None: told by the content.
        index: whether the first column numbers or names the rows; None: told by the content.
        delimiter: ``"comma"``, ``"semicolon"``, ``"tab"`` or ``"space"``; None: told by the content.

    Raises:
        ValueError: an unknown delimiter, or header or index that are no truth values.

    Example::

        >>> sac_fast.TableFormat(header=True, delimiter="semicolon").to_dict()
        {'header': True, 'index': None, 'delimiter': 'semicolon'}
    """

    header: bool | None = None
    index: bool | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        for name in ("header", "index"):
            if getattr(self, name) not in (None, True, False):
                raise ValueError(f"{name} must be True, False or None, got {getattr(self, name)!r}")
        if self.delimiter is not None and self.delimiter not in DELIMITERS:
            raise ValueError(f"delimiter must be one of {', '.join(DELIMITERS)}, got {self.delimiter!r}")

    def to_dict(self) -> dict[str, bool | str | None]:
        """The fields by name, as JSON can hold them."""
        return {"header": self.header, "index": self.index, "delimiter": self.delimiter}


@dataclass(frozen=True)
class Dialect:
    """How the cells of a table are told apart and read.

    Attributes:
        delimiter: a name of `DELIMITERS`; None: one cell a line.
        decimal_comma: whether ``1,5`` is one and a half.
    """

    delimiter: str | None
    decimal_comma: bool = False

    def split(self, line: str, number: int, name: str) -> list[str]:
        """The cells of a line, without blanks around them.

        Raises:
            ModelRefusedError: quotes that do not match.
        """
        if self.delimiter is None:
            return [line.strip().strip('"')]
        # csv costs several times as much for each of millions of short lines
        if self.delimiter != "space" and 0 < len(line) < _SHORT and not _SPECIAL.search(line):
            return [cell.strip() for cell in line.split(DELIMITERS[self.delimiter])]
        with refuse_errors(f"{name} must have matching quotes in line {number}", "not-numbers"):
            found = next(csv.reader([line], delimiter=DELIMITERS[self.delimiter], skipinitialspace=True, strict=True))
        return [cell.strip() for cell in found]

    def is_number(self, cell: str) -> bool:
        """Whether a cell is a number."""
        return (_DECIMAL_COMMA if self.decimal_comma else _NUMBER).fullmatch(cell) is not None

    def describe(self) -> str:
        """In words."""
        cells = "one cell a line" if self.delimiter is None else f"delimiter {self.delimiter}"
        return f"{cells}, decimal comma" if self.decimal_comma else cells


def is_whole(cell: str) -> bool:
    """Whether a cell is a whole number without a decimal point."""
    return cell.isdigit() or cell.lstrip("+-").isdigit()


def find_dialect(lines: Sequence[str], given: TableFormat, name: str) -> Dialect:
    """The dialect of a table by its first lines.

    A delimiter fits where it cuts all lines after the first into as many cells, all of them numbers but perhaps the
    first (a name of the row). One that the user names need not fit: the reader says what is wrong then.

    Args:
        lines: the first lines that are not empty, without comments.
        given: what the user said.
        name: what messages call the file.

    Returns:
        The dialect.

    Raises:
        ModelRefusedError: several fit.
    """
    data = lines[1:] or lines
    if given.delimiter is not None:
        point, comma = Dialect(given.delimiter), Dialect(given.delimiter, True)
        if given.delimiter == "comma" or _fits(data, point, 1) or not _fits(data, comma, 1):
            return point
        return _with_comma(data, given.delimiter, name)
    found = [
        dialect
        for delimiter in DELIMITERS
        for dialect in (Dialect(delimiter), *([] if delimiter == "comma" else [Dialect(delimiter, True)]))
        if _fits(data, dialect) and (not dialect.decimal_comma or not _fits(data, Dialect(delimiter)))
    ]
    if len(found) > 1:
        kinds = " or ".join(dialect.describe() for dialect in found)
        refuse_ambiguous(name, f"cells that could have the {kinds}", "--table-delimiter")
    if not found:  # the reader says which line is wrong
        likely = (d for d in map(Dialect, DELIMITERS) if any(_fits([line], d) for line in lines))
        return next(likely, Dialect(None))
    chosen = found[0]
    return _with_comma(data, chosen.delimiter or "", name) if chosen.decimal_comma else chosen


def _with_comma(lines: Sequence[str], delimiter: str, name: str) -> Dialect:
    dialect = Dialect(delimiter, True)
    cells = [cell for line in lines for cell in dialect.split(line, 0, name) if "," in cell]
    if all(_THOUSANDS.fullmatch(cell) for cell in cells):
        found = f"{cells[0]!r}, which could be a decimal comma or thousands"
        refuse("ambiguous-table", f"{name} must hold numbers with a decimal point, got {found}")
    return dialect


def _fits(lines: Sequence[str], dialect: Dialect, min_cells: int = 2) -> bool:
    counts = set()
    for line in lines:
        try:
            cells = dialect.split(line, 0, "")
        except ValueError:
            return False
        if len(cells) < min_cells or not all(map(dialect.is_number, cells[1:] or cells)):
            return False
        counts.add(len(cells))
    return len(counts) == 1


def refuse_ambiguous(name: str, found: str, option: str) -> NoReturn:
    """Refuse a table that can be read in two ways, with the option that settles it."""
    attribute = option.removeprefix("--table-")
    refuse(
        "ambiguous-table", f"{name} must be a table with one meaning, got {found}; {option} ({attribute}=) says which"
    )
