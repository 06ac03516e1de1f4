"""How far each JPEG engine is from Pillow, on the user's own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ProbeError
from .engines import ENGINES, available_engines, is_exact
from .jpeg import Levels, Pixels, require_exact_pillow
from .probe_set import ProbeSet


@dataclass(frozen=True)
class EngineDifference:
    """An engine's pixels beside Pillow's.

    Attributes:
        engine, device: which.
        unavailable: why it did not run; the figures are None then.
        exact: whether it claims Pillow's pixels bit for bit.
        share: of values that differ. mean, largest: absolute difference, in steps of 0..255.
        psnr: ``10 log10(255² / mean squared difference)`` in dB; None where nothing differs.
        distance: between the model's answers to Pillow's probes and to this engine's; None without a model.
    """

    engine: str
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
    subsampling: str = "4:2:0",
    distance: Callable[[ProbeSet, ProbeSet], float] | None = None,
) -> list[EngineDifference]:
    """Compress the same images with every engine and compare each with Pillow.

    Args:
        probes: the images, before JPEG.
        quality, severity, subsampling: see `ProbeSet.jpeg`.
        distance: of Pillow's probes and the engine's, as a model sees them.

    Returns:
        One entry an engine and device (CUDA where torch has one).

    Raises:
        ProbeError: Pillow is built on another library than libjpeg-turbo, or a wrong argument.
    """
    require_exact_pillow()
    expected = probes.jpeg(quality=quality, severity=severity, subsampling=subsampling, engine="pillow")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    result = []
    for engine in ENGINES:
        for device in devices if engine != "pillow" else devices[:1]:
            missing = available_engines()[engine]
            if missing is None:
                try:
                    made = probes.jpeg(
                        quality=quality, severity=severity, subsampling=subsampling, engine=engine, device=device
                    )
                except ProbeError as error:
                    missing = str(error)
            if missing is not None:
                result.append(EngineDifference(engine, device, missing, is_exact(engine, device)))
                continue
            share, mean, largest, psnr = difference(expected.images, made.images)
            apart = None if distance is None else distance(expected, made)
            exact = is_exact(engine, device)
            result.append(EngineDifference(engine, device, None, exact, share, mean, largest, psnr, apart))
    return result


def difference(a: Pixels, b: Pixels) -> tuple[float, float, int, float | None]:
    """Share of different values, mean and largest absolute difference, PSNR in dB (None: equal)."""
    count = different = total = squares = largest = 0
    for one, other in zip(a, b, strict=True):
        apart = np.abs(one.astype(np.int64) - other)
        count, different = count + apart.size, different + int((apart > 0).sum())
        total, squares = total + int(apart.sum()), squares + int((apart * apart).sum())
        largest = max(largest, int(apart.max()))
    psnr = None if squares == 0 else float(10 * np.log10(255**2 * count / squares))
    return different / count, total / count, largest, psnr
