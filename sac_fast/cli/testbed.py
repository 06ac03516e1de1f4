"""`sac-fast testbed`: a labelled zoo of stolen and independent models, trained here."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from .checks import parse_json_object, parse_preprocessing, refuse_if
from .help import HelpCommand
from .option_groups import expand_option_groups
from .options import Json, Mean, Quiet, Seed, Std, Workers

if TYPE_CHECKING:
    from ..labelled_zoo.plan import Architecture

app = typer.Typer(no_args_is_help=True)

_TASKS = "patches, faces (of scikit-image), fashion or fashion:FOLDER (Fashion-MNIST), or the PATH of your images."
Zoo = Annotated[Path, Argument(exists=True, file_okay=False, help="Folder with zoo.json.")]


@dataclass(frozen=True)
class ArchitectureOptions:
    """The architectures of checkpoints."""

    model: Annotated[list[str], Option(help="package.module:callable; repeatable, the first that fits.")]
    model_args: Annotated[
        list[str] | None, Option(help="A JSON object each, or one for all: the callables' arguments.")
    ] = None

    def parse(self) -> list[Architecture]:
        """Every callable with its arguments."""
        from ..labelled_zoo.plan import Architecture

        given = [parse_json_object(text) for text in self.model_args or ["{}"]]
        if len(given) == 1:
            given *= len(self.model)
        message = f"must be given once, or {len(self.model)} times as --model is, got {len(given)}"
        refuse_if(len(given) != len(self.model), "--model-args", message)
        return [Architecture(spec, arguments) for spec, arguments in zip(self.model, given, strict=True)]


@dataclass(frozen=True)
class DiskOptions:
    """Of the user's own images."""

    image_size: Annotated[int, Option(help="Of your own images: scaled to N x N, a multiple of 8.")] = 32
    per_class: Annotated[
        int | None, Option(min=1, help="Of your own images: at most this number a class and side to train on.")
    ] = None


@app.command("train", cls=HelpCommand)
@expand_option_groups
def train_command(
    *,
    out: Annotated[Path, Option(help="Folder of the labelled zoo; an interrupted run in it is resumed.")],
    disk: DiskOptions,
    task: Annotated[str, Option(help=_TASKS)] = "patches",
    quick: Annotated[bool, Option("--quick", help="Some 35 models, minutes of training.")] = False,
    seed: Seed = 0,
    workers: Workers = None,
    device: Annotated[str | None, Option(help="Torch device; default: a GPU, else the CPU.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a source, run every attack on it, train independents, and fingerprint all models."""
    from ..labelled_zoo.summary import summarise
    from ..testbed.run import run_testbed
    from ..testbed.tasks import make_task
    from .render.testbed import show_zoo

    made, size, architectures = make_task(task, quick=quick, seed=seed, **asdict(disk))
    zoo = run_testbed(
        out, made, size=size, seed=seed, workers=workers, device=device, architectures=architectures, progress=not quiet
    )
    show_zoo(summarise(zoo), as_json)


@app.command("sources", cls=HelpCommand)
@expand_option_groups
def sources_command(
    *,
    out: Annotated[Path, Option(help="Folder of the task: a labelled zoo a source in OUT/SOURCE; resumed.")],
    task: Annotated[str, Option(help="patches, fashion or fashion:FOLDER, backbone, faces, or the PATH of images.")],
    disk: DiskOptions,
    count: Annotated[int, Option("--sources", min=1, max=6, help="Number of sources: vgg-a, resnet-a, …")] = 3,
    siblings: Annotated[int | None, Option(min=0, help="Siblings of each source; default 19.")] = None,
    only: Annotated[list[str] | None, Option(help="Train this source's zoo now, vgg-a say; repeatable.")] = None,
    quick: Annotated[bool, Option("--quick", help="4 siblings, short trainings.")] = False,
    split_seed: Annotated[int, Option(min=0, help="Decides which images are whose; models' seeds are drawn.")] = 0,
    workers: Workers = None,
    device: Annotated[str | None, Option(help="Torch device; default: a GPU, else the CPU.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train several sources of one task, for each its siblings, thefts and honest models of every kind.

    Every model's seed is drawn from the system's entropy and kept in OUT/seeds.json. Three sources are some 210
    models: on two busy cores with AVX-512 about 35 minutes for fashion, 30 for patches, 20 for backbone.
    """
    from ..labelled_zoo.summary import summarise
    from ..testbed.run_sources import run_sources
    from ..testbed.sources import SOURCES
    from ..testbed.tasks import make_sources_task
    from .render.testbed import show_zoos

    made = make_sources_task(task, quick=quick, seed=split_seed, **asdict(disk))
    size = made.size if siblings is None else replace(made.size, siblings=siblings)
    zoos = run_sources(
        out, made.task, size=size, sources=SOURCES[:count], only=only, workers=workers, device=device,
        architectures=made.architectures, progress=not quiet,
    )  # fmt: skip
    show_zoos({name: summarise(zoo) for name, zoo in zoos.items()}, as_json)


@app.command("adopt", cls=HelpCommand)
@expand_option_groups
def adopt_command(
    folder: Annotated[
        Path,
        Argument(exists=True, file_okay=False, help="With teacher/, … or SACBench's model/, …"),
    ],
    out: Annotated[Path, Option(help="Folder of the labelled zoo to make.")],
    images: Annotated[Path, Option(exists=True, help="Labelled images that no model was trained on.")],
    architectures: ArchitectureOptions,
    null_kind: Annotated[
        Literal[
            "same-data-same-architecture", "same-data", "other-data", "other-classes", "same-backbone", "other-backbone"
        ],
        Option(help="What the models in irrelevant/ share with the teacher."),
    ],
    image_size: Annotated[int, Option(min=1, help="Images are scaled to N x N.")] = 32,
    mean: Mean = "0",
    std: Std = "1",
    probe_count: Annotated[int, Option(min=2, help="At most this number in a probe set.")] = 800,
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out checkpoints that cannot be used.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a labelled zoo of the checkpoints in the reference scripts' folders (SAC_JC's, or SACBench's)."""
    from ..labelled_zoo.summary import summarise
    from ..models.code_path import allow_code_in
    from ..testbed.adopt import adopt
    from ..testbed.images import test_images
    from .render.testbed import show_zoo

    networks = architectures.parse()
    allow_code_in(os.getcwd())
    preprocessing = parse_preprocessing("testbed adopt", mean, std)
    pool, classes = test_images(images, image_size)
    adopted = adopt(
        folder,
        out,
        pool,
        classes,
        networks,
        null_kind=null_kind,
        preprocessing=preprocessing,
        probes=probe_count,
        skip_bad=skip_bad,
        progress=not quiet,
    )
    summary = summarise(adopted.zoo)
    summary["left_out"] = [{"file": file, "reason": reason} for file, reason in adopted.left_out]
    show_zoo(summary, as_json)


@app.command("show", cls=HelpCommand)
def show_command(zoo: Zoo, as_json: Json = False) -> None:
    """Count, accuracy and training time of the models of a labelled zoo, finished or not."""
    from ..labelled_zoo.folder import LabelledZoo
    from ..labelled_zoo.summary import summarise
    from .render.testbed import show_zoo

    show_zoo(summarise(LabelledZoo.load(zoo)), as_json)
