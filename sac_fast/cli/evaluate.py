"""`sac-fast evaluate`: evaluate scores on a labelled zoo."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Force, Json, Quiet, check_output_path

if TYPE_CHECKING:
    from ..evaluation import ZooEvaluation
    from ..scores import Calibration

Zoo = Annotated[Path | None, typer.Argument(file_okay=False, help="Folder with zoo.json; optional with --quick.")]
Out = Annotated[Path, typer.Option(help="Folder for results.json, results.csv, results.md and figures.")]
Presets = Annotated[list[str] | None, typer.Option(help="sac-jc, robust, calibrated; repeatable; default: all.")]
Scores = Annotated[
    list[str] | None,
    typer.Option(help="A fixed score: TRANSFORM/METRIC/COMPARISON@PROBES:COUNT or agreement@PROBES; repeatable."),
]
Peers = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="JSON of benchmarks/bench_baselines.py, same zoo.")
]
Fit = Annotated[
    Path | None, typer.Option(help="Fit the calibrated score to the zoo's source and write it, for `verify`.")
]
NullShare = Annotated[
    float, typer.Option(help="With --fit: share of the independents that become nulls of later verdicts.")
]
Grid = Annotated[bool, typer.Option("--grid", help="Also evaluate every fixed score (minutes).")]
TimeQueries = Annotated[
    bool,
    typer.Option("--time-queries", help="Also time the source on the probes; imports the callable named in zoo.json."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Without ZOO: train the quick test bed first (minutes). Fewer resamples.")
]
Alpha = Annotated[float, typer.Option("--alpha", help="α, between 0 and 1.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the resamples and of the quick test bed.")]
Figures = Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures (extra 'plots').")]


def evaluate(
    zoo: Zoo = None,
    out: Out = Path("sac-fast-evaluation"),
    preset: Presets = None,
    score: Scores = None,
    peers: Peers = None,
    fit: Fit = None,
    null_share: NullShare = 0.5,
    grid: Grid = False,
    time_queries: TimeQueries = False,
    quick: Quick = False,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    figures: Figures = True,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate scores on a labelled zoo of stolen and independent models: tables, figures, and a calibration."""
    from ..evaluation import evaluate as evaluate_zoo
    from ..evaluation import fit_calibration
    from ..labelled_zoo.folder import LabelledZoo
    from ..scores import PRESETS

    _check_options(zoo, out, fit, null_share, quick, alpha, force)
    out.mkdir(exist_ok=True)
    folder = _train_quick(out / "testbed", seed, not quiet) if zoo is None else zoo
    # The fit takes seconds, the evaluation minutes: fit first, to find out early whether the zoo is large enough.
    fitted = (
        None if fit is None else fit_calibration(LabelledZoo.load(folder), null_share=null_share, progress=not quiet)
    )
    evaluation = evaluate_zoo(
        folder,
        presets=preset or PRESETS,
        scores=score or (),
        peers=peers,
        with_grid=grid,
        time_queries=time_queries or zoo is None,
        alpha=alpha,
        resamples=500 if quick else 2000,
        probe_resamples=0 if quick else 200,
        seed=seed,
        progress=not quiet,
    )
    _write(evaluation, out, fit, fitted, figures)
    _print(evaluation, as_json)


def _check_options(
    zoo: Path | None, out: Path, fit: Path | None, null_share: float, quick: bool, alpha: float, force: bool
) -> None:
    """Check everything that can be checked before the evaluation."""
    from ..evaluation.run import RESULTS_FILE

    if zoo is None and not quick:
        raise typer.BadParameter("must be given, or --quick to train a small one", param_hint="ZOO")
    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    if not 0 <= null_share < 1:
        raise typer.BadParameter(f"must be at least 0 and below 1, got {null_share}", param_hint="--null-share")
    check_output_path(out / RESULTS_FILE if out.is_dir() else out, force)
    if fit is not None:
        check_output_path(fit, force, "--fit")


def _train_quick(folder: Path, seed: int, progress: bool) -> Path:
    """Train the quick test bed, or resume it; returns its folder."""
    from ..testbed.run import run_testbed
    from ..testbed.tasks import make_task

    task, size, architectures = make_task("patches", quick=True, seed=seed)
    run_testbed(folder, task, size=size, seed=seed, architectures=architectures, progress=progress)
    return folder


def _write(evaluation: ZooEvaluation, out: Path, fit: Path | None, fitted: Calibration | None, figures: bool) -> None:
    """Write results, calibration and figures; a failure of the last two does not lose the results."""
    from ..evaluation import FigureError, write_figures

    results = evaluation.results
    results["command"] = shlex.join(["sac-fast", *sys.argv[1:]])
    results["figures"] = []
    evaluation.save(out)
    if fit is not None and fitted is not None:
        fitted.save(fit)
        results["calibration"] = fit.name
    if figures:
        try:
            results["figures"] = [path.name for path in write_figures(results, evaluation.loaded, out)]
        except FigureError as error:
            results["figures_note"] = str(error)
            print(f"sac-fast: no figures: {error}", file=sys.stderr)
    evaluation.save(out)  # again, with calibration and figures listed


def _print(evaluation: ZooEvaluation, as_json: bool) -> None:
    from ..evaluation import markdown

    if as_json:
        print(json.dumps(evaluation.results, indent=2, allow_nan=False))
    else:
        print(markdown(evaluation.results), end="")
