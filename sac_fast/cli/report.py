"""`sac-fast report`: write the report on a case, and check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .endings import SignKey
from .exit_codes import FINDING
from .options import Json, file_option

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Folder = Annotated[
    Path, Argument(metavar="DIR", exists=True, file_okay=False, help="Folder of `audit`, or of `verify --report`.")
]


@app.command()
def make(
    folder: Folder,
    sign: SignKey = None,
    pdf: Annotated[
        bool | None, Option("--pdf/--no-pdf", help="report.pdf; default: where Chromium or WeasyPrint is there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write report.json, report.html, report.pdf and SHA256SUMS of a case anew. Takes seconds."""
    from ..report import write_report
    from .render.report import show_written

    show_written(write_report(folder, sign=sign, pdf=pdf), as_json)


@app.command()
def check(
    folder: Folder,
    key: Annotated[
        Path | None,
        file_option("PEM file of the public key that must have signed: from the owner, never from the report."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute every number again from the fingerprints, compare all hashes, verify the signature.

    Exit code 5 if anything is wrong. Without --key a sound report is consistent with itself, no more.
    """
    from ..report import check_report
    from .render.report import show_checked

    found = check_report(folder, key=key)
    show_checked(found, as_json)
    if not found.sound:
        raise typer.Exit(FINDING)
