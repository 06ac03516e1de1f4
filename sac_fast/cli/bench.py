"""`sac-fast bench`: check the ops, then time them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from .checks import refuse_if
from .options import Json, Quiet


def bench(
    out: Annotated[Path, Option(help="Folder for results.json, results.csv and plot.png.")] = Path("sac-fast-bench"),
    only: Annotated[
        list[str] | None, Option(metavar="OP", help="One op alone, such as nearest_models; may be repeated.")
    ] = None,
    quick: Annotated[bool, Option("--quick", help="Small sizes, no targets; a minute at most.")] = False,
    threads: Annotated[
        int | None, Option(min=1, max=4096, help="Threads of ours and of the peers; default: 2.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace the results in the folder.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the ops against the definition, then time them beside their peers."""
    from ..bench import OPS
    from ..bench.report import make_report

    for op in only or ():
        refuse_if(op not in OPS, "--only", f"must be among {', '.join(OPS)}, got {op!r}")
    # in the order of the table, whatever order they were named in
    ops = [op for op in OPS if not only or op in only]
    make_report(out, ops=ops, quick=quick, threads=threads, force=force, as_json=as_json, progress=not quiet)
