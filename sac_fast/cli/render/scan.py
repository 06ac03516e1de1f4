"""What `sac-fast scan` prints: a summary for people, or one JSON line for each model and one for the whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ...io.console import console, schema_id
from ...io.text import escape_text
from .common import print_pairs, show_notes

if TYPE_CHECKING:
    from ...scan.progress import ScanSummary

_MAX_SHOWN = 10
_MAX_LINE = 160


def json_line(event: Any) -> None:
    """Print one JSON line and flush, so that the reader of a pipe sees it at once."""
    sys.stdout.write(json.dumps({"schema": schema_id("scan"), **event}, allow_nan=False) + "\n")
    sys.stdout.flush()


class ScanReport:
    """Collects failures for the summary at the end, or prints JSON lines.

    Args:
        as_json: print a line for each event instead.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._failures: list[dict[str, Any]] = []
        self._listed: dict[str, list[dict[str, Any]]] = {"passed-over": [], "claim": []}
        self._noted = 0

    def take(self, event: dict[str, Any]) -> None:
        """Take one event of `scan_models`."""
        if self._as_json:
            json_line(event)
        elif event["event"] != "model":
            self._listed[event["event"]].append(event)
        elif event["status"] == "done" and "message" in event:
            self._noted += 1
            if self._noted <= _MAX_SHOWN:
                show_notes([f"{event['name']}: {event['message']}"])
        elif event["status"] == "failed" and len(self._failures) < _MAX_SHOWN:
            self._failures.append(event)

    def finish(self, summary: ScanSummary, store: Path) -> None:
        """Print the summary."""
        if self._as_json:
            json_line({**summary.to_dict(), "store": str(store)})
            return
        out = console()
        failed = summary.failed + summary.known_failed
        rows = {
            "models": f"{summary.models:,}",
            "done": f"{summary.done:,} now, {summary.known - summary.known_failed:,} known before",
            "failed": f"{summary.failed:,} now, {summary.known_failed:,} known before"
            + (" (--retry-failed runs them again)" if summary.known_failed else ""),
            "time": f"{summary.seconds:.1f} s, {summary.models_per_second:.1f} models/s",
            "store": str(store),
        }
        if summary.unrestricted:
            rows["no sandbox"] = "; ".join(summary.unrestricted)
        if summary.retagged:
            rows["tags"] = f"of {summary.retagged:,} known changed"
        if summary.reasons:
            counted = sorted(summary.reasons.items(), key=lambda item: (-item[1], item[0]))
            rows["reasons"] = ", ".join(f"{reason} {count:,}" for reason, count in counted)
        if summary.renamed:
            rows["renamed"] = f"{summary.renamed:,}, of names that the store knows from other files (--replace)"
        if summary.passed_over:
            rows["passed over"] = ", ".join(f"{count:,} × {what}" for what, count in summary.passed_over.items())
        if summary.unbelieved is not None:
            about = f"what it says of {summary.claimed:,} models was not believed (--manifest)"
            rows["manifest"] = f"{summary.unbelieved}: {about}"
        print_pairs(rows)
        self._print_listed("passed-over", lambda event: f"passed over: {event['name']}: {event['what']}")
        self._print_listed("claim", lambda event: f"not believed: {event['name']}: {json.dumps(event['claims'])}")
        show_notes(summary.low_accuracy[:_MAX_SHOWN])
        if (more := len(summary.low_accuracy) - _MAX_SHOWN) > 0:
            show_notes([f"and {more:,} more of low accuracy (--json names all)"])
        for event in self._failures:
            line = ": ".join(escape_text(event[key]) for key in ("name", "reason", "message"))
            out.print(Text(line, style="red"))
        if failed > len(self._failures):
            out.print(Text(f"and {failed - len(self._failures):,} more (sac-fast store ls lists them)", style="red"))
        if self._noted > _MAX_SHOWN:
            show_notes([f"and {self._noted - _MAX_SHOWN:,} more notes (--json prints all)"])
        if summary.interrupted:
            out.print(Text(f"stopped by {summary.interrupted}; the same command goes on from here", style="yellow"))

    def _print_listed(self, kind: str, describe: Callable[[dict[str, Any]], str]) -> None:
        events = self._listed[kind]
        for event in events[:_MAX_SHOWN]:
            console().print(Text(escape_text(describe(event), _MAX_LINE)))
        if len(events) > _MAX_SHOWN:
            console().print(f"and {len(events) - _MAX_SHOWN:,} more (--json names them)")
