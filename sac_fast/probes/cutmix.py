"""SAC-m probes: CutMix with a small patch away from the centre."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ProbeError
from .arguments import check_integer
from .committed_draw import derived_integer
from .jpeg import Pixels
from .probe_set import ProbeSet
from .provenance import step_versions

Box = list[int]


def cutmix(probes: ProbeSet, *, ratio: float = 0.2, centre: float = 0.5, seed: int = 0) -> ProbeSet:
    """Paste a patch of another image into each image, at the same position; labels are kept.

    The patch has ``max(1, round(ratio H)) × max(1, round(ratio W))`` pixels. Its position is chosen among those where
    it does not overlap the central ``centre H × centre W`` rectangle, its partner among the other images, by SHA-256 of
    ``("cutmix", seed, index, "place" or "partner")`` modulo their number. Positions are numbered row by row.

    Args:
        probes: at least two.
        ratio: side of the patch relative to the side of the image, above 0.
        centre: side of the excluded central rectangle relative to the side of the image, 0..1.
        seed: seed of positions and partners.

    Returns:
        New probes. The provenance has position and partner of each.

    Raises:
        ProbeError: fewer than two probes, a ratio that leaves no position for the patch, or a seed that is no integer.

    Example::

        >>> import numpy as np
        >>> images = np.zeros((2, 20, 20, 3), np.uint8)
        >>> images[1] = 200
        >>> probes = ProbeSet.from_arrays(images)
        >>> mixed = cutmix(probes)
        >>> int((mixed.images[0] == 200).sum()) == 4 * 4 * 3
        True

    Source: Guan et al., NeurIPS 2022, arXiv 2210.15427 (SAC-m); Yun et al., *CutMix*, ICCV 2019.
    """
    seed = check_integer("seed", seed)
    count, height, width, _ = probes.images.shape
    if count < 2:
        raise ProbeError(f"probes must be at least 2, each needs another to paste from, got {count}")
    if not 0 < ratio < 1 or not 0 <= centre <= 1:
        raise ProbeError(f"ratio must be in (0, 1) and centre in 0..1, got {ratio!r} and {centre!r}")
    sides = (max(1, round(ratio * height)), max(1, round(ratio * width)))
    places = _places((height, width), sides, centre)
    if not len(places):
        raise ProbeError(f"ratio must leave a place outside of the centre ({centre}) of {height}×{width}, got {ratio}")
    partners, boxes = [], []
    for index in range(count):
        top, left = places[derived_integer("cutmix", seed, index, "place") % len(places)].tolist()
        other = derived_integer("cutmix", seed, index, "partner") % (count - 1)
        partners.append(other + (other >= index))
        boxes.append([top, left, *sides])
    each = [{"box": box, "partner": partner} for box, partner in zip(boxes, probes.entries(partners), strict=True)]
    step: dict[str, Any] = {"kind": "cutmix", "ratio": ratio, "centre": centre, "seed": seed}
    step |= {"engine": "numpy", "exact": True, "versions": step_versions()}
    return probes.augmented(paste(probes.images, probes.images[partners], boxes), step, each)


def paste(images: Pixels, partners: Pixels, boxes: list[Box]) -> Pixels:
    """Copy the rectangle ``[top, left, height, width]`` of the partner into each image."""
    result = images.copy()
    for image, partner, (top, left, height, width) in zip(result, partners, boxes, strict=True):
        image[top : top + height, left : left + width] = partner[top : top + height, left : left + width]
    return result


def _places(image: tuple[int, int], patch: tuple[int, int], centre: float) -> npt.NDArray[np.int64]:
    """``(p, 2)``: top and left of every position of the patch that does not overlap the central rectangle."""
    outside = []
    for side, length in zip(image, patch, strict=True):
        start = np.arange(side - length + 1)
        before, after = side * (1 - centre) / 2, side * (1 + centre) / 2
        outside.append((start + length <= before) | (start >= after))
    return np.argwhere(outside[0][:, None] | outside[1][None, :])
