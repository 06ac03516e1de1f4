"""Tables for notebooks; every text is untrusted and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import html_text


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", notes: Iterable[str] = ()
) -> str:
    """A table as HTML.

    Args:
        columns: headings.
        rows: cells.
        caption: above the table.
        notes: a list below it.
    """

    def row(cells: Iterable[Any], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html_text(cell)}</{tag}>' for cell in cells)}</tr>"

    head = row(columns, "th") if columns else ""
    body = "".join(row(cells, "td") for cells in rows)
    about = f"<caption>{html_text(caption)}</caption>" if caption else ""
    listed = "".join(f"<li>{html_text(note)}</li>" for note in notes)
    return f"<table>{about}{head}{body}</table>" + (f"<ul>{listed}</ul>" if listed else "")


def html_pairs(caption: str, pairs: Mapping[str, Any], notes: Iterable[str] = ()) -> str:
    """Names and values as HTML; values that are None are left out."""
    return html_table((), ((name, value) for name, value in pairs.items() if value is not None), caption, notes)
