"""The tasks by the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..attacks import TrainingConfig
from .disk import disk_architectures, disk_size, disk_task
from .faces import FACES, QUICK_FACES, QUICK_VIEWS, make_faces
from .faces import HALVES as FACE_HALVES
from .fashion import ARCHITECTURES as FASHION_ARCHITECTURES
from .fashion import FOLDER, QUICK_FASHION, make_fashion
from .patches import HALVES, QUICK_COUNTS, Counts, make_patches
from .plan import ARCHITECTURES, FULL, QUICK, Size
from .sources import SourcesSize
from .task import Task

_BACKBONE = 0xBB  # added to the seed of the task backbone
Architectures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SourcesTask:
    """A task for several sources, its size and its architectures."""

    task: Task
    size: SourcesSize
    architectures: Architectures


_FASHION = TrainingConfig(batch_size=64, weight_decay=1e-4, flips=False)
_SOURCES_SIZES: Mapping[str, SourcesSize] = {
    "fashion": SourcesSize(images=48_000, tuning=16_000, probes=8000, config=_FASHION),
    "patches": SourcesSize(images=36_000, tuning=16_000, probes=4160, extraction=1.5),
    "backbone": SourcesSize(images=24_000, tuning=12_000, probes=4160, extraction=1.5, pretrained=True),
    # Verification has no other classes, and a thief with images of other people none of the attacks by labels.
    "faces": SourcesSize(
        images=24_000,
        tuning=12_000,
        probes=2000,
        extraction=1.5,
        thefts={
            "extract-labels": (0, 1),
            "extract-soft-t1": (1, 0),
            "extract-similarities": (0, 1, 2),
            "transfer-all": (0, 0),
            "quantize-int8": (0,),
            "weight-noise": (0, 0),
        },
        shared={"same-data": ("densenet", "mixer"), "other-data": ("densenet", "mixer")},
    ),
}


def _quick(size: SourcesSize) -> SourcesSize:
    """For a first look: minutes for one source."""
    return replace(size, siblings=4, images=12_000, tuning=4000, honest=1, backbone_images=12_000)


def make_sources_task(name: str, *, quick: bool = False, seed: int = 0, **disk: Any) -> SourcesTask:
    """Make a task for test beds with several sources.

    Args:
        name: ``"fashion"`` or ``"fashion:FOLDER"``, ``"patches"``, ``"backbone"``, ``"faces"``, or a path, see
            `make_task`.
        quick: a small one.
        seed: of the task.
        disk: ``image_size`` and ``per_class``, see `disk_task`.

    Raises:
        ProbeError, FileFormatError, ValueError: see `make_task`.
    """
    what, _, folder = name.partition(":")
    architectures: Architectures = ARCHITECTURES
    if what == "faces":
        task = make_faces(seed, QUICK_VIEWS if quick else None, FACE_HALVES)
    elif what == "backbone":
        # Cells and cuts of its own, and few images: most is learned from the public model.
        task = make_patches(seed + _BACKBONE, replace(HALVES, defender=60))
    elif what == "patches":
        task = make_patches(seed, HALVES)
    elif what == "fashion":
        task = make_fashion(seed, QUICK_FASHION if quick else None, folder or FOLDER)
        architectures = FASHION_ARCHITECTURES
    else:
        task, one, architectures = make_task(name, quick=quick, seed=seed, **disk)
        size = SourcesSize(images=one.images, tuning=one.tuning, probes=one.probes)
        return SourcesTask(task, _quick(size) if quick else size, architectures)
    size = _SOURCES_SIZES[what]
    return SourcesTask(task, _quick(size) if quick else size, architectures)


def make_task(
    name: str, *, quick: bool = False, seed: int = 0, image_size: int = 32, per_class: int | None = None
) -> tuple[Task, Size, Architectures]:
    """Make a task by name.

    Args:
        name: ``"patches"``, ``"faces"``, ``"fashion"`` or ``"fashion:FOLDER"``, or the path of a file or folder of
            images (`sac_fast.testbed.images`).
        quick: a small one.
        seed: of the task.
        image_size, per_class: of images from disk, see `disk_task`.

    Returns:
        Task, size of the test bed, architectures with their arguments.

    Raises:
        ProbeError, FileFormatError: no such task, or its images are missing or damaged.
        ValueError: a wrong size.
    """
    size = QUICK if quick else FULL
    if name == "patches":
        return make_patches(seed, QUICK_COUNTS if quick else Counts()), size, ARCHITECTURES
    if name.partition(":")[0] == "fashion":
        folder = name.partition(":")[2] or FOLDER
        task = make_fashion(seed, QUICK_FASHION if quick else None, folder)
        config = _SOURCES_SIZES["fashion"].config
        return task, replace(size, config=config), FASHION_ARCHITECTURES
    if name == "faces":
        return make_faces(seed, QUICK_VIEWS if quick else None), QUICK_FACES if quick else FACES, ARCHITECTURES
    task = disk_task(name, seed=seed, size=image_size, per_class=per_class)
    return task, disk_size(size, task), disk_architectures(image_size)
