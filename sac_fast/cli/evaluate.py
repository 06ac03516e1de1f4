"""`sac-fast evaluate`: methods on a zoo of which it is known who was stolen; and presets for `sac-fast verify`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Force, Json, Quiet, free

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..verify.fingerprints import Verification

Preset = Annotated[
    str | None, typer.Option(help="sac-jc, robust or calibrated: a named score instead of metric and comparison.")
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Of `evaluate --fit`, for --preset calibrated."),
]
RESULTS, TABLE, DISTANCES = "results.json", "results.md", "results.csv"


def evaluate(
    zoo: Annotated[
        Path | None, typer.Argument(file_okay=False, help="Folder with zoo.json; with --quick it may be left out.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv, results.md and figures.")] = Path(
        "sac-fast-evaluation"
    ),
    preset: Annotated[
        list[str] | None, typer.Option(help="sac-jc, robust, calibrated; repeatable; default: all of them.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="A fixed score: TRANSFORM/METRIC/COMPARISON@PROBES:COUNT or agreement@PROBES; repeatable."),
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSON of benchmarks/bench_baselines.py, same zoo.")
    ] = None,
    fit: Annotated[
        Path | None, typer.Option(help="Fit the calibrated score to the zoo's source and write it, for `verify`.")
    ] = None,
    null_share: Annotated[
        float, typer.Option(help="With --fit: share of the independents kept apart as nulls of later verdicts.")
    ] = 0.5,
    grid: Annotated[bool, typer.Option("--grid", help="Every fixed score there is as well (minutes).")] = False,
    time_queries: Annotated[
        bool,
        typer.Option("--time-queries", help="Time the source on the probes too; imports the callable zoo.json names."),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without ZOO: train the quick test bed first (minutes). Fewer resamples.")
    ] = False,
    alpha: Annotated[float, typer.Option("--alpha", help="α, between 0 and 1.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples, and of the quick test bed.")] = 0,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures (extra 'plots').")] = True,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate scores on a zoo of stolen and independent models: tables, figures, and a calibration."""
    from ..evaluation import FigureError, fit_calibration, markdown, write_figures
    from ..evaluation import evaluate as run
    from ..labelled_zoo.folder import LabelledZoo
    from ..scores import PRESETS

    if zoo is None and not quick:
        raise typer.BadParameter("must be given, or --quick to train a small one", param_hint="ZOO")
    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    # Refuse before the work is done, not after.
    if not 0 <= null_share < 1:
        raise typer.BadParameter(f"must be at least 0 and below 1, got {null_share}", param_hint="--null-share")
    free(out / RESULTS, force) if out.is_dir() else free(out, force)
    if fit is not None:
        free(fit, force, "--fit")
    out.mkdir(exist_ok=True)
    trained = zoo is None
    if zoo is None:
        zoo = out / "testbed"
        _train_quick(zoo, seed, not quiet)
    # One fit takes seconds, the evaluation (many of them) minutes: what the zoo is too small for is known first.
    fitted = None if fit is None else fit_calibration(LabelledZoo.load(zoo), null_share=null_share, progress=not quiet)
    results, loaded = run(
        zoo,
        presets=preset or PRESETS,
        scores=score or (),
        peers=peers,
        with_grid=grid,
        time_queries=time_queries or trained,
        alpha=alpha,
        resamples=500 if quick else 2000,
        probe_resamples=0 if quick else 200,
        seed=seed,
        progress=not quiet,
    )
    results["command"] = shlex.join(["sac-fast", *sys.argv[1:]])
    results["figures"] = []
    _write(out, results)
    if fit is not None and fitted is not None:
        fitted.save(fit)
        results["calibration"] = fit.name
    if figures:
        try:
            results["figures"] = [path.name for path in write_figures(results, loaded, out)]
        except FigureError as error:
            # The figures are an extra; hours of fingerprints shall not be lost for want of it.
            results["figures_note"] = str(error)
            print(f"sac-fast: no figures: {error}", file=sys.stderr)
    # once more, with what was made of them
    _write(out, results)
    print(json.dumps(results, indent=2, allow_nan=False) if as_json else markdown(results), end="\n" if as_json else "")


def _write(out: Path, results: dict[str, Any]) -> None:
    """Write results.json, results.md and results.csv, each all or nothing."""
    from ..evaluation import csv_rows, markdown
    from ..io.container import atomic_write

    for name, text in (
        (RESULTS, json.dumps(results, indent=1, allow_nan=False) + "\n"),
        (TABLE, markdown(results)),
        (DISTANCES, csv_rows(results)),
    ):
        with atomic_write(out / name) as handle:
            handle.write(text.encode())


def _train_quick(folder: Path, seed: int, progress: bool) -> None:
    """Train the quick test bed, or go on with it."""
    from ..testbed.run import run_testbed
    from ..testbed.tasks import make_task

    task, size, architectures = make_task("patches", quick=True, seed=seed)
    run_testbed(folder, task, size=size, seed=seed, architectures=architectures, progress=progress)


def verify_preset(
    preset: str | None,
    calibration: Path | None,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: list[Fingerprint],
    alpha: float,
) -> Verification:
    """What `sac-fast verify --preset` does."""
    from ..scores import PRESETS
    from ..verify.preset import verify_calibrated, verify_fixed

    if preset not in PRESETS:
        raise typer.BadParameter(f"must be one of {', '.join(PRESETS)}, got {preset!r}", param_hint="--preset")
    if (preset == "calibrated") != (calibration is not None):
        raise typer.BadParameter("goes with --preset calibrated, and that with it", param_hint="--calibration")
    if calibration is None:
        return verify_fixed(preset, source, suspect, nulls, alpha)
    return verify_calibrated(calibration, source, suspect, nulls, alpha)
