"""Mixtures: several probe sets in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ProbeError
from .probe_set import ProbeSet
from .provenance import step_versions


def mixture(parts: Sequence[ProbeSet]) -> ProbeSet:
    """Concatenate probe sets.

    Args:
        parts: at least two sets of images of one size; all with labels, or none.

    Returns:
        New probes. The provenance includes that of every part.

    Raises:
        ProbeError: fewer than two parts, different sizes, or labels in some parts only.

    Example::

        >>> import numpy as np
        >>> probes = ProbeSet.from_arrays(np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3))
        >>> len(mixture([probes.jpeg(quality=15), probes]))
        4
    """
    if len(parts) < 2:
        raise ProbeError(f"parts must be at least 2 probe sets, got {len(parts)}")
    sizes = [part.images.shape[1:3] for part in parts]
    if len(set(sizes)) > 1:
        raise ProbeError(f"parts must have images of one size, got {', '.join(f'{h}×{w}' for h, w in sizes)}")
    labels = [part.labels for part in parts if part.labels is not None]
    if len(labels) not in (0, len(parts)):
        raise ProbeError(f"parts must all have labels or none, got {len(labels)} of {len(parts)} with labels")
    entries = [
        {"part": number, "index": index, "name": entry["name"], "sha256": entry["sha256"]}
        for number, part in enumerate(parts)
        for index, entry in enumerate(part.entries(range(len(part))))
    ]
    source = {
        "type": "mixture",
        "parts": [{"count": len(p), "hash": p.content_hash, "provenance": p.provenance} for p in parts],
        "images": entries,
    }
    provenance = {"kind": "mixture", "source": source, "augmentation": [], "versions": step_versions()}
    images = np.concatenate([part.images for part in parts])
    return ProbeSet(images, np.concatenate(labels) if labels else None, provenance)
