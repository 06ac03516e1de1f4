"""What `sac-fast store` prints. Names and messages are texts of strangers: for people, all go through `printable`."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...io.text import printable, short

if TYPE_CHECKING:
    from ...store import CheckReport, ModelRecord, SourceDistance

_STYLES = {"done": "green", "failed": "red", "redo": "yellow"}


def _console() -> Console:
    # In a pipe rich assumes 80 columns and would cut the table's words.
    console = Console(highlight=False, markup=False, emoji=False)
    width = max(shutil.get_terminal_size((80, 24)).columns, 160)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=width)


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _values(record: ModelRecord) -> dict[str, Any]:
    return {**dataclasses.asdict(record), "tags": list(record.tags)}


def show_records(records: Iterable[ModelRecord], as_json: bool) -> None:
    """Print the models of a store, and how many there are of each status."""
    if as_json:
        _json({"models": [_values(record) for record in records]})
        return
    table = _table("model", "status", "format", "architecture", "outputs", "probes", "tags or reason")
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
        tags = ", ".join(record.tags)
        table.add_row(
            Text(short(record.name, 80)),
            Text(record.status, style=_STYLES[record.status]),
            Text(short(record.format)),
            Text(short(record.architecture or "", 50)),
            f"{record.n} × {record.k}" if record.status == "done" else "",
            record.probe_hash[7:15],
            Text(short(tags if record.status == "done" else f"{record.reason}: {record.message}", 80)),
        )
    console = _console()
    if counts:
        console.print(table)
    total = sum(counts.values())
    parts = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    console.print(f"{total} model{'' if total == 1 else 's'}" + (f": {parts}" if parts else ""))


def show_model(records: Sequence[ModelRecord], distances: Sequence[SourceDistance], as_json: bool) -> None:
    """Print all that is known of one model, under each probe set."""
    if as_json:
        _json(
            {
                "models": [_values(record) for record in records],
                "distances": [dataclasses.asdict(found) for found in distances],
            }
        )
        return
    console = _console()
    for record in records:
        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in _values(record).items():
            if value not in (None, "", [], {}):
                text = value if isinstance(value, str) else json.dumps(value)
                table.add_row(Text(name.replace("_", " "), style="bold"), Text(printable(text)))
        console.print(table)
    if distances:
        table = _table("distance", "source", "metric", "comparison", "probes")
        for found in distances:
            table.add_row(
                f"{found.distance:.6g}",
                Text(short(found.source_name)),
                Text(short(found.metric)),
                Text(short(found.comparison)),
                Text(short(found.probe_hash[7:15])),
            )
        console.print(table)


def show_removed(models: int, unused: int, as_json: bool) -> None:
    """Print how much was removed."""
    if as_json:
        _json({"removed": models, "unused_results_removed": unused})
        return
    print(f"{models} removed" + (f", and {unused} unused results" if unused else ""))


def show_exported(out: Path, rows: int, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        _json({"file": str(out), "rows": rows})
        return
    print(f"{rows} row{'' if rows == 1 else 's'} in {printable(str(out))}")


def show_check(report: CheckReport, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        _json(
            {
                "folder": str(report.folder),
                "clean": report.clean,
                "sound": report.sound,
                "results": report.results,
                "findings": [dataclasses.asdict(found) for found in report.findings],
                "notes": list(report.notes),
            }
        )
        return
    for found in report.findings:
        line = f"{found.kind}: {printable(found.what)}: {printable(found.detail)}"
        print(line if found.repair is None else f"{line} -> {printable(found.repair)}")
    for note in report.notes:
        print(f"note: {note}")
    if report.clean:
        print(f"{report.results} results, all as they were written")
    else:
        open_ = sum(found.repair is None for found in report.findings)
        print(
            f"{report.results} results read, {len(report.findings)} findings"
            + (f", {open_} to repair (--repair)" if open_ else ", all repaired")
        )
