"""The command line: a thin shell over the Python API.

Results go to stdout, progress and errors to stderr. Exit codes: 0 the job is finished (whatever the verdict),
1 it failed, 2 it was asked for wrongly.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import SacFastError
from ..io.text import escape_text
from ..labelled_zoo.training_pool import MAX_SEED
from . import evaluate as cli_evaluate
from . import probes as cli_probes
from . import relatives as cli_relatives
from . import scan as cli_scan
from . import simulate as cli_simulate
from . import store as cli_store
from . import testbed as cli_testbed
from . import verify as cli_verify
from .options import (
    Comparison,
    Force,
    Json,
    Layout,
    Mean,
    Metric,
    ModelArgs,
    Quiet,
    Std,
    Weights,
    free,
    json_object,
    preprocessing_of,
)
from .render import common

app = typer.Typer(
    name="sac-fast",
    help="Tell which neural networks were derived from which, by the correlation of their answers (SAC-JC).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(cli_evaluate.evaluate)
app.add_typer(cli_probes.app, name="probes", help="Make probes, or remake a probe file and compare the pixels.")
app.command()(cli_simulate.simulate)
app.add_typer(cli_testbed.app, name="testbed", help="Train a zoo of stolen and independent models, and describe one.")
app.command(name="scan", cls=cli_scan.ScanCommand)(cli_scan.scan)
app.add_typer(cli_store.app, name="store", help="List, show, remove, export and check the models of a store.")


app.command()(cli_relatives.relatives)


@app.command()
def info(as_json: Json = False) -> None:
    """Show version, backends, instruction sets and library versions."""
    common.show_info(common.installation(), as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("sac-fast-demo"),
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of patches and models.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer models, 20 % false-accusation rate.")] = False,
    metric: Metric = "pearson",
    comparison: Comparison = "l1",
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; default: one a core.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on photographs, steal it in four ways, and find the thieves."""
    from ..demo import run_demo

    results = run_demo(
        out,
        seed=seed,
        quick=quick,
        metric=metric,
        comparison=comparison,
        workers=workers,
        progress=not quiet,
    )
    common.show_demo(results, out, as_json)


@app.command()
def fingerprint(
    model: Annotated[
        str, typer.Argument(help="package.module:callable, or a model file: ONNX, recorded outputs, weights.")
    ],
    probes_file: Annotated[Path, typer.Option("--probes", exists=True, dir_okay=False, help="Probe file.")],
    out: Annotated[Path, typer.Option(help="Fingerprint file to write (safetensors).")],
    weights: Weights = None,
    model_args: ModelArgs = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(help="package.module:callable, of which one must fit a file of weights; repeatable."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model; default: the output's name.")] = None,
    size: Annotated[str | None, typer.Option(help="Resize the probes to N or HxW pixels.")] = None,
    mean: Mean = "0",
    std: Std = "1",
    colour_order: Annotated[Literal["RGB", "BGR", "GRAY"], typer.Option(help="Channels the model takes.")] = "RGB",
    layout: Annotated[Layout, typer.Option(help="Input layout the model takes.")] = "NCHW",
    output: Annotated[
        str | None,
        typer.Option(help="Which output, where the model gives several: position, key or attribute."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Probes a batch.")] = 64,
    device: Annotated[str | None, typer.Option(help="Torch device; default: the CPU.")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a model on probes and keep its answers."""
    from ..fingerprint import fingerprint as make_fingerprint
    from ..models import ModelEntry, load_model, open_model
    from ..models.architectures import split_architecture
    from ..models.code_path import allow_code_in
    from ..probes import ProbeSet

    arguments = json_object(model_args)
    given = Path(model)
    if given.exists() and weights is not None:
        raise typer.BadParameter(f"goes with package.module:callable, got the file {model!r}", param_hint="--weights")
    if given.exists() and arguments and not architecture:
        raise typer.BadParameter(
            f"goes with package.module:callable, or --architecture, got the file {model!r} alone",
            param_hint="--model-args",
        )
    if architecture and not given.exists():
        raise typer.BadParameter(f"goes with a file of weights as MODEL, got {model!r}", param_hint="--architecture")
    preprocessing = preprocessing_of("fingerprint", mean, std, size, colour_order, layout)
    free(out, force)
    probe_set = ProbeSet.load(probes_file)
    if architecture or not given.exists():
        allow_code_in(os.getcwd())
    which = int(output) if output is not None and re.fullmatch("-?[0-9]{1,9}", output) else output
    architectures = architecture or []
    if arguments:  # of all of them, beside those that one has of its own
        architectures = [
            f"{spec} {json.dumps({**arguments, **own})}" for spec, own in map(split_architecture, architectures)
        ]
    made = make_fingerprint(
        open_model(ModelEntry(given.name, given, output=which), architectures=architectures)
        if given.exists()
        else load_model(model, weights=weights, kwargs=arguments),
        probe_set,
        preprocessing=preprocessing,
        batch_size=batch_size,
        device=device,
        output=which,
        name=name or out.stem,
        progress=not quiet,
    )
    made.save(out)
    common.show_fingerprint(made, out, as_json)


@app.command()
def verify(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Fingerprint of your model.")],
    suspect: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Fingerprint of the suspect.")],
    null: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Fingerprints of independent models: files or folders; repeatable."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="α, between 0 and 1.")] = 0.05,
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    preset: cli_verify.Preset = None,
    calibration: cli_verify.CalibrationFile = None,
    as_json: Json = False,
) -> None:
    """Judge a suspect by its distance to your model, beside those of independent models."""
    from ..fingerprint import Fingerprint
    from ..verify.fingerprints import verify_fingerprints

    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    if calibration is not None and preset is None:
        raise typer.BadParameter("goes with --preset calibrated, got no --preset", param_hint="--calibration")
    for option in ("metric", "comparison"):
        how = context.get_parameter_source(option)
        if preset is not None and how is not None and how.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"goes without --preset, which has its own, got --preset {preset}", param_hint=f"--{option}"
            )
    files: list[Path] = []
    for path in null or []:
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"--null folder {str(path)!r} must hold *.safetensors files, got none")
        files += inside
    of_all = (Fingerprint.load(source), Fingerprint.load(suspect), [Fingerprint.load(file) for file in files])
    if preset is not None or calibration is not None:
        result = cli_verify.verify_preset(preset, calibration, *of_all, alpha)
    else:
        result = verify_fingerprints(*of_all, alpha=alpha, metric=metric, comparison=comparison)
    common.show_verification(result, as_json)


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv and plot.png.")] = Path(
        "sac-fast-bench"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, no targets.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Threads of ours and of the peers; default: 2.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the results in the folder.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the ops against the definition, then time them beside their peers."""
    from ..bench.report import make_report

    make_report(out, quick=quick, threads=threads, force=force, as_json=as_json, progress=not quiet)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from ..io.version import package_version

        print(f"sac-fast {package_version()}")
        raise typer.Exit


def main() -> None:
    """Entry point of `sac-fast`: expected errors become one line on stderr and exit code 1.

    KeyError, AttributeError and the like are bugs of ours, and keep their traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Half a result and a traceback for one α is worse than a question mark where the terminal has no α.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except (SacFastError, ValueError, TypeError, OSError, MemoryError, RuntimeError, ArithmeticError) as error:
        print(f"sac-fast: {type(error).__name__}: {escape_text(error)}", file=sys.stderr)
        sys.exit(1)
