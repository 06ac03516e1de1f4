"""The tasks by the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .disk import disk_architectures, disk_size, disk_task
from .faces import FACES, QUICK_FACES, QUICK_VIEWS, make_faces
from .patches import QUICK_COUNTS, Counts, make_patches
from .plan import ARCHITECTURES, FULL, QUICK, Size
from .task import Task

Architectures = Mapping[str, Mapping[str, Any]]


def make_task(
    name: str, *, quick: bool = False, seed: int = 0, image_size: int = 32, per_class: int | None = None
) -> tuple[Task, Size, Architectures]:
    """Make a task by name.

    Args:
        name: ``"patches"``, ``"faces"``, or the path of a file or folder of images (`sac_fast.testbed.images`).
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
    if name == "faces":
        return make_faces(seed, QUICK_VIEWS if quick else None), QUICK_FACES if quick else FACES, ARCHITECTURES
    task = disk_task(name, seed=seed, size=image_size, per_class=per_class)
    return task, disk_size(size, task), disk_architectures(image_size)
