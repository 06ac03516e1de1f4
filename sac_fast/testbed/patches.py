"""The built-in task: from which photograph does this patch come?

One class is one photograph. Each photograph is divided into square cells, each cell belongs to the defender, to the
attacker or to the probes; patches are cut inside cells only, so the sides have one distribution and share no pixel. A
patch is a square of random size, turned and mirrored at random, scaled to 32×32, its light and colours changed. The
defender has few images: a network that memorises them classifies nine of ten others correctly, and its mistakes are its
own. The thief has more images than the defender, since unlabelled ones suffice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..labelled_zoo.images import Images
from ..labelled_zoo.photographs import CELL, assign_cells, read_photograph
from ..models import Preprocessing
from .task import Task

PATCH = 32
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
CLASSES = (
    "brick", "camera", "chelsea", "china", "coffee", "flower", "grass", "gravel", "hubble_deep_field", "ihc", "moon",
    "retina", "rocket",
)  # fmt: skip
# The other task, of the transferred models: photographs that the source never saw.
TRANSFER_CLASSES = ("cell", "clock_motion", "coins", "motorcycle", "page")
_SIDES = (32, 40)  # of the square before it is scaled
_SALT = 0x7E57BED


@dataclass(frozen=True)
class Counts:
    """Patches a photograph.

    Attributes:
        defender, attacker, test, pool: of the task.
        surrogate: of the attacker's cells seen otherwise, and of the transfer photographs.
        transfer, transfer_test: of the other task.
        shares: of the cells: defender, attacker, probes (test and pool).
        change: how much light and colours are changed, see `_recolour`.
    """

    defender: int = 100
    attacker: int = 340
    test: int = 200
    pool: int = 2200
    surrogate: int = 300
    transfer: int = 150
    transfer_test: int = 100
    shares: tuple[float, float, float] = (0.22, 0.42, 0.36)
    change: float = 0.11


#: For several sources, on either half of the data: the cells of the sides are as many.
HALVES = Counts(test=150, pool=320, surrogate=240, shares=(0.32, 0.32, 0.36))
QUICK_COUNTS = Counts(attacker=260, test=100, pool=700, surrogate=100, transfer=100, transfer_test=60)


def _recolour(patch: NDArray[np.uint8], change: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Contrast times exp(±c), each channel times exp(±0.6 c), light plus ±128 c; c = change, uniformly drawn."""
    values = patch.astype(np.float64)
    contrast = np.exp(generator.uniform(-change, change))
    gains = np.exp(0.6 * generator.uniform(-change, change, 3))
    light = 128 * generator.uniform(-change, change)
    mean = values.mean()
    changed = ((values - mean) * contrast + mean) * gains + light
    pixels: NDArray[np.uint8] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return pixels


def cut(
    photograph: NDArray[np.uint8],
    cells: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
    *,
    change: float,
    sides: tuple[int, int] = _SIDES,
) -> NDArray[np.uint8]:
    """Cut patches out of cells, the cells in turn.

    Args:
        photograph: (H, W, 3) uint8.
        cells: (m, 2) row and column of each, m at least 1.
        count: of patches.
        generator: decides everything random.
        change: of light and colours.
        sides: smallest and largest side of the square before it is scaled, at most that of a cell.

    Returns:
        (count, 32, 32, 3) uint8.
    """
    order = generator.permutation(len(cells))
    patches = np.empty((count, PATCH, PATCH, 3), np.uint8)
    for index in range(count):
        row, column = cells[order[index % len(cells)]]
        side = int(generator.integers(sides[0], sides[1] + 1))
        top, left = (int(at) * CELL + int(generator.integers(CELL - side + 1)) for at in (row, column))
        patch = photograph[top : top + side, left : left + side]
        if side != PATCH:
            patch = np.asarray(Image.fromarray(patch).resize((PATCH, PATCH), Image.Resampling.BILINEAR))
        patch = np.rot90(patch, int(generator.integers(4)))
        if generator.random() < 0.5:
            patch = patch[:, ::-1]
        patches[index] = _recolour(patch, change, generator)
    return patches


def make_patches(
    seed: int = 0,
    counts: Counts | None = None,
    *,
    classes: Sequence[str] = CLASSES,
    transfer_classes: Sequence[str] = TRANSFER_CLASSES,
) -> Task:
    """Cut the task out of the photographs.

    Args:
        seed: decides which cell goes to whom and how the patches are cut.
        counts: how many.
        classes, transfer_classes: names of photographs.

    Returns:
        The task; the same for the same arguments.

    Raises:
        ProbeError: a photograph is missing (``pip install 'sac-fast[demo]'``).
    """
    counts = counts or Counts()
    generator = np.random.default_rng([seed, _SALT])
    # Names, shares of the owners, owner of each side; whose cells are seen by a thief without images of the kind, and
    # sides of the squares: the same motifs of the attacker's, nearer and in another light, and other photographs.
    parts = (
        (classes, counts.shares, {"defender": 0, "attacker": 1, "test": 2, "pool": 2}, 1, (20, 30)),
        (transfer_classes, (0.6, 0.4), {"transfer": 0, "transfer_test": 1}, 0, _SIDES),
    )
    order = ("defender", "attacker", "test", "pool", "surrogate", "transfer", "transfer_test")
    patches: dict[str, list[NDArray[np.uint8]]] = {side: [] for side in order}
    cells_of: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
    for names, shares, owner_of, seen, squares in parts:
        for name in names:
            photograph = read_photograph(name)
            owners = assign_cells(photograph.shape[0], photograph.shape[1], generator, shares)
            if names is classes:
                cells_of.append((photograph, owners))
            for side, owner in owner_of.items():
                cells, count = np.argwhere(owners == owner), getattr(counts, side)
                patches[side].append(cut(photograph, cells, count, generator, change=counts.change))
            cells, change = np.argwhere(owners == seen), 3 * counts.change
            patches["surrogate"].append(
                cut(photograph, cells, counts.surrogate, generator, change=change, sides=squares)
            )
    sides: dict[str, Any] = {side: Images.shuffled(by_class, generator) for side, by_class in patches.items()}
    other_half: dict[str, Any] = {}
    for side, owner in (("defender", 1), ("attacker", 0)):
        by_class = [
            cut(photograph, np.argwhere(owners == owner), getattr(counts, side), generator, change=counts.change)
            for photograph, owners in cells_of
        ]
        other_half[side] = Images.shuffled(by_class, generator)
    return Task(
        name="patches",
        classes=tuple(classes),
        **{**sides, "surrogate": sides["surrogate"].pixels},
        transfer_classes=tuple(transfer_classes),
        preprocessing=PREPROCESSING,
        facts={"seed": seed},
        other_half=other_half,
    )
