"""What `sac-fast store` prints. Names and messages are untrusted: tables show them through `escape_text`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from ...models.file_origin import hub_address
from .common import make_table, print_pairs

if TYPE_CHECKING:
    from ...store import CheckReport, ModelRecord, SourceDistance

_COLUMNS = ("model", "status", "format", "architecture", "outputs", "probes", "tags or reason")
_MAX_TABLE = 500  # rows that are laid out together
_STYLES = {"done": "green", "failed": "red", "redo": "yellow"}


def _values(record: ModelRecord) -> dict[str, Any]:
    return {**dataclasses.asdict(record), "tags": list(record.tags), **hub_address(record.path)}


def show_records(records: Iterable[ModelRecord], as_json: bool) -> None:
    """Print the models of a store, many of them line by line as they are read, and the number of each status."""
    if as_json:
        print_json({"models": [_values(record) for record in records]}, "store.ls")
        return
    counts: dict[str, int] = {}
    rows = (_count(record, counts) for record in records)
    first = list(islice(rows, _MAX_TABLE))
    second = next(rows, None)
    out = console()
    if second is not None:
        _print_lines(first, chain([second], rows))
    elif first:
        table = make_table(_COLUMNS)
        for row in first:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "") if i == 1 else "") for i, cell in enumerate(row)))
        out.print(table)
    total = sum(counts.values())
    parts = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    out.print(f"{total} model{'' if total == 1 else 's'}" + (f": {parts}" if parts else ""))


def _count(record: ModelRecord, counts: dict[str, int]) -> tuple[str, ...]:
    """The cells of a model's row."""
    counts[record.status] = counts.get(record.status, 0) + 1
    is_done = record.status == "done"
    return (
        escape_text(record.name, 80),
        record.status,
        escape_text(record.format, 60),
        escape_text(record.architecture or "", 50),
        f"{record.n} × {record.k}" if is_done else "",
        record.probe_hash[7:15],
        escape_text(", ".join(record.tags) if is_done else f"{record.reason}: {record.message}", 80),
    )


def _print_lines(first: Sequence[tuple[str, ...]], rest: Iterable[tuple[str, ...]]) -> None:
    """Print rows as they come, in columns as wide as the first rows need."""
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *first, strict=True)]
    for row in chain([_COLUMNS], first, rest):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_model(records: Sequence[ModelRecord], distances: Sequence[SourceDistance], as_json: bool) -> None:
    """Print the records of one model, one for each probe set, and its distances."""
    if as_json:
        asdict = dataclasses.asdict
        print_json({"models": [*map(_values, records)], "distances": [*map(asdict, distances)]}, "store.show")
        return
    for record in records:
        values = {name: value for name, value in _values(record).items() if value not in (None, "", [], {})}
        if record.status == "done" and record.file_sha256 is None:
            values["file_sha256"] = "not recorded: by an earlier version"
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        print_pairs({name.replace("_", " "): text for name, text in texts.items()})
    if distances:
        table = make_table(("distance", "source", "metric", "comparison", "probes"))
        for found in distances:
            names = (found.source_name, found.metric, found.comparison, found.probe_hash[7:15])
            table.add_row(f"{found.distance:.6g}", *(Text(escape_text(text, 60)) for text in names))
        console().print(table)


def show_removed(models: int, unused: int, as_json: bool) -> None:
    """Print the numbers of deleted records and results."""
    if as_json:
        print_json({"removed": models, "unused_results_removed": unused}, "store.rm")
        return
    print(f"{models} removed" + (f", and {unused} unused results" if unused else ""))


def show_exported(out: Path, rows: int, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        print_json({"file": str(out), "rows": rows}, "store.export")
        return
    print(f"{rows} row{'' if rows == 1 else 's'} in {escape_text(out)}")


def show_indexed(models: int, as_json: bool) -> None:
    """Print the number of models whose vectors were added."""
    if as_json:
        print_json({"added": models}, "store.index")
        return
    print(f"vectors of {models} model{'' if models == 1 else 's'} added")


def show_check(report: CheckReport, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        findings = [dataclasses.asdict(found) for found in report.findings]
        counts = {"clean": report.clean, "sound": report.sound, "results": report.results}
        result = {"folder": str(report.folder), **counts, "findings": findings, "notes": list(report.notes)}
        print_json(result, "store.check")
        return
    for found in report.findings:
        line = f"{found.kind}: {escape_text(found.what)}: {escape_text(found.detail)}"
        print(line if found.repair is None else f"{line} -> {escape_text(found.repair)}")
    for note in report.notes:
        print(f"note: {escape_text(note)}")
    if report.clean:
        print(f"{report.results} results, all as they were written")
    else:
        open_ = sum(found.repair is None for found in report.findings)
        print(
            f"{report.results} results read, {len(report.findings)} findings"
            + (f", {open_} to repair (--repair)" if open_ else ", all repaired")
        )
