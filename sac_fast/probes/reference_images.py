"""Reference images for FRI (Feature from Reference Images), disjoint from the probes."""

from __future__ import annotations

from .arguments import check_integer
from .committed_draw import derived_integer
from .probe_set import ProbeSet


def split_references(probes: ProbeSet, count: int, *, seed: int = 0) -> tuple[ProbeSet, ProbeSet]:
    """Split off ``count`` reference images; the others remain as probes.

    With labels the references are drawn class by class in turn, so that they cover as many people as possible. Order
    within a class: SHA-256 of ``("reference", seed, index)``.

    Args:
        probes: all images.
        count: r, the number of references, 1..n-1.
        seed: seed of the draw.

    Returns:
        The references in the order of the draw, and the probes in their original order.

    Raises:
        ProbeError: a count that is not in 1..n-1.

    Example::

        >>> import numpy as np
        >>> images = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
        >>> references, probes = split_references(ProbeSet.from_arrays(images), 2)
        >>> len(references), len(probes)
        (2, 3)
    """
    count, seed = check_integer("count", count, 1, len(probes) - 1), check_integer("seed", seed)
    labels = [0] * len(probes) if probes.labels is None else probes.labels.tolist()
    seen: dict[int, int] = {}
    turns: list[tuple[int, int, int]] = []
    for index in sorted(range(len(probes)), key=lambda index: derived_integer("reference", seed, index)):
        turns.append((seen.setdefault(labels[index], 0), len(turns), index))
        seen[labels[index]] += 1
    chosen = [index for _, _, index in sorted(turns)[:count]]
    rest = sorted(set(range(len(probes))) - set(chosen))
    how = {"seed": seed, "count": count, "of": len(probes)}
    return probes.subset(chosen, how={"kind": "references", **how}), probes.subset(rest, how={"kind": "rest", **how})
