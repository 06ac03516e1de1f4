"""Answers of a service that people noted down: CSV, JSON or JSON lines, one entry or several for each image file."""

from __future__ import annotations

import array
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..io.files import StrPath, read_regular
from ..io.text import most_repeated
from .json_text import parse_json
from .limits import MAX_CSV_BYTES, MAX_CSV_COLUMNS

MAX_LINES = 1_000_000
_MAX_ROW_LINES = 1000  # of one row of CSV, with line ends in quotes
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NUMBERED = re.compile(r"(label|score)[ _]?(\d{1,3})")


def read_answers_file(path: StrPath) -> dict[str, Any]:
    """Answers by the name of the image file, as `sac_fast.models.endpoint_answer.read_answer` takes them.

    * CSV with a line of names, ``file`` among them: ``file,label`` (a class); ``file,label,score`` with several lines a
      file, or ``file,label1,score1,label2,score2,…`` (top-k); else one column of numbers a class, named after it;
    * JSON: ``{"FILE": answer, …}`` or a list of objects ``{"file": …, …}``, with ``label``, ``scores`` (a list, or
      numbers by name) or ``top`` (``[{"label": …, "score": …}, …]``); JSON lines: one such object a line.

    Args:
        path: ends in .csv, .json, .jsonl or .ndjson.

    Returns:
        For each file a class, a list of classes with scores, or numbers.

    Raises:
        FileFormatError: other text, a file that occurs twice, or more than the limits.

    Example::

        >>> _ = Path("answers.csv").write_text("file,label\\n00000-12345678.png,cat\\n")
        >>> read_answers_file("answers.csv")
        {'00000-12345678.png': 'cat'}
    """
    name, suffix = repr(str(path)), Path(path).suffix.lower()
    content = read_regular(path, MAX_CSV_BYTES, "as a list of answers")
    if suffix == ".csv":
        return _read_csv(content, name)
    if suffix == ".json":
        found = parse_json(content, name)
        entries = found[""] if set(found) == {""} else None
        given = list(found.items()) if entries is None else [_entry(entry, name) for entry in entries]
        return _by_file(given, name)
    if suffix in (".jsonl", ".ndjson"):
        found_lines: list[tuple[str, Any]] = []
        for number, line in enumerate(filter(bytes.strip, io.BytesIO(content)), 1):
            _check_count(number, name)
            found_lines.append(_entry(parse_json(line, f"line {number} of {name}"), name))
        return _by_file(found_lines, name)
    raise FileFormatError(f"{name} must end in .csv, .json, .jsonl or .ndjson")


def _read_csv(content: bytes, name: str) -> dict[str, Any]:
    head: list[str] = []
    columns: dict[str, int] = {}
    found: list[tuple[str, Any]] = []
    several: dict[str, list[dict[str, Any]]] = {}
    try:
        for number, row in enumerate(_csv_rows(content, name), 1):
            if not head:
                head = _check_head([cell.strip() for cell in row], name)
                columns = {column: place for place, column in enumerate(column for column in head if column != "file")}
                continue
            if len(row) != len(head):
                wanted = f"{name} must have {len(head)} cells in every line"
                raise FileFormatError(f"{wanted}, got {len(row)} in line {number}")
            cells = dict(zip(head, (cell.strip() for cell in row), strict=True))
            file = cells.pop("file")
            if set(cells) == {"label"}:
                found.append((file, _class(cells["label"])))
            elif set(cells) == {"label", "score"}:
                scored = {"label": cells["label"], "score": _number(cells["score"], name, number)}
                several.setdefault(file, []).append(scored)
            elif all(_NUMBERED.fullmatch(column) for column in cells):
                found.append((file, _numbered(cells, name, number)))
            else:
                numbers = array.array("d", (_number(cell, name, number) for cell in cells.values()))
                found.append((file, _Scores(columns, numbers)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{name} must be CSV in UTF-8, got {error}") from error
    return _by_file([*found, *several.items()], name)


def _csv_rows(content: bytes, name: str) -> Iterator[list[str]]:
    """Rows with any cell, one at a time: all of them as texts would be fifty times the file."""
    lines = rows = 0

    def counted() -> Iterator[str]:
        nonlocal lines
        for line in io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""):
            lines += 1
            if lines > _MAX_ROW_LINES or (len(line) > MAX_CSV_COLUMNS and line.count(",") > MAX_CSV_COLUMNS):
                raise FileFormatError(
                    f"{name} must have rows of at most {_MAX_ROW_LINES} lines and {MAX_CSV_COLUMNS:,} cells, got more"
                )
            yield line

    for row in csv.reader(counted(), strict=True):
        lines = 0
        if any(row):
            rows += 1
            _check_count(rows, name)
            yield row


def _check_head(head: list[str], name: str) -> list[str]:
    if "file" not in head or len(set(head)) < len(head) or len(head) < 2 or len(head) > MAX_CSV_COLUMNS:
        wanted = f"{name} must begin with names of columns, all different, file and others"
        raise FileFormatError(f"{wanted}, got {head[:5]}")
    return head


class _Scores(Mapping[str, float]):
    """Numbers by the names of the columns, which all lines share."""

    def __init__(self, columns: dict[str, int], numbers: array.array[float]) -> None:
        self._columns, self._numbers = columns, numbers

    def __getitem__(self, key: str) -> float:
        return self._numbers[self._columns[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _numbered(cells: dict[str, str], name: str, line: int) -> list[dict[str, Any]]:
    """``label1, score1, label2, …`` as a list; empty cells end it."""
    places: dict[int, dict[str, str]] = {}
    for column, cell in cells.items():
        match = _NUMBERED.fullmatch(column)
        assert match is not None
        places.setdefault(int(match[2]), {})[match[1]] = cell
    pairs = [places[place] for place in sorted(places) if any(places[place].values())]
    return [{"label": pair.get("label"), "score": _number(pair.get("score", ""), name, line)} for pair in pairs]


def _entry(entry: Any, name: str) -> tuple[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise FileFormatError(f'{name} must hold objects with "file", got {json.dumps(entry)[:80]}')
    for key in ("top", "scores", "label"):
        if key in entry:
            return entry["file"], entry[key]
    raise FileFormatError(f"{name} must say label, scores or top of each file, got {sorted(entry)[:5]}")


def _by_file(entries: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    if repeated := most_repeated([file for file, _ in entries]):
        raise FileFormatError(f"{name} must hold each file once, got {repeated[0][:80]!r} twice")
    found = dict(entries)
    if not found:
        raise FileFormatError(f"{name} must hold at least one answer, got none")
    return found


def _class(text: str) -> str | int:
    """A class number, else a name. Names that are numbers are found by number, which is their place."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else text


def _number(text: str, name: str, line: int) -> float:
    if not _NUMBER.fullmatch(text):
        raise FileFormatError(f"{name} must hold numbers, got {text[:40]!r} in line {line}")
    return float(text)


def _check_count(count: int, name: str) -> None:
    if count > MAX_LINES:
        raise FileFormatError(f"{name} must have at most {MAX_LINES:,} lines, got {count:,}")
