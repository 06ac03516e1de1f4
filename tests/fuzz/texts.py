"""Changes of one value of a text that has a syntax: of TOML, and of a cell of a table."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Callable
from random import Random
from typing import Any

from .json_values import changed_json

_CELLS = (
    *("", "0", "-1", "1e308", "nan", "1_0", "0,5", "1.234", "x", '"', "'", "#", "é", "²", "9" * 400, "a b", "\r"),
    *("{}", "=1"),
)


def changed_toml(content: bytes, random: Random, damage: Callable[[bytes], bytes]) -> bytes:
    """TOML with one of its values changed; dates stay only where nothing is changed.

    Raises:
        ValueError: no TOML.
    """
    changed = changed_json(json.loads(json.dumps(tomllib.loads(content.decode()), default=str)), random)
    if not isinstance(changed, dict):
        raise ValueError("no table")
    lines = []
    for key, value in changed.items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for one in value:
                lines += [f"[[{_key(key)}]]", *(f"{_key(name)} = {_toml(inner)}" for name, inner in one.items())]
        elif isinstance(value, dict):
            lines += [f"[{_key(key)}]", *(f"{_key(name)} = {_toml(inner)}" for name, inner in value.items())]
        else:
            lines.insert(0, f"{_key(key)} = {_toml(value)}")
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def _key(name: str) -> str:
    return json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if value is None:
        return "1979-05-27T07:32:00"  # TOML has no null, and JSON no date
    if type(value) is float:
        return repr(value)
    return hex(value) if type(value) is int and value > 1 << 40 else json.dumps(value)


def changed_table(content: bytes, random: Random, damage: Callable[[bytes], bytes]) -> bytes:
    """A table of text with a cell, a line or a column changed; all lines stay as long as the first where it is one.

    Raises:
        ValueError: no table of several columns.
    """
    text = content.decode("utf-8-sig")
    delimiter = max(",;\t ", key=text.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not rows or not rows[0]:
        raise ValueError("no table")
    kind, at = random.random(), random.randrange(len(rows))
    if kind < 0.15:
        rows.insert(random.randrange(len(rows) + 1), rows[at])
    elif kind < 0.2:
        del rows[at]
    elif kind < 0.35:  # a column: numbers of the rows, a name of them, or one again
        column = random.randrange(len(rows[0]))
        start = random.choice((0, 1, -1))
        new = random.choice((lambda i, row: str(i + start), lambda i, row: f"n{i}", lambda i, row: row[column]))
        rows = [[*row[:column], new(i, row), *row[column:]] for i, row in enumerate(rows) if column < len(row)]
    elif kind < 0.4:
        delimiter = random.choice(",;\t ")
    else:
        place = random.randrange(len(rows[at])) if rows[at] else 0
        rows[at] = [*rows[at][:place], _cell(rows[at][place : place + 1], random, damage), *rows[at][place + 1 :]]
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter, lineterminator=random.choice(("\n", "\n", "\r\n"))).writerows(rows)
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    return mark + made.getvalue().encode("utf-8", "surrogatepass")


def _cell(cells: list[str], random: Random, damage: Callable[[bytes], bytes]) -> str:
    cell = cells[0] if cells else ""
    if cell.startswith(("{", "[")):
        return json.dumps(changed_json(json.loads(cell), random))
    if random.random() < 0.3:
        return damage(cell.encode()).decode("utf-8", "replace")
    try:
        return random.choice((repr(float(cell) + random.choice((1, -1, 0.5, 1e9))), *_CELLS))
    except ValueError:
        return random.choice((cell + "x", cell.upper(), *_CELLS))
