"""The one way to show untrusted text, by where it goes: one function a sink, each on top of `escape_text`.

| sink | function |
| --- | --- |
| terminal, log, error, JSON for people | `escape_text` |
| cell of a CSV file | `csv_text` |
| Markdown | `markdown_text` |
| HTML, SVG and other XML | `html_text` |
| Graphviz DOT | `dot_text` |
| figure of matplotlib | `figure_text` |
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# What spreadsheets take for a formula, ASCII and full-width: where a cell starts, or another delimiter starts one.
_FORMULA = "=+\\-@＝＋－＠"
_STARTS_FORMULA = re.compile(rf"['\s\"]*[{_FORMULA}]|'")
_HIDDEN_FORMULA = re.compile(rf"(;['\s\"]*)(?=[{_FORMULA}])")
#: Characters of an error on a terminal: values that it repeats may have any length.
MAX_ERROR = 1000
_MAX_FIGURE_TEXT = 40  # longer ones leave no space for what is drawn
_MARKDOWN = re.compile(r"[\\`*\[\]|~$!]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|@(?=[\w.-]+\.\w)")


def escape_text(text: object, max_length: int | None = None) -> str:
    r"""The text on one line, with every character escaped that is not printable.

    Control characters (a terminal obeys them), line ends (they forge lines of a log), bidirectional controls (they make
    one name look like another), zero-width characters and lone surrogates become ``\x1b``, ``\n``, ``\u202e`` and so
    on. That is how `repr` spells them, so a name looks the same in an error and in a table. Escaping twice changes
    nothing; a name that holds a backslash can equal the escaped form of another.

    Args:
        text: any text, or an object whose `str` is shown.
        max_length: longest result in characters; the middle goes, since names differ at their ends. None: no limit.

    Returns:
        The escaped text.
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    if max_length is None or len(line) <= max_length:
        return line
    head = max_length // 2
    return f"{line[:head]}…{line[len(line) - (max_length - head - 1) :]}"


def csv_text(value: object) -> str:
    r"""The text as a cell that no spreadsheet takes for a formula: with ``'`` before one, as spreadsheets mark text.

    Spreadsheets look past leading spaces, take full-width characters for ASCII, and where the delimiter is a semicolon
    they split cells that we did not. Quoting is the CSV writer's.
    """
    text = _HIDDEN_FORMULA.sub(r"\1'", escape_text(value))
    return f"'{text}" if _STARTS_FORMULA.match(text) else text


def markdown_text(value: object) -> str:
    """The text inside a line or a cell of Markdown: no markup, link, formula, column, or HTML comes of it."""
    text = _MARKDOWN.sub(r"\\\g<0>", escape_text(value))
    return html.escape(text, quote=False)


def html_text(value: object) -> str:
    """The text inside an element or an attribute of HTML, SVG or other XML."""
    return html.escape(escape_text(value))


def dot_text(value: object) -> str:
    """The text as a quoted string of DOT."""
    return '"' + escape_text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def figure_text(value: object) -> str:
    """The text as matplotlib draws it: short, no formula, and no name that a legend leaves out for its first ``_``."""
    text = escape_text(value, _MAX_FIGURE_TEXT).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def most_repeated(names: Sequence[str]) -> tuple[str, int] | None:
    """The most frequent of names and how often it comes; None where all are different."""
    # most lists are, and a set of very many names takes a tenth of what counting takes
    return None if len(set(names)) == len(names) else Counter(names).most_common(1)[0]


def map_texts(values: Any, change: Callable[[str], str]) -> Any:
    """JSON-able values with every text in them changed, keys included."""
    if isinstance(values, str):
        return change(values)
    if isinstance(values, Mapping):
        return {map_texts(key, change): map_texts(value, change) for key, value in values.items()}
    return [map_texts(value, change) for value in values] if isinstance(values, (list, tuple)) else values
