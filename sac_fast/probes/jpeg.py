"""JPEG compression of probe images by Pillow: the JC of SAC-JC."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from importlib import metadata
from types import MappingProxyType
from typing import get_args

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from ..errors import ProbeError
from ..io.choices import Subsampling
from .arguments import as_integer, check_choice
from .image_file import open_image

# Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions", ICLR 2019.
JPEG_SEVERITY = MappingProxyType({1: 25, 2: 18, 3: 15, 4: 10, 5: 7})

Pixels = npt.NDArray[np.uint8]
Levels = int | Sequence[int] | None


def resolve_quality(quality: int | None, severity: int | None) -> int:
    """JPEG quality 1..100 from either a quality or a severity 1..5."""
    if (quality is None) == (severity is None):
        raise ProbeError(f"give exactly one of quality and severity, got {quality=} and {severity=}")
    if severity is not None:
        found = JPEG_SEVERITY.get(as_integer(severity) or 0)
        if found is None:
            raise ProbeError(f"severity must be one of {list(JPEG_SEVERITY)}, got {severity!r}")
        return found
    level = as_integer(quality)
    if level is None or not 1 <= level <= 100:
        raise ProbeError(f"quality must be an integer from 1 to 100, got {quality!r}")
    return level


def resolve_qualities(quality: Levels, severity: Levels) -> list[int]:
    """One or several distinct qualities, from qualities or severities."""
    several = [value for value in (quality, severity) if isinstance(value, (list, tuple))]
    if len(several) == 1 and (quality is None or severity is None):
        as_quality = isinstance(quality, (list, tuple))
        values = [resolve_quality(*((one, None) if as_quality else (None, one))) for one in several[0]]
        if not values or len(set(values)) != len(values):
            name = "quality" if as_quality else "severity"
            raise ProbeError(f"{name} must be one value or several different ones, got {several[0]!r}")
        return values
    return [resolve_quality(quality, severity)]  # type: ignore[arg-type]  # it checks the type


def pillow_is_exact() -> bool:
    """Whether this Pillow was built on libjpeg-turbo, whose pixels define "exact" here."""
    return bool(features.check_feature("libjpeg_turbo"))


def require_exact_pillow() -> None:
    """Raise a ProbeError if Pillow is not built on libjpeg-turbo."""
    if not pillow_is_exact():
        raise ProbeError(
            "Pillow must be built on libjpeg-turbo to be compared with, got one on libjpeg "
            f"{features.version_codec('jpg') or 'of unknown version'} (Pillow {PIL.__version__}): its DCT and its "
            "upsampling may round otherwise, so unequal pixels would prove nothing"
        )


def engine_versions() -> dict[str, str]:
    """Versions of Pillow and of its JPEG library, which together determine the pixels."""
    library = "libjpeg-turbo" if pillow_is_exact() else "libjpeg"
    feature = features.version_feature("libjpeg_turbo") if library == "libjpeg-turbo" else features.version_codec("jpg")
    versions = {"pillow": PIL.__version__, library: feature or "unknown"}
    # A drop-in replacement that is also imported as PIL, but rounds differently when resizing.
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions["pillow-simd"] = metadata.version("pillow-simd")
    return versions


def check_batch(images: Pixels, quality: int | Sequence[int], subsampling: Subsampling) -> list[int]:
    """Check the arguments of every engine; returns one quality per image."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ProbeError(f"images must be uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
    check_choice("subsampling", subsampling, get_args(Subsampling))
    if not isinstance(quality, (list, tuple)):
        return [resolve_quality(quality, None)] * len(images)  # type: ignore[arg-type]  # it checks the type
    if len(quality) != len(images):
        raise ProbeError(f"quality must be one integer or {len(images)}, one an image, got {len(quality)}")
    return [resolve_quality(one, None) for one in quality]


def jpeg_compress(images: Pixels, quality: int | Sequence[int], subsampling: Subsampling = "4:2:0") -> Pixels:
    """Compress each image to JPEG and decode it again: ``decode(encode(image, quality, subsampling))``.

    Args:
        images: uint8 ``(n, H, W, 3)``, RGB, any strides.
        quality: JPEG quality, 1 (worst) to 100: one, or a list with one for each image.
        subsampling: chroma subsampling, ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.

    Returns:
        uint8 ``(n, H, W, 3)``, a new array.

    Raises:
        ProbeError: wrong shape, dtype, quality or subsampling, or an image that is too large for JPEG.

    Example::

        >>> import numpy as np
        >>> images = np.full((1, 16, 16, 3), 128, np.uint8)
        >>> bool((jpeg_compress(images, quality=15) == images).all())
        True

    Source: Guan et al., *Sample Correlation for Fingerprinting Deep Face Recognition* (SAC-JC), arXiv
    2412.20768.
    """
    qualities = check_batch(images, quality, subsampling)
    result = np.empty(images.shape, np.uint8)
    for index, (image, level) in enumerate(zip(images, qualities, strict=True)):
        buffer = io.BytesIO()
        try:
            Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=level, subsampling=subsampling)
        except (OSError, ValueError) as error:  # larger than the 65,500 pixels a side of libjpeg
            raise ProbeError(f"images[{index}] of size {image.shape[:2]} cannot be JPEG: {error}") from error
        with open_image(buffer, ["JPEG"], own=True) as decoded:
            result[index] = np.asarray(decoded)
    return result
