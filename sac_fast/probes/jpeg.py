"""JPEG compression of probe images through Pillow: the JC of SAC-JC."""

from __future__ import annotations

import io
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from ..errors import ProbeError

# Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions", ICLR 2019.
JPEG_SEVERITY = MappingProxyType({1: 25, 2: 18, 3: 15, 4: 10, 5: 7})

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def resolve_quality(quality: int | None, severity: int | None) -> int:
    """The JPEG quality 1..100, given as such or as a severity 1..5; exactly one of the two."""
    if (quality is None) == (severity is None):
        raise ProbeError(f"give exactly one of quality and severity, got {quality=} and {severity=}")
    if severity is not None:
        if isinstance(severity, bool) or severity not in JPEG_SEVERITY:
            raise ProbeError(f"severity must be one of {list(JPEG_SEVERITY)}, got {severity!r}")
        return JPEG_SEVERITY[severity]
    if not isinstance(quality, (int, np.integer)) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise ProbeError(f"quality must be an integer from 1 to 100, got {quality!r}")
    return int(quality)


def engine_versions() -> dict[str, str]:
    """Versions of Pillow and of the JPEG library it was built with: together they decide the pixels."""
    library = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    feature = features.version_feature("libjpeg_turbo") if library == "libjpeg-turbo" else features.version_codec("jpg")
    return {"pillow": PIL.__version__, library: feature or "unknown"}


def jpeg_compress(images: npt.NDArray[np.uint8], quality: int, subsampling: str = "4:2:0") -> npt.NDArray[np.uint8]:
    """Compress each image to JPEG and decode it again: ``decode(encode(image, quality, subsampling))``.

    Args:
        images: uint8 ``(n, H, W, 3)``, RGB, any strides.
        quality: JPEG quality, 1 (worst) to 100.
        subsampling: chroma subsampling, ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.

    Returns:
        uint8 ``(n, H, W, 3)``, a new array.

    Raises:
        ProbeError: wrong shape, dtype, quality or subsampling, or an image that JPEG cannot hold.

    Source: Guan et al., *Sample Correlation for Fingerprinting Deep Face Recognition* (SAC-JC), arXiv
    2412.20768.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ProbeError(f"images must be uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
    quality = resolve_quality(quality, None)
    if subsampling not in SUBSAMPLINGS:
        raise ProbeError(f"subsampling must be one of {', '.join(SUBSAMPLINGS)}, got {subsampling!r}")
    result = np.empty(images.shape, np.uint8)
    for index, image in enumerate(images):
        buffer = io.BytesIO()
        try:
            Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        except (OSError, ValueError) as error:  # larger than the 65,500 pixels a side of libjpeg
            raise ProbeError(f"images[{index}] of size {image.shape[:2]} cannot be JPEG: {error}") from error
        with Image.open(buffer, formats=["JPEG"]) as decoded:
            result[index] = np.asarray(decoded)
    return result
