"""The probe sets of a test bed, all from the pool of images that no model was trained on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ..fingerprint import Fingerprint
from ..probes import JPEG_SEVERITY, ProbeSet, cutmix, misclassified
from .task import Task

JPEG_SETS = tuple(f"jpeg-q{quality}" for quality in JPEG_SEVERITY.values())
REFERENCES = "references"  # beside the probe sets, and none of them
NAMES = ("plain", *JPEG_SETS, "misclassified", "cutmix")


def references(pixels: NDArray[np.uint8]) -> ProbeSet:
    """The reference images of a task of verification."""
    return ProbeSet.from_arrays(pixels, layout="NHWC", name="references")


def candidates(task: Task, count: int) -> ProbeSet:
    """The images of the pool of which those the source errs on become probes: all but the first ``count``.

    Args:
        task: its pool is used.
        count: of the plain probes, which are set apart where the pool has twice as many images.

    Returns:
        The probes, with labels.
    """
    first = count if len(task.pool) >= 2 * count else 0
    return ProbeSet.from_arrays(
        task.pool.pixels[first:], task.pool.labels[first:], layout="NHWC", name=f"{task.name}, pool from {first} on"
    )


def make_probes(
    task: Task,
    count: int,
    outputs: Fingerprint | None,
    names: Collection[str] = NAMES,
    *,
    jpeg_count: int | None = None,
) -> dict[str, ProbeSet]:
    """The probe sets.

    Args:
        task: its pool is used.
        count: largest number of probes a set; "misclassified" has those on which the source errs, up to it.
        outputs: of the source on the ``candidates``; None: there are no misclassified probes.
        names: of the sets wanted, out of ``NAMES``.
        jpeg_count: largest number in the compressed sets; None: ``count``.

    Returns:
        Probe sets by name, in the order of ``NAMES``.

    Raises:
        ProbeError: the source errs on no image.
    """
    plain = ProbeSet.from_arrays(
        task.pool.pixels[:count], task.pool.labels[:count], layout="NHWC", name=f"{task.name}, pool"
    )
    first = plain
    if jpeg_count is not None and jpeg_count < len(plain):
        first = plain.subset(np.arange(jpeg_count), how={"kind": "first", "count": jpeg_count, "of": len(plain)})
    qualities = zip(JPEG_SETS, JPEG_SEVERITY.values(), strict=True)
    sets = {name: first.jpeg(quality=quality) for name, quality in qualities if name in names}
    sets = {"plain": plain, **sets}
    if outputs is not None:
        wrong = misclassified(candidates(task, count), outputs)
        if len(wrong) > count:
            wrong = wrong.subset(np.arange(count), how={"kind": "first", "count": count, "of": len(wrong)})
        sets["misclassified"] = wrong
    return {**sets, "cutmix": cutmix(plain)} if "cutmix" in names else sets
