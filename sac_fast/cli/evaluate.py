"""`sac-fast evaluate`: evaluate scores on a labelled zoo, or verdicts on the zoos of several sources."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..io.text import escape_text
from .checks import check_output_path, refuse_if
from .option_groups import expand_option_groups
from .options import Alpha, PrintOptions, Seed, file_option

if TYPE_CHECKING:
    from ..evaluation.run import ZooEvaluation
    from ..scores import Calibration

Zoos = Annotated[
    list[Path] | None,
    Argument(file_okay=False, help="Folder with zoo.json (optional with --quick), or folders of several sources."),
]
Out = Annotated[Path, Option(help="Folder for results.json, results.csv, results.md and figures.")]
Quick = Annotated[
    bool, Option("--quick", help="Without ZOO: train the quick test bed first (minutes). Fewer resamples.")
]
Figures = Annotated[bool, Option("--figures/--no-figures", help="Draw figures (extra 'plots').")]


@dataclass(frozen=True)
class MethodOptions:
    """What is evaluated."""

    preset: Annotated[list[str] | None, Option(help="sac-jc, robust, calibrated; repeatable; default: all.")] = None
    score: Annotated[
        list[str] | None,
        Option(help="A fixed score: TRANSFORM/METRIC/COMPARISON@PROBES:COUNT or agreement@PROBES; repeatable."),
    ] = None
    peers: Annotated[Path | None, file_option("JSON of benchmarks/bench_baselines.py, same zoo.")] = None
    grid: Annotated[bool, Option("--grid", help="Also evaluate every fixed score (minutes).")] = False
    time_queries: Annotated[
        bool,
        Option("--time-queries", help="Also time the source on the probes; imports the callable named in zoo.json."),
    ] = False


@dataclass(frozen=True)
class FitOptions:
    """The calibrated score that is kept."""

    fit: Annotated[
        Path | None, Option(help="Fit the calibrated score to the zoo's source and write it, for `verify`.")
    ] = None

    def check(self, force: bool) -> None:
        """Refuse what cannot be fitted or written."""
        if self.fit is not None:
            check_output_path(self.fit, force, "--fit")


@dataclass(frozen=True)
class SourcesOptions:
    """What is evaluated on several sources."""

    probes: Annotated[
        str | None, Option("--probe-set", help="Several sources: probe set on which verdicts are given.")
    ] = None
    rotate: Annotated[
        bool, Option("--rotate/--no-rotate", help="Several sources: also judge with each sibling as the source.")
    ] = True


@expand_option_groups
def evaluate(
    *,
    zoos: Zoos = None,
    out: Out = Path("sac-fast-evaluation"),
    methods: MethodOptions,
    fit: FitOptions,
    several: SourcesOptions,
    quick: Quick = False,
    alpha: Alpha = 0.05,
    seed: Seed = 0,
    figures: Figures = True,
    prints: PrintOptions,
) -> None:
    """Evaluate scores on a labelled zoo of stolen and independent models: tables, figures, and a calibration.

    With several folders, or a folder of labelled zoos (TASK/SOURCE/zoo.json), the verdicts are evaluated on all
    sources: honest models accused by kind, thefts found by attack, number of siblings and queries.
    """
    from ..evaluation.fitting import describe_nulls, fit_calibration
    from ..evaluation.run import RESULTS_FILE
    from ..evaluation.run import evaluate as evaluate_zoo
    from ..labelled_zoo.folder import INDEX, LabelledZoo
    from ..scores import PRESETS

    refuse_if(not zoos and not quick, "ZOO", "must be given, or --quick to train a small one")
    fit.check(prints.force)
    check_output_path(out / RESULTS_FILE if out.is_dir() else out, prints.force)
    progress = not prints.quiet
    if zoos and (len(zoos) > 1 or not (zoos[0] / INDEX).is_file()):
        refuse_if(methods != MethodOptions(), "--preset", "and other choices of scores are for one zoo")
        refuse_if(fit.fit is not None, "--fit", "is for one zoo")
        out.mkdir(exist_ok=True)
        _evaluate_sources(zoos, out, several, figures, prints)
        return
    out.mkdir(exist_ok=True)
    zoo = zoos[0] if zoos else None
    folder = _train_quick(out / "testbed", seed, progress) if zoo is None else zoo
    # The fit takes seconds, the evaluation minutes: fit first, to find out early whether the zoo is large enough.
    fitted = None
    if fit.fit is not None:
        fitted = fit_calibration(LabelledZoo.load(folder), progress=progress)
        print(f"sac-fast: {escape_text(describe_nulls(fitted.null_counts(), alpha))}", file=sys.stderr)
    evaluation = evaluate_zoo(
        folder,
        presets=methods.preset or PRESETS,
        scores=methods.score or (),
        peers=methods.peers,
        with_grid=methods.grid,
        time_queries=methods.time_queries or zoo is None,
        alpha=alpha,
        resamples=500 if quick else 2000,
        probe_resamples=0 if quick else 200,
        seed=seed,
        progress=progress,
    )
    _write(evaluation, out, fit.fit, fitted, figures)
    _print(evaluation, prints.as_json)
    if not evaluation.results["methods"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in evaluation.results["not_evaluated"].items())
        raise ValueError(f"at least one score must be evaluated, got none ({reasons})")


def _evaluate_sources(
    folders: list[Path], out: Path, several: SourcesOptions, figures: bool, prints: PrintOptions
) -> None:
    from ..evaluation.protocol import Protocol, evaluate_sources
    from ..evaluation.protocol_figures import write_protocol_figures
    from ..evaluation.protocol_tables import protocol_markdown
    from ..io.console import print_json
    from ..io.figure import FigureError

    evaluation = evaluate_sources(
        folders, probes=several.probes, protocol=Protocol(rotate=several.rotate), progress=not prints.quiet
    )
    results = evaluation.results
    results["command"] = shlex.join(["sac-fast", *sys.argv[1:]])
    evaluation.save(out)
    if figures:
        try:
            results["figures"] = [path.name for path in write_protocol_figures(results, out)]
        except FigureError as error:
            print(f"sac-fast: no figures: {escape_text(error)}", file=sys.stderr)
        evaluation.save(out)  # again, with the figures listed
    if prints.as_json:
        print_json(results, "evaluate.sources")
    else:
        print(protocol_markdown(results), end="")


def _train_quick(folder: Path, seed: int, progress: bool) -> Path:
    """Train the quick test bed, or resume it; returns its folder."""
    from ..testbed.run import run_testbed
    from ..testbed.tasks import make_task

    task, size, architectures = make_task("patches", quick=True, seed=seed)
    run_testbed(folder, task, size=size, seed=seed, architectures=architectures, progress=progress)
    return folder


def _write(evaluation: ZooEvaluation, out: Path, fit: Path | None, fitted: Calibration | None, figures: bool) -> None:
    """Write results, calibration and figures; a failure of the last two does not lose the results."""
    from ..evaluation.figures import write_figures
    from ..io.figure import FigureError

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
            print(f"sac-fast: no figures: {escape_text(error)}", file=sys.stderr)
    evaluation.save(out)  # again, with calibration and figures listed


def _print(evaluation: ZooEvaluation, as_json: bool) -> None:
    from ..evaluation.tables import markdown
    from ..io.console import print_json

    if as_json:
        print_json(evaluation.results, "evaluate")
    else:
        print(markdown(evaluation.results), end="")
