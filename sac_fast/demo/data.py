"""A small recognition task cut from the photographs that ship inside scikit-image and scikit-learn.

One class is one photograph. Each photograph is divided into square cells, each cell belongs to the
defender, to the attacker or to the test, and 32×32 patches are cut inside cells only: the three sides
have one distribution and share no pixel. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..labelled_zoo.images import Images
from ..labelled_zoo.photographs import CELL, assign_cells, read_photograph
from ..labelled_zoo.photographs import PHOTOGRAPHS as ALL

# The classes. Left out are photographs of which many patches say nothing (black corners, flat paper: astronaut,
# page) or look like another photograph's (street scenes, coats, coins): the task is about theft and must be
# learnt in seconds.
PHOTOGRAPHS = (
    "coffee", "hubble_deep_field", "ihc", "retina", "rocket", "brick", "gravel", "moon", "grass", "flower",
)  # fmt: skip

#: Other photographs, on which the public backbone is trained.
PUBLIC = tuple(name for name in ALL if name not in PHOTOGRAPHS)

PATCH = 32
_STEP = 4  # patches of one cell start on this grid: 25 a cell


@dataclass(frozen=True)
class Task:
    """The recognition task: three sides without a common pixel, and the class names in label order."""

    defender: Images
    attacker: Images
    test: Images
    classes: tuple[str, ...]


def _cut(
    photograph: NDArray[np.uint8], cells: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut ``count`` different patches, or all of them, out of cells given as (m, 2) row and column."""
    offsets = np.arange(0, CELL - PATCH + 1, _STEP)
    dy, dx = (grid.ravel() for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    top = (cells[:, :1] * CELL + dy).ravel()
    left = (cells[:, 1:] * CELL + dx).ravel()
    chosen = generator.permutation(top.size)[:count]
    corners = zip(top[chosen], left[chosen], strict=True)
    return np.stack([photograph[y : y + PATCH, x : x + PATCH] for y, x in corners])


def make_task(
    seed: int = 0, *, patches: int = 400, test_patches: int = 100, photographs: tuple[str, ...] = PHOTOGRAPHS
) -> Task:
    """Cut the task out of the photographs.

    Args:
        seed: decides which cell goes to whom and which patches are cut.
        patches: training patches per photograph, for the defender and for the attacker each.
        test_patches: test patches per photograph.
        photographs: names of photographs, one class each.

    Returns:
        The task; rows are in random order, the same for the same seed.

    Raises:
        ProbeError: a photograph is missing.
    """
    generator = np.random.default_rng([seed, 0x5AC])
    counts = (patches, patches, test_patches)
    cuts: tuple[list[NDArray[np.uint8]], ...] = ([], [], [])
    for name in photographs:
        photograph = read_photograph(name)
        cells = assign_cells(photograph.shape[0], photograph.shape[1], generator)
        for side, count in enumerate(counts):
            cuts[side].append(_cut(photograph, np.argwhere(cells == side), count, generator))
    defender, attacker, test = (Images.shuffled(by_class, generator) for by_class in cuts)
    return Task(defender, attacker, test, photographs)
