"""What `sac-fast scan` prints: a summary for people, or one JSON line for each model and one for the whole."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...io.text import printable

if TYPE_CHECKING:
    from ...scan.summary import ScanSummary

_SHOWN = 10


def json_line(event: Any) -> None:
    """Print one line at once, so that a reader at the other end of a pipe sees it."""
    sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
    sys.stdout.flush()


class ScanReport:
    """Collects what the table at the end shows.

    Args:
        as_json: print a line for each event instead.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._failures: list[dict[str, Any]] = []

    def take(self, event: dict[str, Any]) -> None:
        """One event of `sac_fast.scan.run.scan`."""
        if self._as_json:
            json_line(event)
        elif event["status"] == "failed" and len(self._failures) < _SHOWN:
            self._failures.append(event)

    def finish(self, summary: ScanSummary, store: Path) -> None:
        """The end of a scan."""
        if self._as_json:
            json_line({**summary.to_dict(), "store": str(store)})
            return
        width = shutil.get_terminal_size((80, 24)).columns
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=max(width, 140))
        failed = summary.failed + summary.known_failed
        rows = {
            "models": f"{summary.models:,}",
            "done": f"{summary.done:,} now, {summary.known - summary.known_failed:,} known before",
            "failed": f"{summary.failed:,} now, {summary.known_failed:,} known before",
            "time": f"{summary.seconds:.1f} s, {summary.models_per_second:.1f} models/s",
            "store": str(store),
        }
        if summary.retagged:
            rows["tags"] = f"of {summary.retagged:,} known changed"
        if summary.reasons:
            counted = sorted(summary.reasons.items(), key=lambda item: (-item[1], item[0]))
            rows["reasons"] = ", ".join(f"{reason} {count:,}" for reason, count in counted)
        pairs = Table(show_header=False, box=None, pad_edge=False)
        for name, value in rows.items():
            pairs.add_row(Text(name, style="bold"), Text(printable(value)))
        console.print(pairs)
        for event in self._failures:
            told = ": ".join(printable(str(event[key])) for key in ("name", "reason", "message"))
            console.print(Text(told, style="red"))
        if failed > len(self._failures):
            console.print(
                Text(f"and {failed - len(self._failures):,} more (sac-fast store ls lists them)", style="red")
            )
        if summary.interrupted:
            console.print(Text(f"stopped by {summary.interrupted}; the same command goes on from here", style="yellow"))
