"""Probes as workers get them: one block of bytes that all of them share, and what lies where in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..probes import Probes, ProbeSet

_MAX_LABELS = 100_000  # that a worker is sent
_ALIGNMENT = 64


@dataclass(frozen=True)
class SharedProbes:
    """Probes as bytes.

    Attributes:
        block: uint8 ``(bytes,)``.
        layout: JSON values: ``rows``, ``labels``, and ``arrays``: name, dtype, shape and offset of each. Images are one
            array without a name.
    """

    block: npt.NDArray[np.uint8]
    layout: Mapping[str, Any]

    @classmethod
    def of(cls, probes: Probes) -> SharedProbes:
        """The bytes of probes; of images no copy."""
        labels = probes.labels
        arrays = {"": probes.images} if isinstance(probes, ProbeSet) else probes.arrays
        places: list[list[Any]] = []
        end = 0
        for name, array in arrays.items():
            places.append([name, array.dtype.name, list(array.shape), end])
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if isinstance(probes, ProbeSet):
            block = probes.images.reshape(-1)
        else:
            block = np.zeros(end, np.uint8)
            for (*_, offset), array in zip(places, arrays.values(), strict=True):
                block[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        known = None if labels is None or len(labels) > _MAX_LABELS else labels.tolist()
        return cls(block, {"rows": len(probes), "labels": known, "arrays": places})
