"""What `sac-fast store` prints. Names and messages are untrusted: tables show them through `escape_text`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table, print_pairs

if TYPE_CHECKING:
    from ...store import CheckReport, ModelRecord, SourceDistance

_STYLES = {"done": "green", "failed": "red", "redo": "yellow"}


def _values(record: ModelRecord) -> dict[str, Any]:
    return {**dataclasses.asdict(record), "tags": list(record.tags)}


def show_records(records: Iterable[ModelRecord], as_json: bool) -> None:
    """Print the models of a store, and how many there are of each status."""
    if as_json:
        print_json({"models": [_values(record) for record in records]}, "store.ls")
        return
    table = make_table(("model", "status", "format", "architecture", "outputs", "probes", "tags or reason"))
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
        tags = ", ".join(record.tags)
        table.add_row(
            Text(escape_text(record.name, 80)),
            Text(record.status, style=_STYLES[record.status]),
            Text(escape_text(record.format, 60)),
            Text(escape_text(record.architecture or "", 50)),
            f"{record.n} × {record.k}" if record.status == "done" else "",
            record.probe_hash[7:15],
            Text(escape_text(tags if record.status == "done" else f"{record.reason}: {record.message}", 80)),
        )
    out = console()
    if counts:
        out.print(table)
    total = sum(counts.values())
    parts = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    out.print(f"{total} model{'' if total == 1 else 's'}" + (f": {parts}" if parts else ""))


def show_model(records: Sequence[ModelRecord], distances: Sequence[SourceDistance], as_json: bool) -> None:
    """Print the records of one model, one for each probe set, and its distances."""
    if as_json:
        asdict = dataclasses.asdict
        print_json({"models": [*map(_values, records)], "distances": [*map(asdict, distances)]}, "store.show")
        return
    for record in records:
        values = {name: value for name, value in _values(record).items() if value not in (None, "", [], {})}
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
        print(f"note: {note}")
    if report.clean:
        print(f"{report.results} results, all as they were written")
    else:
        open_ = sum(found.repair is None for found in report.findings)
        print(
            f"{report.results} results read, {len(report.findings)} findings"
            + (f", {open_} to repair (--repair)" if open_ else ", all repaired")
        )
