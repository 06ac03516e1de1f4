"""Compare the pixels of each JPEG engine with Pillow's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProbeError
from ..io.choices import JpegEngine, Subsampling
from ..io.lazy import LazyModule
from .engines import ENGINES, available_engines, is_exact
from .jpeg import Levels, Pixels, require_exact_pillow
from .probe_set import ProbeSet

if TYPE_CHECKING:
    import torch
else:  # reading probes needs no torch
    torch = LazyModule("torch")


@dataclass(frozen=True)
class EngineDifference:
    """Difference of an engine's pixels from Pillow's.

    Attributes:
        engine, device: the engine and its device.
        unavailable: why it did not run; None if it ran. The figures are None if it did not.
        exact: whether the engine is expected to give Pillow's pixels bit for bit.
        share: share of values that differ.
        mean, largest: absolute difference, in steps of 0..255.
        psnr: ``10 log10(255² / mean squared difference)`` in dB; None if nothing differs.
        distance: distance between a model's outputs on Pillow's probes and on this engine's; None without a model.

    Example::

        >>> EngineDifference("native", "cpu", None, True, share=0.0).exact
        True
    """

    engine: JpegEngine
    device: str
    unavailable: str | None
    exact: bool
    share: float | None = None
    mean: float | None = None
    largest: int | None = None
    psnr: float | None = None
    distance: float | None = None


def compare_engines(
    probes: ProbeSet,
    *,
    quality: Levels = None,
    severity: Levels = None,
    subsampling: Subsampling = "4:2:0",
    distance: Callable[[ProbeSet, ProbeSet], float] | None = None,
) -> list[EngineDifference]:
    """Compress the same images with every engine and compare each with Pillow.

    Args:
        probes: the images, before JPEG.
        quality, severity, subsampling: see `ProbeSet.jpeg`.
        distance: distance of two probe sets by a model's outputs.

    Returns:
        One entry per engine and device (CUDA if torch has it).

    Raises:
        ProbeError: Pillow is not built on libjpeg-turbo, or a wrong argument.

    Example::

        >>> import numpy as np
        >>> probes = ProbeSet.from_arrays(np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3))
        >>> [found.share for found in compare_engines(probes, quality=15) if found.engine == "pillow"]
        [0.0]
    """
    require_exact_pillow()
    options: dict[str, Any] = {"quality": quality, "severity": severity, "subsampling": subsampling}
    expected = probes.jpeg(engine="pillow", **options)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    result = []
    for engine in ENGINES:
        for device in devices if engine != "pillow" else devices[:1]:
            missing = available_engines()[engine]
            figures: tuple[Any, ...] = ()
            if missing is None:
                try:
                    made = probes.jpeg(engine=engine, device=device, **options)
                except ProbeError as error:
                    missing = str(error)
                else:
                    apart = None if distance is None else distance(expected, made)
                    figures = (*pixel_difference(expected.images, made.images), apart)
            result.append(EngineDifference(engine, device, missing, is_exact(engine, device), *figures))
    return result


def pixel_difference(a: Pixels, b: Pixels) -> tuple[float, float, int, float | None]:
    """Share of different values, mean and largest absolute difference, PSNR in dB (None if equal)."""
    count = different = total = squares = largest = 0
    for first, second in zip(a, b, strict=True):
        apart = np.abs(first.astype(np.int64) - second)
        count, different = count + apart.size, different + int((apart > 0).sum())
        total, squares = total + int(apart.sum()), squares + int((apart * apart).sum())
        largest = max(largest, int(apart.max()))
    psnr = None if squares == 0 else float(10 * np.log10(255**2 * count / squares))
    return different / count, total / count, largest, psnr
