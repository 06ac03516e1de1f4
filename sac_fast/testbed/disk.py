"""A test bed on the user's own images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError, require
from ..io.files import StrPath
from ..labelled_zoo.images import Images
from .images import Found, read_images, scale, scaled
from .patches import CLASSES, PREPROCESSING, Counts, make_patches
from .plan import ARCHITECTURES, Size
from .task import Task

_PHOTOGRAPHS = Counts(attacker=300, test=100, pool=1, surrogate=1, transfer=1, transfer_test=1)
_MIN_EPOCHS = 30  # however large the user's data set is


def disk_task(path: StrPath, *, seed: int = 0, size: int = 32, per_class: int | None = None) -> Task:
    """Make a task of images on disk (`sac_fast.testbed.images` lists the layouts).

    Training images without a division are halved between defender and attacker, class by class; test images are
    halved between accuracy and probes. A single set becomes 35 % defender, 35 % attacker, 30 % test
    images. The transferred models' task and the surrogate images are the photographs of the patches task: real
    images, of other things.

    Args:
        path: file or folder.
        seed: decides who gets which image.
        size: height and width of the images, a multiple of 8 from 16 on.
        per_class: largest number of images of each class for the defender and for the attacker each.

    Returns:
        The task.

    Raises:
        ProbeError, FileFormatError: see `read_images`; a side without images.
        ValueError: another size.
    """
    require(size >= 16 and size % 8 == 0, "size must be a multiple of 8 of at least 16", size)
    require(per_class is None or per_class >= 1, "per_class must be at least 1", per_class)
    found = read_images(path, size)
    generator = np.random.default_rng([seed, 0xD15C])
    sides = _sides(found, generator)
    if per_class is not None:
        for side in ("defender", "attacker"):
            sides[side] = _at_most(sides[side], per_class, generator)
    photographs = make_patches(seed, _PHOTOGRAPHS)
    return Task(
        name=found.name,
        classes=found.classes,
        defender=sides["defender"],
        attacker=sides["attacker"],
        test=sides["test"],
        pool=sides["pool"],
        surrogate=scale(photographs.attacker.pixels, size),
        transfer=scaled(photographs.defender, size),
        transfer_test=scaled(photographs.test, size),
        transfer_classes=CLASSES,
        preprocessing=PREPROCESSING,
        facts={"seed": seed, "folder": Path(path).resolve().name, "per_class": per_class},
    )


def disk_size(size: Size, task: Task) -> Size:
    """A size with epochs enough for a larger data set than the patches."""
    rows = max(len(task.defender), len(task.attacker))
    images = max(size.images, _MIN_EPOCHS * rows)
    return dataclasses.replace(size, images=images, tuning=max(size.tuning, images // 3))


def disk_architectures(size: int) -> dict[str, dict[str, object]]:
    """The architectures' arguments for images of this size."""
    return {**ARCHITECTURES, "mixer": {**ARCHITECTURES["mixer"], "size": size, "tile": size // 4}}


def _sides(found: Found, generator: np.random.Generator) -> dict[str, Images]:
    given = found.sides
    if "all" in given:
        names, shares = ("defender", "attacker", "test", "pool"), (0.35, 0.35, 0.12, 0.18)
        return share_out(given["all"], names, shares, generator, found.groups)
    if "train" in given:
        sides = share_out(given["train"], ("defender", "attacker"), (0.5, 0.5), generator)
    else:
        sides = {side: given[side] for side in ("defender", "attacker")}
    return {**sides, **share_out(given["test"], ("test", "pool"), (0.4, 0.6), generator)}


def share_out(
    images: Images,
    names: Sequence[str],
    shares: Sequence[float],
    generator: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Images]:
    """Divide images at random, class by class, or by whole groups where ``groups`` are given.

    Args:
        images: to share.
        names: of the sides.
        shares: of the sides, they sum to 1.
        generator: decides.
        groups: (n,) a number an image; images of one number stay together.

    Returns:
        Images by side, each side in random order.

    Raises:
        ProbeError: a side that would be empty.
    """
    owners = np.empty(len(images), np.int64)
    bounds = np.cumsum(shares)
    bounds[-1] = 1
    if groups is not None:
        numbers = np.unique(groups)
        ranks = np.searchsorted(bounds * len(numbers), generator.permutation(len(numbers)) + 0.5)
        owners = ranks[np.searchsorted(numbers, groups)]
    else:
        for label in np.unique(images.labels):
            rows = np.flatnonzero(images.labels == label)
            owners[generator.permutation(rows)] = np.searchsorted(bounds * len(rows), np.arange(len(rows)) + 0.5)
    result = {}
    for number, name in enumerate(names):
        mine = generator.permutation(np.flatnonzero(owners == number))
        if not len(mine):
            raise ProbeError(f"images must be enough for every side, got none for {name} out of {len(images)}")
        result[name] = images.take(mine)
    return result


def _at_most(images: Images, per_class: int, generator: np.random.Generator) -> Images:
    rows = [np.flatnonzero(images.labels == label)[:per_class] for label in np.unique(images.labels)]
    return images.take(generator.permutation(np.concatenate(rows)))
