"""The photographs in scikit-image and scikit-learn, and their division among the sides.

Nothing is downloaded: they are files of the installed packages.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, ProbeError
from ..io.files import open_regular
from ..probes.image_file import open_image

_SKIMAGE = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
    "page.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
# Name -> (package, file in its wheel). Gray photographs are replicated to three channels.
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    **{Path(file).stem.removesuffix("_left"): ("skimage", f"data/{file}") for file in _SKIMAGE},
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}

CELL = 48  # pixels a side


def installed_file(what: str, package: str, inside: str) -> Path:
    """Where a file of an installed package is.

    Args:
        what: is in the file, for the message.
        package: its name.
        inside: path of the file in the package's folder.

    Raises:
        ProbeError: the package is not installed.
    """
    # find_spec locates the folder without running the package's import, which would take a second.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ProbeError(
            f"{what} must come from the package {package}, which is not installed: pip install 'sac-fast[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / inside


def read_photograph(name: str) -> NDArray[np.uint8]:
    """Read one photograph from its installed package.

    Args:
        name: a key of ``PHOTOGRAPHS``.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ProbeError: the package is not installed, or its wheel lacks the file.
    """
    path = installed_file(f"photograph {name!r}", *PHOTOGRAPHS[name])
    try:
        with open_regular(path) as handle, open_image(handle) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (FileFormatError, OSError) as error:
        raise ProbeError(f"photograph {name!r} must be readable at {path}, got: {error}") from error


def assign_cells(
    height: int, width: int, generator: np.random.Generator, shares: Sequence[float] = (0.4, 0.4, 0.2)
) -> NDArray[np.int64]:
    """Divide a photograph into square cells and give each to one side: the sides share no pixel.

    Args:
        height, width: of the photograph, in pixels; what does not fill a cell at the right and lower edge
            is not used.
        generator: decides the order.
        shares: of the cells, side by side; they sum to 1.

    Returns:
        (height // 48, width // 48) int64: the number of the side.

    Raises:
        ProbeError: fewer than five cells, so that a side would be empty.
    """
    rows, columns = height // CELL, width // CELL
    count = rows * columns
    if count < 5:
        raise ProbeError(f"photograph must have at least 5 cells of {CELL}×{CELL}, got {count} from {height}×{width}")
    bounds = np.round(np.cumsum(shares) * count).astype(np.int64)
    sides = np.searchsorted(bounds, np.arange(count), side="right")
    return generator.permutation(sides).reshape(rows, columns).astype(np.int64)
