"""What `sac-fast report` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import print_pairs

if TYPE_CHECKING:
    from ...report import ReportCheck


def show_written(paths: Sequence[Path], as_json: bool) -> None:
    """Print the files that were written."""
    if as_json:
        print_json({"files": [str(path) for path in paths]}, "report.make")
        return
    for path in paths:
        print(escape_text(path))


def show_checked(found: ReportCheck, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        print_json(found.to_dict(), "report.check")
        return
    out = console()
    out.print(Text("sound" if found.sound else "not sound", style="green" if found.sound else "bold red"))
    print_pairs(
        {
            "files with their hash": str(found.files),
            "numbers computed again": str(found.numbers),
            "signed by": found.signed_by or "nobody that was verified",
        }
    )
    for finding in found.findings:
        out.print(Text(escape_text(f"finding: {finding}"), style="red"))
    for note in found.notes:
        out.print(Text(escape_text(f"note: {note}"), style="yellow"))
