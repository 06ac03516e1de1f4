"""`sac-fast simulate`: steal a model in every known way, to calibrate and to evaluate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .option_groups import expand_option_groups
from .options import (
    ColourOrder,
    ImageSize,
    Json,
    Mean,
    ModelArgs,
    ModelLayout,
    Quiet,
    Seed,
    Size,
    Std,
    Workers,
    parse_json_object,
    parse_preprocessing,
    parse_size,
)

if TYPE_CHECKING:
    from ..probes import ProbeSet
    from ..simulation import SimulationImages, SimulationModels


@dataclass(frozen=True)
class ModelOptions:
    """Which models are made."""

    attacks: Annotated[str, typer.Option(help="Names with commas between them, or all.")] = "all"
    copies: Annotated[int, typer.Option(min=1, help="Models of each attack (and of each student).")] = 1
    student: Annotated[
        list[str] | None,
        typer.Option(
            help="The thief's own network, 'package.module:callable' or 'package.module:callable {JSON arguments}'; "
            "repeatable; default: the source's."
        ),
    ] = None
    independents: Annotated[int, typer.Option(min=0, help="Independent models of each kind.")] = 0
    seed: Seed = 0

    def parse(self) -> SimulationModels:
        """The models that the options name; a wrong one is a wrong use of the command."""
        from ..attacks import ATTACKS
        from ..errors import ModelError
        from ..labelled_zoo.plan import Architecture
        from ..models.architectures import split_architecture
        from ..simulation import SimulationModels

        chosen = None if self.attacks == "all" else [name.strip() for name in self.attacks.split(",") if name.strip()]
        if unknown := [name for name in chosen or [] if name not in ATTACKS]:
            raise typer.BadParameter(
                f"must be all or among {', '.join(ATTACKS)}, got {unknown[0]!r}", param_hint="--attacks"
            )
        try:
            students = [Architecture(*split_architecture(text)) for text in self.student or []]
        except ModelError as error:
            raise typer.BadParameter(str(error), param_hint="--student") from None
        return SimulationModels(chosen, students, self.copies, self.independents, self.seed)


@dataclass(frozen=True)
class ImageOptions:
    """Images beside the thief's, and how they are read."""

    source_data: Annotated[
        Path | None,
        typer.Option(exists=True, help="What the source was trained on: independents on the same data as well."),
    ] = None
    test_data: Annotated[
        Path | None, typer.Option(exists=True, help="For accuracies; default: every fifth image of each set.")
    ] = None
    surrogate_data: Annotated[Path | None, typer.Option(exists=True, help="Other images, for extract-knockoff.")] = None
    transfer_data: Annotated[
        Path | None,
        typer.Option(exists=True, help="Another task, for transfers; default: the thief's with half the classes."),
    ] = None
    probes: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Probe file on which every model is fingerprinted; repeatable."),
    ] = None
    labels: Annotated[Literal["folder", "none"], typer.Option(help="folder: one class a sub-folder.")] = "folder"
    image_size: ImageSize = None
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most this number of images of each set.")] = None

    def probe_files(self) -> dict[str, Path]:
        """The probe files by the names of their sets."""
        by_stem: dict[str, Path] = {}
        for file in self.probes or []:
            if (other := by_stem.setdefault(file.stem, file)) is not file:
                raise typer.BadParameter(
                    f"files must have different names, each names its set in the labelled zoo, "
                    f"got {str(other)!r} and {str(file)!r}",
                    param_hint="--probes",
                )
        return by_stem

    def read(self, data: Path, seed: int, progress: bool) -> SimulationImages:
        """All images, the thief's from ``data``."""
        from ..simulation import SimulationImages

        thief = self._read(data, seed, progress)
        assert thief is not None
        test, owner = (self._read(path, seed, progress) for path in (self.test_data, self.source_data))
        surrogate = self._read(self.surrogate_data, seed, progress, labels="none")
        return SimulationImages(thief, test, owner, surrogate, self._read(self.transfer_data, seed, progress))

    def _read(self, path: Path | None, seed: int, progress: bool, labels: str | None = None) -> ProbeSet | None:
        """Images of a folder, an HDF5 file or a probe file."""
        from ..formats.magic import HDF5
        from ..probes import ProbeSet

        if path is None:
            return None
        if path.is_dir():
            return ProbeSet.from_folder(
                path, size=parse_size(self.image_size, "--image-size"), labels=labels or self.labels, limit=self.limit,
                seed=None if self.limit is None else seed, progress=progress,
            )  # fmt: skip
        with path.open("rb") as handle:
            is_hdf5 = handle.read(8) == HDF5
        if is_hdf5 or path.suffix != ".safetensors":
            return ProbeSet.from_hdf5(path, limit=self.limit)
        made = ProbeSet.load(path)
        return made if self.limit is None else made.subset(range(min(self.limit, len(made))))


@dataclass(frozen=True)
class InputOptions:
    """The source's arguments and its input."""

    model_args: ModelArgs = None
    size: Size = None
    mean: Mean = "0"
    std: Std = "1"
    colour_order: ColourOrder = "RGB"
    layout: ModelLayout = "NCHW"


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained."""

    epochs: Annotated[int, typer.Option(min=1, help="Of trainings from new weights.")] = 8
    learning_rate: Annotated[float, typer.Option(help="Peak, of trainings from new weights.")] = 0.1
    tuning_epochs: Annotated[int, typer.Option(min=1, help="Of trainings of stolen weights.")] = 4
    tuning_learning_rate: Annotated[float, typer.Option(help="Peak, of trainings of stolen weights.")] = 0.01
    batch_size: Annotated[int, typer.Option(min=1, help="Images a training step.")] = 128
    flips: Annotated[bool, typer.Option("--flips/--no-flips", help="Random horizontal flips.")] = True
    device: Annotated[str, typer.Option(help="Torch device of the trainings.")] = "cpu"
    workers: Workers = None

    def parse(self, layout: str) -> dict[str, Any]:
        """The arguments of `sac_fast.simulate` that say how models are trained."""
        from ..attacks import TrainingConfig

        # Flipped is the last dimension, which is the channels' in NHWC.
        common: dict[str, Any] = {"batch_size": self.batch_size, "flips": self.flips and layout == "NCHW"}
        try:
            config = TrainingConfig(self.epochs, learning_rate=self.learning_rate, **common)
            tuning = TrainingConfig(self.tuning_epochs, learning_rate=self.tuning_learning_rate, **common)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="simulate") from None
        return {"config": config, "tuning": tuning, "device": self.device, "workers": self.workers}


@expand_option_groups
def simulate(
    model: Annotated[str, typer.Option(help="Your model: package.module:callable that returns the nn.Module.")],
    weights: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Its weights: safetensors, or a weights_only state dict.")
    ],
    data: Annotated[
        Path, typer.Option(exists=True, help="The thief's images: folder, HDF5 with /data and /label, or probe file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the labelled zoo; an earlier simulation in it is resumed.")],
    models: ModelOptions,
    files: ImageOptions,
    inputs: InputOptions,
    training: TrainingOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Steal your model in every known way, and make independent ones: a labelled zoo for `sac-fast evaluate`.

    Interrupted or killed, the same command resumes.
    """
    from ..labelled_zoo.plan import Architecture
    from ..models.code_path import allow_code_in
    from ..probes import ProbeSet
    from ..simulation import simulate as run
    from .render.simulate import show_simulation

    preprocessing = parse_preprocessing(
        "simulate", inputs.mean, inputs.std, inputs.size, inputs.colour_order, inputs.layout
    )
    trainings = training.parse(inputs.layout)
    arguments = parse_json_object(inputs.model_args)
    which, probe_files = models.parse(), files.probe_files()
    images = files.read(data, models.seed, not quiet)
    probes = {name: ProbeSet.load(file) for name, file in probe_files.items()}
    allow_code_in(os.getcwd())
    summary = run(
        out, Architecture(model, arguments), weights, images,
        models=which, preprocessing=preprocessing, probes=probes, progress=not quiet, **trainings,
    )  # fmt: skip
    show_simulation(summary, as_json)
    if summary["failed"]:
        raise typer.Exit(1)
