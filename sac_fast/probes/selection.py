"""Selection of probes: class-balanced, distinct, or drawn by a committed seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ProbeError
from .arguments import as_integer, check_integer
from .committed_draw import committed_order, committed_record, derived_integer
from .folder import check_class_sizes
from .probe_set import ProbeSet

_BITS = 128
_BLOCK = 512


def _hashes(probes: ProbeSet) -> list[str]:
    entries = probes.provenance.get("source", {}).get("images", ())
    if len(entries) != len(probes):
        raise ProbeError(f"provenance must have the hash of each of {len(probes)} source images, got {len(entries)}")
    return [entry["sha256"] for entry in entries]


def committed(probes: ProbeSet, count: int, seed: str) -> ProbeSet:
    """Draw ``count`` images by a committed seed, see `sac_fast.probes.committed_draw`.

    Args:
        probes: the dataset.
        count: number of images.
        seed: one line of text; publish `commitment(seed)` in advance.

    Returns:
        The drawn probes, in the order of the draw. The provenance has seed, commitment and dataset hash.

    Raises:
        ProbeError: fewer distinct images than ``count``, or a wrong seed.

    Example::

        >>> import numpy as np
        >>> from sac_fast.probes import commitment
        >>> probes = ProbeSet.from_arrays(np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3))
        >>> drawn = committed(probes, 3, "a secret seed")
        >>> drawn.provenance["selection"][0]["commitment"] == commitment("a secret seed")
        True
    """
    hashes = _hashes(probes)
    order = committed_order(seed, hashes)
    wanted = as_integer(count)
    if wanted is None or not 1 <= wanted <= len(order):
        raise ProbeError(f"count must be in 1..{len(order)}, the different images, got {count!r}")
    record = committed_record(seed, hashes, wanted, whole=_is_whole(probes.provenance))
    return probes.subset(order[:wanted], how=record)


def _is_whole(provenance: dict[str, Any]) -> bool:
    """Whether the probes are all images of their source, for a mixture in every part."""
    source = provenance["source"]
    left_out = provenance.get("selection") or source.get("drawn") or source.get("skipped")
    return not left_out and all(_is_whole(part["provenance"]) for part in source.get("parts", ()))


def balanced(probes: ProbeSet, per_class: int, *, seed: int | None = None) -> ProbeSet:
    """The same number of probes of each class.

    Args:
        probes: probes with labels.
        per_class: number of probes of each class.
        seed: draw them in the order of ``SHA-256("balanced", seed, index)``. Default: the first ones.

    Returns:
        The chosen probes, in their original order.

    Raises:
        ProbeError: no labels, or classes with fewer images.

    Example::

        >>> import numpy as np
        >>> images = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
        >>> balanced(ProbeSet.from_arrays(images, labels=[0, 0, 1, 0, 1]), 2).labels.tolist()
        [0, 0, 1, 1]
    """
    if probes.labels is None:
        raise ProbeError("probes must have labels to be balanced, got none")
    per_class = check_integer("per_class", per_class, 1)
    seed = None if seed is None else check_integer("seed", seed)
    labels = probes.labels.tolist()
    check_class_sizes(Counter(labels), per_class)
    order = list(range(len(labels)))
    if seed is not None:
        order.sort(key=lambda index: derived_integer("balanced", seed, index))
    chosen: dict[int, list[int]] = {}
    for index in order:
        members = chosen.setdefault(labels[index], [])
        if len(members) < per_class:
            members.append(index)
    how = {"kind": "balanced", "per_class": per_class, "seed": seed, "classes": len(chosen), "of": len(probes)}
    return probes.subset(sorted(index for members in chosen.values() for index in members), how=how)


def perceptual_hash(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Difference hash of 128 bits, stable under scaling, mild compression and changes of brightness.

    A bit tells whether the mean luma (299 R + 587 G + 114 B) of a cell exceeds that of its neighbour: 8 × 8 bits from
    8 × 9 cells (left and right), 8 × 8 bits from 9 × 8 cells (above and below). Integer arithmetic: the same on every
    machine.

    Args:
        images: uint8 ``(n, H, W, 3)``; sides below 9 pixels are repeated first.

    Returns:
        bool ``(n, 128)``.

    Example::

        >>> import numpy as np
        >>> images = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
        >>> perceptual_hash(images).shape
        (2, 128)

    Source: N. Krawetz, "Kind of Like That" (dHash), 2013.
    """
    bits = []
    for image in images:
        luma = image.astype(np.int64) @ np.array([299, 587, 114])
        for axis in (0, 1):
            luma = np.repeat(luma, -(-9 // luma.shape[axis]), axis)
        across, down = _cells(luma, 8, 9), _cells(luma, 9, 8)
        bits.append(np.concatenate([(across[:, :-1] > across[:, 1:]).ravel(), (down[:-1] > down[1:]).ravel()]))
    return np.array(bits)


def _cells(luma: npt.NDArray[np.int64], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Mean of each cell of a grid, as correctly rounded quotients of integers."""
    edges = [np.arange(parts + 1) * side // parts for parts, side in zip((rows, columns), luma.shape, strict=True)]
    total = np.add.reduceat(np.add.reduceat(luma, edges[0][:-1], 0), edges[1][:-1], 1)
    result: npt.NDArray[np.float64] = total / np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return result


def distinct(probes: ProbeSet, *, threshold: int = 6) -> ProbeSet:
    """Drop probes that are identical or nearly identical to an earlier one.

    Identical: the same pixels. Nearly identical: `perceptual_hash` differs in at most ``threshold`` of 128 bits.

    Args:
        probes: probes in order of preference: of two similar images the first is kept.
        threshold: 0..64 bits; -1: drop identical images only.

    Returns:
        The remaining probes. The provenance names each dropped image and the one it resembles.

    Raises:
        ProbeError: a wrong threshold.

    Example::

        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
        >>> len(distinct(ProbeSet.from_arrays(np.concatenate([image, image, image[:, ::-1]]))))
        2
    """
    threshold = check_integer("threshold", threshold, -1, _BITS // 2)
    twin: dict[int, int] = {}
    seen: dict[bytes, int] = {}
    for index, image in enumerate(probes.images):
        first = seen.setdefault(image.tobytes(), index)
        if first != index:
            twin[index] = first
    near = {} if threshold < 0 else _near(perceptual_hash(probes.images), threshold, twin)
    dropped = twin | near
    kept = [index for index in range(len(probes)) if index not in dropped]
    entries = probes.provenance.get("source", {}).get("images", ())
    names = [entry["name"] for entry in entries] if len(entries) == len(probes) else list(range(len(probes)))
    listed = [
        {"name": names[index], "like": names[like], "identical": index in twin}
        for index, like in sorted(dropped.items())
    ]
    how: dict[str, Any] = {"kind": "distinct", "threshold": threshold, "of": len(probes), "dropped": listed}
    return probes.subset(kept, how=how)


def _near(hashes: npt.NDArray[np.bool_], threshold: int, twin: dict[int, int]) -> dict[int, int]:
    """For each image the first kept one that it resembles; identical images are left out."""
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    kept = np.ones(len(signs), bool)
    kept[list(twin)] = False
    like: dict[int, int] = {}
    for start in range(0, len(signs), _BLOCK):
        # The product of ±1 vectors is 128 − 2 × (different bits), exact in float32.
        apart = (_BITS - signs[start : start + _BLOCK] @ signs[: start + _BLOCK].T) / 2
        for row, distances in enumerate(apart):
            index = start + row
            if not kept[index]:
                continue
            matches: Sequence[int] = np.flatnonzero((distances[:index] <= threshold) & kept[:index]).tolist()
            if matches:
                like[index], kept[index] = matches[0], False
    return like
