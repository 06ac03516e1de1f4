"""A small recognition task cut from the photographs that ship inside scikit-image and scikit-learn.

One class is one photograph. Each photograph is divided into square cells, each cell belongs to the
defender, to the attacker or to the test, and 32×32 patches are cut inside cells only: the three sides
have one distribution and share no pixel. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ProbeError

# Class name -> (package, file in its wheel). Gray photographs are replicated to three channels. Left out are
# those of which many patches say nothing (black corners, flat paper: astronaut, page, text) or look like
# another photograph's (street scenes, coats, coins): the task is about theft and shall be learnt in seconds.
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "coffee": ("skimage", "data/coffee.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "brick": ("skimage", "data/brick.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "moon": ("skimage", "data/moon.png"),
    "grass": ("skimage", "data/grass.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}

PATCH = 32
_CELL = 48  # pixels a side: 25 patches a cell, and enough cells that each side sees all of a photograph
_STEP = 4  # patches of one cell start on this grid
_SHARES = (0.4, 0.4, 0.2)  # of the cells: defender, attacker, test


@dataclass(frozen=True)
class Patches:
    """Patches of one side: ``images`` (n, 32, 32, 3) uint8 and ``labels`` (n,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """The recognition task: three sides without a common pixel, and the class names in label order."""

    defender: Patches
    attacker: Patches
    test: Patches
    classes: tuple[str, ...]


def read_photograph(name: str) -> NDArray[np.uint8]:
    """Read one photograph from the installed package that carries it.

    Args:
        name: a key of ``PHOTOGRAPHS``.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ProbeError: the package is not installed, or its wheel lacks the file.
    """
    package, inside = PHOTOGRAPHS[name]
    # find_spec locates the folder without running the package's import, which would take a second.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ProbeError(
            f"photograph {name!r} must come from the package {package}, which is not installed: "
            "pip install 'sac-fast[demo]'"
        )
    path = Path(spec.submodule_search_locations[0]) / inside
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except OSError as error:
        raise ProbeError(f"photograph {name!r} must be readable at {path}, got: {error}") from error


def assign_cells(height: int, width: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Assign the cells of a photograph to the sides.

    Args:
        height, width: of the photograph, in pixels; what does not fill a cell at the right and lower edge
            is not used.
        generator: decides the order.

    Returns:
        (height // 64, width // 64) int64: 0 defender, 1 attacker, 2 test.

    Raises:
        ProbeError: fewer than five cells, so that a side would be empty.
    """
    rows, columns = height // _CELL, width // _CELL
    count = rows * columns
    if count < 5:
        raise ProbeError(f"photograph must have at least 5 cells of {_CELL}×{_CELL}, got {count} from {height}×{width}")
    bounds = np.round(np.cumsum(_SHARES) * count).astype(np.int64)
    sides = np.searchsorted(bounds, np.arange(count), side="right")
    return generator.permutation(sides).reshape(rows, columns).astype(np.int64)


def _cut(
    photograph: NDArray[np.uint8], cells: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut ``count`` different patches, or all there are, out of cells given as (m, 2) row and column."""
    offsets = np.arange(0, _CELL - PATCH + 1, _STEP)
    dy, dx = (grid.ravel() for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    top = (cells[:, :1] * _CELL + dy).ravel()
    left = (cells[:, 1:] * _CELL + dx).ravel()
    chosen = generator.permutation(top.size)[:count]
    corners = zip(top[chosen], left[chosen], strict=True)
    return np.stack([photograph[y : y + PATCH, x : x + PATCH] for y, x in corners])


def make_task(
    seed: int = 0,
    *,
    patches: int = 400,
    test_patches: int = 100,
    photographs: tuple[str, ...] = tuple(PHOTOGRAPHS),
) -> Task:
    """Cut the task out of the photographs.

    Args:
        seed: decides which cell goes to whom and which patches are cut.
        patches: training patches per photograph, for the defender and for the attacker each.
        test_patches: test patches per photograph.
        photographs: keys of ``PHOTOGRAPHS``, one class each.

    Returns:
        The task; rows are in random order, the same for the same seed.

    Raises:
        ProbeError: a photograph is missing.
    """
    generator = np.random.default_rng([seed, 0x5AC])
    counts = (patches, patches, test_patches)
    images: tuple[list[NDArray[np.uint8]], ...] = ([], [], [])
    labels: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for label, name in enumerate(photographs):
        photograph = read_photograph(name)
        cells = assign_cells(photograph.shape[0], photograph.shape[1], generator)
        for side, count in enumerate(counts):
            cut = _cut(photograph, np.argwhere(cells == side), count, generator)
            images[side].append(cut)
            labels[side].append(np.full(len(cut), label, dtype=np.int64))
    sides = []
    for side in range(3):
        pixels, answers = np.concatenate(images[side]), np.concatenate(labels[side])
        order = generator.permutation(len(answers))
        sides.append(Patches(pixels[order], answers[order]))
    return Task(sides[0], sides[1], sides[2], photographs)
