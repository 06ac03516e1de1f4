"""`sac-fast bench`: check the ops, then time them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from .options import Json, Quiet


def bench(
    out: Annotated[Path, Option(help="Folder for results.json, results.csv and plot.png.")] = Path("sac-fast-bench"),
    quick: Annotated[bool, Option("--quick", help="Small sizes, no targets.")] = False,
    threads: Annotated[
        int | None, Option(min=1, max=4096, help="Threads of ours and of the peers; default: 2.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace the results in the folder.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the ops against the definition, then time them beside their peers."""
    from ..bench.report import make_report

    make_report(out, quick=quick, threads=threads, force=force, as_json=as_json, progress=not quiet)
