"""Fashion-MNIST: 70,000 gray images of clothes, 28×28, in ten classes, from the IDX files of its authors.

The training images are halved, class by class: half A is the defender's and half B the attacker's, or the other way
round. The test images are divided between accuracy and probes. The thief without images of the kind (Knockoff) has
collages: two of the attacker's images, turned, scaled and shifted, one pasted into the other. The other task, of
transferred models and of honest ones for other classes, is the photographs of the patches task, gray.

Source: Xiao, Rasul, Vollgraf, arXiv 1708.07747. Debian's package ``dataset-fashion-mnist`` installs the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..errors import ProbeError
from ..formats.idx import find_idx, read_idx
from ..io.files import StrPath
from ..labelled_zoo.images import Images
from .disk import share_out
from .images import scale
from .patches import PREPROCESSING, Counts, make_patches
from .task import Task

FOLDER = "/usr/share/datasets/fashion-mnist"  # of Debian's package
CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
#: Wider than for the patches: more classes look alike.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vgg": {"width": 16},
    "resnet": {"width": 16},
    "mobilenet": {"width": 16, "expansion": 2},
    "densenet": {"width": 16, "growth": 16},
    "mixer": {"size": 28, "tile": 7, "channels": 64},
}
_OTHER_TASK = ("brick", "chelsea", "coffee", "flower", "grass", "gravel", "hubble_deep_field", "ihc", "rocket")
_SALT = 0xFA5410


@dataclass(frozen=True)
class FashionCounts:
    """Numbers of images.

    Attributes:
        defender, attacker: of a half (30,000), to train on.
        test, pool: of the 10,000 test images.
        surrogate: collages.
        transfer, transfer_test: of the other task, a class.
    """

    defender: int = 16_000
    attacker: int = 20_000
    test: int = 2000
    pool: int = 8000
    surrogate: int = 20_000
    transfer: int = 200
    transfer_test: int = 60


QUICK_FASHION = FashionCounts(6000, 8000, 1000, 3000, 8000, 60, 30)


def read_fashion(folder: StrPath = FOLDER) -> tuple[Images, Images]:
    """Training and test images, (n, 28, 28, 3), the three channels alike.

    Args:
        folder: with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, each plain or as ``.gz``.

    Raises:
        FileFormatError: a missing or damaged file.
        ProbeError: no such folder, other sizes, or labels that are no class.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ProbeError(
            f"folder of fashion must hold Fashion-MNIST's IDX files (Debian: apt install dataset-fashion-mnist), got "
            f"none at {str(folder)!r}"
        )
    sides = []
    for stem in ("train", "t10k"):
        pixels = read_idx(find_idx(place, f"{stem}-images-idx3-ubyte"), 3)
        labels = read_idx(find_idx(place, f"{stem}-labels-idx1-ubyte"), 1).astype(np.int64)
        if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels) or labels.max() >= len(CLASSES):
            raise ProbeError(
                f"{stem} images of {str(folder)!r} must be (n, 28, 28) with n labels 0…{len(CLASSES) - 1}, got "
                f"{pixels.shape} with {len(labels)} labels up to {labels.max()}"
            )
        sides.append(Images(np.repeat(pixels[..., None], 3, axis=3), labels))
    return sides[0], sides[1]


def make_fashion(seed: int = 0, counts: FashionCounts | None = None, folder: StrPath = FOLDER) -> Task:
    """Make the task.

    Args:
        seed: decides who gets which image.
        counts: how many.
        folder: see `read_fashion`.

    Returns:
        The task; that of the other half is its `Task.on_half`.

    Raises:
        ProbeError, FileFormatError: see `read_fashion`; too few images for the counts.
    """
    counts = counts or FashionCounts()
    train, tested = read_fashion(folder)
    generator = np.random.default_rng([seed, _SALT])
    halves = list(share_out(train, ("a", "b"), (0.5, 0.5), generator).values())
    smaller = min(len(half) for half in halves)
    for name, limit in (("defender", smaller), ("attacker", smaller), ("test", len(tested) - counts.pool)):
        if getattr(counts, name) > limit:
            raise ProbeError(f"images must be enough for {getattr(counts, name)} of {name}, got {limit}")
    order = generator.permutation(len(tested))
    first, second = ((_head(half, counts.defender), _head(half, counts.attacker)) for half in halves)
    photographs = make_patches(
        seed,
        Counts(defender=counts.transfer, test=counts.transfer_test, attacker=1, pool=1, surrogate=1, transfer=1,
               transfer_test=1),
        classes=_OTHER_TASK,
    )  # fmt: skip
    return Task(
        name="fashion",
        classes=CLASSES,
        defender=first[0],
        attacker=second[1],
        other_half={
            "defender": second[0],
            "attacker": first[1],
            "surrogate": collages(first[1].pixels, counts.surrogate, generator),
        },
        test=tested.take(order[counts.pool : counts.pool + counts.test]),
        pool=tested.take(order[: counts.pool]),
        surrogate=collages(second[1].pixels, counts.surrogate, generator),
        transfer=_gray(photographs.defender),
        transfer_test=_gray(photographs.test),
        transfer_classes=photographs.classes,
        preprocessing=PREPROCESSING,
        facts={"seed": seed},
    )


def _head(images: Images, count: int) -> Images:
    return images.take(np.arange(count))


def _gray(images: Images) -> Images:
    small = scale(images.pixels, 28)
    gray = np.rint(small.astype(np.float64).mean(axis=3)).astype(np.uint8)
    return Images(np.repeat(gray[..., None], 3, axis=3), images.labels)


def collages(pixels: NDArray[np.uint8], count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Images that are none of the kind: two, each turned up to 15°, scaled by 0.8 … 1.2, shifted, one pasted into the
    other through a random window of a fifth to two fifths of the sides.

    Args:
        pixels: uint8 (n, H, W, 3), gray.
        count: of collages.
        generator: decides everything random.

    Returns:
        uint8 (count, H, W, 3), gray.
    """
    height, width = pixels.shape[1:3]
    made = [_moved(pixels[generator.integers(len(pixels), size=count), :, :, 0], generator) for _ in range(2)]
    result = made[0]
    rows, columns = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    sides = (generator.uniform(0.2, 0.4, (2, count)) * [[height], [width]]).astype(np.int64)
    top, left = (generator.integers(0, side - inner + 1) for side, inner in zip((height, width), sides, strict=True))
    inside = (rows >= top[:, None, None]) & (rows < (top + sides[0])[:, None, None])
    inside = inside & (columns >= left[:, None, None]) & (columns < (left + sides[1])[:, None, None])
    result[inside] = made[1][inside]
    return np.repeat(result[..., None], 3, axis=3)


def _moved(gray: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    count = len(gray)
    angle, zoom = np.radians(generator.uniform(-15, 15, count)), np.exp(generator.uniform(-0.2, 0.15, count))
    shift = generator.uniform(-0.1, 0.1, (2, count))
    matrix = np.stack(
        [np.stack([np.cos(angle) / zoom, -np.sin(angle) / zoom, shift[0]], 1),
         np.stack([np.sin(angle) / zoom, np.cos(angle) / zoom, shift[1]], 1)], 1
    )  # fmt: skip
    images = torch.from_numpy(gray).float()[:, None]
    grid = F.affine_grid(torch.from_numpy(matrix).float(), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, align_corners=False)[:, 0]
    return moved.round().clamp(0, 255).to(torch.uint8).numpy()
