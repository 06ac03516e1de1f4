"""Labelled images of one side of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        pixels: uint8 (n, H, W, 3), RGB.
        labels: int64 (n,), 0 … classes - 1.

    Raises:
        ProbeError: another dtype or shape.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ProbeError(f"pixels must be uint8 (n, H, W, 3), got {self.pixels.dtype} {self.pixels.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise ProbeError(f"labels must be int64 ({len(self.pixels)},), got {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """The images of these rows, in this order."""
        return Images(self.pixels[rows], self.labels[rows])

    @classmethod
    def shuffled(cls, by_class: Sequence[NDArray[np.uint8]], generator: np.random.Generator) -> Images:
        """The pixels of every class, in the order of the labels, as images in random order."""
        labels = np.repeat(np.arange(len(by_class), dtype=np.int64), [len(pixels) for pixels in by_class])
        return cls(np.concatenate(by_class), labels).take(generator.permutation(len(labels)))
