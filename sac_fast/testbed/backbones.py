"""Public models from which others are fine-tuned, trained without labels: which cell of a photograph is this patch of?

Every cell of 48×48 pixels is a class of its own, its patches are cut, turned, mirrored and recoloured at random; what
is learned serves other tasks. The photographs are none of a task's classes. ``"public"`` and ``"unrelated"`` are
trained on different photographs.

Source: Dosovitskiy et al., *Discriminative unsupervised feature learning with exemplar convolutional neural networks*,
arXiv 1406.6909.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..attacks import TrainingConfig, replace_head, train
from ..attacks.training import seeded
from ..errors import ModelError
from ..labelled_zoo.images import Images
from ..labelled_zoo.photographs import assign_cells, read_photograph
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import inputs
from ..labelled_zoo.training_pool import StoppedError, in_processes, prepare_worker
from ..models import Preprocessing, load_model, save_weights
from .images import scale
from .patches import cut

PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = {
    "public": ("cell", "coins", "motorcycle"),
    "unrelated": ("astronaut", "clock_motion", "page"),
}
_SALT = 0xBACB02E
_MAX_EACH = 60
_OUTPUTS = 2  # of the head in the file, which nobody uses: every task puts its own there


@dataclass(frozen=True)
class Backbone:
    """A public model before it is trained; ``photographs`` is a key of ``PHOTOGRAPHS``."""

    photographs: str
    label: str
    architecture: Architecture
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.photographs}-{self.label}"


def exemplars(photographs: Sequence[str], count: int, size: int, *, gray: bool, seed: int = 0) -> Images:
    """Patches of every cell, which is their label.

    Args:
        photographs: names.
        count: of patches in all, about: 2 … 60 a cell.
        size: height and width.
        gray: with the three channels alike.
        seed: of the patches.

    Returns:
        Images in random order.

    Raises:
        ProbeError: a photograph is missing.
    """
    generator = np.random.default_rng([seed, _SALT])
    cells = [
        (photograph, cell[None])
        for photograph in map(read_photograph, photographs)
        for cell in np.argwhere(assign_cells(photograph.shape[0], photograph.shape[1], generator) >= 0)
    ]
    each = min(max(count // len(cells), 2), _MAX_EACH)
    by_class = [scale(cut(photograph, cell, each, generator, change=0.2), size) for photograph, cell in cells]
    images = Images.shuffled(by_class, generator)
    if not gray:
        return images
    mean = np.rint(images.pixels.astype(np.float64).mean(axis=3)).astype(np.uint8)
    return Images(np.repeat(mean[..., None], 3, axis=3), images.labels)


def load_backbone(folder: Path, photographs: str, architecture: Architecture) -> nn.Module:
    """A public model; its head has another number of outputs than the architecture's arguments say.

    Args:
        folder: of the files.
        photographs: key of ``PHOTOGRAPHS``.
        architecture: of the file.

    Raises:
        ModelError, FileFormatError: it is missing or damaged.
    """
    weights = folder / f"{photographs}-{architecture.label}.safetensors"
    return load_model(architecture.spec, weights=weights, kwargs={**architecture.arguments, "classes": _OUTPUTS})


@dataclass(frozen=True)
class _Work:
    folder: Path
    images: Mapping[str, Images]
    preprocessing: Preprocessing
    config: TrainingConfig
    stop: Event | None = None


_work: _Work | None = None


def train_backbones(
    folder: Path,
    planned: Sequence[Backbone],
    images: Mapping[str, Images],
    *,
    preprocessing: Preprocessing,
    config: TrainingConfig,
    workers: int | None = None,
) -> None:
    """Train the public models whose files are missing.

    Args:
        folder: of the files; made where it is missing.
        planned: the models.
        images: `exemplars` by the name of the photographs.
        preprocessing: of the task that will use them.
        config: of every training.
        workers: number of processes.

    Raises:
        ModelError: a training failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [each for each in planned if not (folder / f"{each.name}.safetensors").exists()]
    work = _Work(folder, images, preprocessing, config)
    for backbone, reason in in_processes(missing, _pretrain, _start, (work,), workers=workers):
        if reason is not None:
            raise ModelError(f"public model {backbone.name} failed: {reason}")


def _start(work: _Work, stop: Event) -> None:
    global _work
    prepare_worker()
    _work = _Work(work.folder, work.images, work.preprocessing, work.config, stop)


def _pretrain(backbone: Backbone) -> str | None:
    """Train and write one; returns why it failed."""
    assert _work is not None
    work = _work

    def check_stop(done: int, steps: int) -> None:
        if work.stop is not None and work.stop.is_set():
            raise StoppedError

    images = work.images[backbone.photographs]
    arguments = {**backbone.architecture.arguments, "classes": int(images.labels.max()) + 1}
    try:
        with seeded(backbone.seed, torch.device("cpu")):
            model = load_model(backbone.architecture.spec, kwargs=arguments).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels, labels = inputs(images.pixels, work.preprocessing), torch.from_numpy(images.labels)
        model = train(model, pixels, labels, config=work.config, seed=backbone.seed, progress=check_stop)
        save_weights(work.folder / f"{backbone.name}.safetensors", replace_head(model, _OUTPUTS))
    except StoppedError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
