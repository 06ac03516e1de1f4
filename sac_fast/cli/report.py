"""`sac-fast report`: write the report on a case, and check one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .checks import check_output_path, refuse_if
from .endings import SignKey
from .exit_codes import FINDING
from .help import HelpCommand
from .options import Force, Json, file_option

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Folder = Annotated[
    Path, Argument(metavar="DIR", exists=True, file_okay=False, help="Folder of `audit`, or of `verify --report`.")
]


@app.command(cls=HelpCommand)
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


@app.command(cls=HelpCommand)
def check(
    folder: Folder,
    key: Annotated[
        Path | None,
        file_option("PEM file of the public key that must have signed: from the owner, never from the report."),
    ] = None,
    no_limit: Annotated[
        bool, Option("--no-limit", help="Compute again what takes more than some minutes, however long.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compute every number again from the fingerprints, compare all hashes, verify the signature.

    Exit code 5 if anything is wrong. Without --key a sound report is consistent with itself, no more.
    """
    from ..report import check_report
    from .render.report import show_checked

    found = check_report(folder, key=key, **({"max_products": math.inf} if no_limit else {}))
    show_checked(found, as_json)
    if not found.sound:
        raise typer.Exit(FINDING)


@app.command(cls=HelpCommand)
def export(
    folder: Folder,
    out: Annotated[Path, Argument(help="*.sarif: SARIF 2.1.0; *.cdx.json: CycloneDX with ancestors.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the verdicts for other programs."""
    from ..io.files import atomic_write
    from ..report import load_case
    from ..report.document import make_document
    from .render.report import show_written

    ending = next((known for known in (".sarif", ".cdx.json") if out.name.endswith(known)), None)
    refuse_if(ending is None, "OUT", f"must end in .sarif or .cdx.json, got {str(out)!r}")
    check_output_path(out, force, "OUT")
    report = make_document(load_case(folder))
    if ending == ".sarif":
        from ..report.files import to_text
        from ..report.sarif import sarif_log, verdict_results

        text = to_text(sarif_log(verdict_results(report)))
    else:
        from ..report.cyclonedx import cyclonedx_text

        text = cyclonedx_text(report)
    with atomic_write(out) as handle:
        handle.write(text.encode())
    show_written([out], as_json)
