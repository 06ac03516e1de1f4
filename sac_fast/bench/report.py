"""What `sac-fast bench` does: run, keep, draw, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..io.console import print_json
from .plot import PLOT, write_plot
from .results import write_csv, write_json
from .run import OPS, run_bench
from .show import show_results

RESULTS_JSON = "results.json"
RESULTS_CSV = "results.csv"


def make_report(
    out: Path,
    *,
    ops: Sequence[str] = OPS,
    quick: bool,
    threads: int | None,
    force: bool,
    as_json: bool,
    progress: bool,
) -> None:
    """Run the benchmarks, write results.json, results.csv and plot.png, print tables or JSON.

    results.json is written after each case: what is cut short loses no more than one.

    Args:
        out: the folder; made if its parent is there.
        ops: names among `OPS`.
        quick, threads, progress: as `run_bench` takes them.
        force: whether results that are there may be replaced.
        as_json: print the results as JSON instead of tables.

    Raises:
        FileExistsError: the folder holds results and `force` is not given.
        FigureError: everything else is written and printed, but the plot cannot be made.
    """
    files = [out / name for name in (RESULTS_JSON, RESULTS_CSV, PLOT)]
    for file in files:
        if file.exists() and not force:
            raise FileExistsError(f"--out must hold no results yet, got {str(file)!r} (--force replaces it)")
    # refused before the work is done, not after
    out.mkdir(exist_ok=True)
    results = run_bench(
        ops, quick=quick, threads=threads, progress=progress, keep=lambda found: write_json(found, files[0])
    )
    write_json(results, files[0])
    write_csv(results, files[1])
    if as_json:
        print_json(results, "bench")
    else:
        show_results(results)
    if any(record["sweep"] for record in results["records"]):
        write_plot(results, files[2])
