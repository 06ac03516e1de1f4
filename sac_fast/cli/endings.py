"""What a command that judges does at the end: a report, and its exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..io.text import escape_text
from .checks import refuse_if
from .exit_codes import DERIVED, UNDECIDED
from .options import file_option

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..verify.verdicts import Verdicts

SignKey = Annotated[
    Path | None, file_option("Sign the report: PEM file of a private key (Ed25519, ECDSA or RSA).", "--sign")
]


@dataclass(frozen=True)
class EndOptions:
    """Report and exit code."""

    report: Annotated[
        Path | None,
        Option(help="Write a report to this new folder: evidence, report.html, report.json, report.pdf if possible."),
    ] = None
    sign: SignKey = None
    fail_on: Annotated[
        list[str] | None,
        Option(
            metavar="[derived|undecided]",
            help="Exit code 3 if a suspect is called derived, 4 if one is inconclusive; repeatable. Otherwise 0.",
        ),
    ] = None

    def check(self) -> None:
        """Refuse what cannot be written before anything is computed."""
        wrong = sorted({*(self.fail_on or [])} - {"derived", "undecided"})
        refuse_if(bool(wrong), "--fail-on", f"must be derived or undecided, got {wrong}")
        refuse_if(self.sign is not None and self.report is None, "--sign", "goes with --report")
        if self.report is not None and self.report.exists():
            empty = self.report.is_dir() and not any(self.report.iterdir())
            refuse_if(not empty, "--report", f"must name a new folder, got {str(self.report)!r}")

    def write(
        self,
        found: Verdicts,
        source: Fingerprint,
        suspects: Mapping[str, Fingerprint],
        evidence: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        claims: Mapping[str, Sequence[Mapping[str, str]]],
        files: Mapping[str, Path],
        seconds: float,
    ) -> None:
        """Write the report, and say to stderr where it is."""
        from ..report import save_case, write_report

        assert self.report is not None
        # where the score's name has the metric in it, the case still has to say which
        known = {name: settings[name] for name in ("ground", "score", "metric", "comparison", "kinds")}
        command = shlex.join(["sac-fast", *sys.argv[1:]])
        save_case(
            self.report, found, source=source, suspects=suspects, settings=known, claims=claims, files=files,
            command=command, seconds=round(seconds, 1), **evidence,
        )  # fmt: skip
        written = write_report(self.report, sign=self.sign)
        print(f"report: {escape_text(', '.join(map(str, written)))}", file=sys.stderr)

    def exit(self, verdicts: Iterable[str]) -> None:
        """Leave with the code that --fail-on asks for, if any."""
        words, asked = set(verdicts), self.fail_on or []
        if "derived" in asked and any(word.startswith("derived") for word in words):
            raise typer.Exit(DERIVED)
        if "undecided" in asked and "inconclusive" in words:
            raise typer.Exit(UNDECIDED)
