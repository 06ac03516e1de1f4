"""`sac-fast siblings`: train your own model again with other seeds, and pick the one that is released."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .checks import name_probe_files, parse_json_object, refuse_if
from .exit_codes import ERROR, FINDING
from .fingerprint import RunOptions
from .help import HelpCommand
from .option_groups import expand_option_groups
from .options import InputOptions, Json, ModelArgs, OutputForm, ProbeFiles, Quiet, Workers, file_option

if TYPE_CHECKING:
    from ..labelled_zoo.plan import Architecture
    from ..models import ModelEntry, Preprocessing

app = typer.Typer(no_args_is_help=True)


@dataclass(frozen=True)
class MakingOptions:
    """Which siblings are made, and how."""

    train: Annotated[
        str | None,
        Option(
            help="Your training code, package.module:function: train(seed) gives the nn.Module, or it and its accuracy."
        ),
    ] = None
    count: Annotated[int, Option(min=1, help="Siblings to train; one more where the source is to be drawn.")] = 19
    source: Annotated[
        Path | None, file_option("Weights of your released model; with --model, usual seeds are warned of.")
    ] = None
    fork: Annotated[
        Path | None,
        file_option(
            "Checkpoint: train(seed, checkpoint) does the last phase again. Finds extraction, not fine-tuning."
        ),
    ] = None
    from_: Annotated[
        Path | None,
        Option("--from", exists=True, help="Models of the same code that are there: checkpoints, ONNX, fingerprints."),
    ] = None

    def check(self) -> None:
        """Refuse options that do not go together."""
        nothing = self.train is None and self.from_ is None
        refuse_if(nothing, "--train", "must be given, or --from with models that are there")
        refuse_if(self.fork is not None and self.train is None, "--fork", "goes with --train")


@dataclass(frozen=True)
class NetworkOptions:
    """How weights can be loaded again."""

    model: Annotated[
        str | None, Option(help="Builds the network without training, package.module:callable, to load weights again.")
    ] = None
    model_args: ModelArgs = None

    def parse(self) -> Architecture | None:
        """The architecture; None where none is given."""
        from ..labelled_zoo.plan import Architecture

        arguments = parse_json_object(self.model_args)
        refuse_if(bool(arguments) and self.model is None, "--model-args", "goes with --model")
        return None if self.model is None else Architecture(self.model, arguments)


@app.command("make", cls=HelpCommand)
@expand_option_groups
def make_command(
    out: Annotated[Path, Option(help="Folder of the siblings; those in it are kept, and what is missing is made.")],
    making: MakingOptions,
    network: NetworkOptions,
    inputs: InputOptions,
    how: RunOptions,
    output_form: OutputForm = None,
    probes: ProbeFiles = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train your model again with seeds that nobody can guess: its siblings, for `sac-fast verify --siblings`.

    Interrupted or killed, the same command resumes, and trains again what failed.
    """
    from ..labelled_zoo.siblings import make_siblings
    from ..models.code_path import allow_code_in
    from ..probes import ProbeSet
    from .render.siblings import show_siblings

    making.check()
    refuse_if(making.source is not None and network.model is None, "--source", "goes with --model")
    preprocessing, model = inputs.parse("siblings make"), network.parse()
    sets = {name: ProbeSet.load(file) for name, file in name_probe_files(probes).items()}
    if making.train is not None or model is not None:
        allow_code_in(os.getcwd())
    owned = [] if making.from_ is None else _owned(making.from_, model, preprocessing, how.which)
    made = make_siblings(
        making.train, out,
        count=making.count, source=making.source, fork=making.fork, owned=owned, probes=sets,
        preprocessing=preprocessing, model=model, output=how.which, output_form=output_form, batch_size=how.batch_size,
        device=how.device or "cpu", workers=workers, progress=not quiet,
    )  # fmt: skip
    show_siblings(made, as_json)
    if made["failed"]:
        raise typer.Exit(ERROR)


def _owned(
    folder: Path, model: Architecture | None, preprocessing: Preprocessing, output: str | int | None
) -> list[ModelEntry]:
    from ..models import list_entries

    known: dict[str, Any] = {} if model is None else {"architecture": model.spec, "kwargs": model.arguments}
    return list_entries(folder, preprocessing=preprocessing, output=output, **known)


@app.command("draw", cls=HelpCommand)
def draw_command(
    folder: Annotated[Path, Argument(exists=True, file_okay=False, help="Folder of `sac-fast siblings make`.")],
    best: Annotated[
        bool, Option("--best", help="The most accurate one instead of a drawn one; no exact p-values then.")
    ] = False,
    verify: Annotated[bool, Option("--verify", help="Repeat a draw from what the folder records.")] = False,
    as_json: Json = False,
) -> None:
    """Pick the sibling to release, by a draw that was committed to before the first training."""
    from ..labelled_zoo.siblings_draw import draw_source, verify_draw
    from .render.siblings import show_draw

    refuse_if(best and verify, "--best", "does not go with --verify")
    drawn = verify_draw(folder) if verify else draw_source(folder, choice="best" if best else "committed")
    show_draw(drawn, as_json)
    if drawn.get("problems"):
        raise typer.Exit(FINDING)
