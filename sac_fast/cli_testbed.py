"""`sac-fast testbed`: a zoo of stolen and independent models, trained on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Json, Quiet

app = typer.Typer(no_args_is_help=True)

Zoo = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with zoo.json.")]


@app.command("train")
def train_command(
    out: Annotated[Path, typer.Option(help="Folder of the zoo; a stopped run goes on in it.")],
    task: Annotated[
        str,
        typer.Option(help="patches (photographs that ship with scikit-image and scikit-learn), or your images' PATH."),
    ] = "patches",
    quick: Annotated[bool, typer.Option("--quick", help="Some 35 models, trained for minutes.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images and models.")] = 0,
    image_size: Annotated[int, typer.Option(help="Of images of yours: scaled to N x N, a multiple of 8.")] = 32,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Of images of yours: at most so many a class and side to train on.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; default: one a core.")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device; default: a GPU, else the CPU.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a source, steal it in every way there is, train independents, and fingerprint them all."""
    from .testbed.run import run_testbed
    from .testbed.summary import summarise
    from .testbed.table import show_zoo
    from .testbed.tasks import make_task

    made, size, architectures = make_task(task, quick=quick, seed=seed, image_size=image_size, per_class=per_class)
    zoo = run_testbed(
        out,
        made,
        size=size,
        seed=seed,
        workers=workers,
        device=device,
        architectures=architectures,
        progress=not quiet,
    )
    show_zoo(summarise(zoo), as_json)


@app.command("show")
def show_command(zoo: Zoo, as_json: Json = False) -> None:
    """Count, accuracy and training time of the models of a zoo, finished or not."""
    from .labelled_zoo import LabelledZoo
    from .testbed.summary import summarise
    from .testbed.table import show_zoo

    show_zoo(summarise(LabelledZoo.load(zoo)), as_json)
