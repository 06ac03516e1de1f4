"""`sac-fast simulate`: steal a model in every known way, to calibrate and to evaluate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..io import choices
from .checks import load_image_file, name_probe_files, parse_json_object, parse_size, usage_errors
from .exit_codes import ERROR
from .option_groups import expand_option_groups
from .options import ImageSize, InputOptions, Json, ModelArgs, ProbeFiles, Quiet, Seed, Workers, file_option

if TYPE_CHECKING:
    from ..probes import ProbeSet
    from ..simulation import SimulationImages, SimulationModels


@dataclass(frozen=True)
class ModelOptions:
    """Which models are made."""

    attacks: Annotated[str, Option(help="Names with commas between them, or all.")] = "all"
    copies: Annotated[int, Option(min=1, help="Models of each attack (and of each student).")] = 1
    student: Annotated[
        list[str] | None,
        Option(
            help="The thief's own network, 'package.module:callable' or 'package.module:callable {JSON arguments}'; "
            "repeatable; default: the source's."
        ),
    ] = None
    independents: Annotated[int, Option(min=0, help="Independent models of each kind.")] = 0
    own_independents: Annotated[
        list[str] | None,
        Option(help="Fingerprints of independents that you have, to compare the simulated ones with; repeatable."),
    ] = None
    seed: Seed = 0

    def parse(self) -> SimulationModels:
        """The models that the options name; a wrong one is a wrong use of the command."""
        from ..attacks import ATTACKS
        from ..labelled_zoo.plan import Architecture
        from ..models.entry import split_architecture
        from ..simulation import SimulationModels

        chosen = None if self.attacks == "all" else [name.strip() for name in self.attacks.split(",") if name.strip()]
        if unknown := [name for name in chosen or [] if name not in ATTACKS]:
            raise typer.BadParameter(
                f"must be all or among {', '.join(ATTACKS)}, got {unknown[0]!r}", param_hint="--attacks"
            )
        with usage_errors("--student"):
            students = [Architecture(*split_architecture(text)) for text in self.student or []]
        return SimulationModels(chosen, students, self.copies, self.independents, self.seed)


@dataclass(frozen=True)
class ImageOptions:
    """Images beside the thief's, and how they are read."""

    source_data: Annotated[
        Path | None, Option(exists=True, help="What the source was trained on: independents on the same data as well.")
    ] = None
    test_data: Annotated[
        Path | None, Option(exists=True, help="For accuracies; default: every fifth image of each set.")
    ] = None
    surrogate_data: Annotated[Path | None, Option(exists=True, help="Other images, for extract-knockoff.")] = None
    transfer_data: Annotated[
        Path | None,
        Option(exists=True, help="Another task, for transfers; default: the thief's with half the classes."),
    ] = None
    probes: ProbeFiles = None
    labels: Annotated[choices.FolderLabels, Option(help="folder: one class a sub-folder.")] = "folder"
    image_size: ImageSize = None
    limit: Annotated[int | None, Option(min=1, help="Use at most this number of images of each set.")] = None

    def read(self, data: Path, seed: int, progress: bool) -> SimulationImages:
        """All images, the thief's from ``data``."""
        from ..simulation import SimulationImages

        thief = self._read(data, seed, progress)
        assert thief is not None
        test, owner = (self._read(path, seed, progress) for path in (self.test_data, self.source_data))
        surrogate = self._read(self.surrogate_data, seed, progress, labels="none")
        return SimulationImages(thief, test, owner, surrogate, self._read(self.transfer_data, seed, progress))

    def _read(
        self, path: Path | None, seed: int, progress: bool, labels: choices.FolderLabels | None = None
    ) -> ProbeSet | None:
        """Images of a folder, an HDF5 file or a probe file."""
        from ..probes import ProbeSet

        if path is None:
            return None
        if path.is_dir():
            return ProbeSet.from_folder(
                path, size=parse_size(self.image_size, "--image-size"), labels=labels or self.labels, limit=self.limit,
                seed=None if self.limit is None else seed, progress=progress,
            )  # fmt: skip
        return load_image_file(path, None, self.limit)


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained."""

    epochs: Annotated[int, Option(min=1, help="Of trainings from new weights.")] = 8
    learning_rate: Annotated[float, Option(help="Peak, of trainings from new weights.")] = 0.1
    tuning_epochs: Annotated[int, Option(min=1, help="Of trainings of stolen weights.")] = 4
    tuning_learning_rate: Annotated[float, Option(help="Peak, of trainings of stolen weights.")] = 0.01
    batch_size: Annotated[int, Option(min=1, help="Images a training step.")] = 128
    flips: Annotated[bool, Option("--flips/--no-flips", help="Random horizontal flips.")] = True
    device: Annotated[str, Option(help="Torch device of the trainings.")] = "cpu"
    workers: Workers = None

    def parse(self, layout: str) -> dict[str, Any]:
        """The arguments of `sac_fast.simulate` that say how models are trained."""
        from ..attacks import TrainingConfig

        # Flipped is the last dimension, which is the channels' in NHWC.
        common: dict[str, Any] = {"batch_size": self.batch_size, "flips": self.flips and layout == "NCHW"}
        with usage_errors("simulate"):
            config = TrainingConfig(self.epochs, learning_rate=self.learning_rate, **common)
            tuning = TrainingConfig(self.tuning_epochs, learning_rate=self.tuning_learning_rate, **common)
        return {"config": config, "tuning": tuning, "device": self.device, "workers": self.workers}


@expand_option_groups
def simulate(
    model: Annotated[str, Option(help="Your model: package.module:callable that returns the nn.Module.")],
    weights: Annotated[Path, file_option("Its weights: safetensors, or a weights_only state dict.")],
    data: Annotated[
        Path, Option(exists=True, help="The thief's images: folder, HDF5 with /data and /label, or probe file.")
    ],
    out: Annotated[Path, Option(help="Folder of the labelled zoo; an earlier simulation in it is resumed.")],
    models: ModelOptions,
    files: ImageOptions,
    inputs: InputOptions,
    training: TrainingOptions,
    model_args: ModelArgs = None,
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
    from .fingerprint_files import load_nulls
    from .render.simulate import show_simulation

    preprocessing = inputs.parse("simulate")
    trainings = training.parse(inputs.layout)
    arguments = parse_json_object(model_args)
    which, probe_files = models.parse(), name_probe_files(files.probes)
    images = files.read(data, models.seed, not quiet)
    probes = {name: ProbeSet.load(file) for name, file in probe_files.items()}
    own = load_nulls(models.own_independents or [])
    allow_code_in(os.getcwd())
    summary = run(
        out, Architecture(model, arguments), weights, images,
        models=which, preprocessing=preprocessing, probes=probes, progress=not quiet, own_independents=own, **trainings,
    )  # fmt: skip
    show_simulation(summary, as_json)
    if summary["failed"]:
        raise typer.Exit(ERROR)
