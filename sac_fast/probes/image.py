"""Decode one untrusted image file to 8-bit RGB, or refuse it with file and reason."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps

from ..errors import FileFormatError, ProbeError
from ..io.files import StrPath, open_regular
from ..io.hashing import sha256_stream

# EPS and PS run Ghostscript on the file; Pillow can identify but not decode the others.
_REFUSED_FORMATS = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
MAX_FILE_BYTES = 1 << 30

RESAMPLES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
FITS = ("crop", "stretch", "pad")


def image_formats() -> list[str]:
    """Names of the Pillow formats that are decoded."""
    Image.init()
    return sorted(set(Image.OPEN) - _REFUSED_FORMATS)


def image_extensions() -> frozenset[str]:
    """File name extensions (lower case, with the dot) of image files."""
    formats = set(image_formats())
    return frozenset(ext for ext, fmt in Image.registered_extensions().items() if fmt in formats)


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Make truncated files and decompression bombs errors, whatever the settings of the process."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def read_image(path: StrPath, formats: list[str]) -> tuple[Image.Image, str]:
    """Decode the first frame of an image file to 8-bit RGB.

    EXIF orientation is applied. Alpha is dropped, as by ``Image.convert("RGB")``. 16-bit samples keep their high byte.
    Grey, palette, CMYK and YCbCr are converted by Pillow's formulas; colour profiles are not applied.

    Args:
        path: the file.
        formats: Pillow formats to accept, whatever the file name (`image_formats`).

    Returns:
        The RGB image and the SHA-256 of the file, ``"sha256:..."``.

    Raises:
        ProbeError: unreadable, truncated, larger than Pillow's pixel limit or 1 GiB, or of a mode without a defined
            conversion (float and 32-bit integer samples).
    """
    name = os.fspath(path)
    try:
        handle = open_regular(path)
    except FileFormatError as error:
        raise ProbeError(str(error)) from error
    with handle:
        size = os.fstat(handle.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise ProbeError(f"image {name!r} must be at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
        digest = sha256_stream(handle)
        handle.seek(0)
        try:
            with strict_pillow(), Image.open(handle, formats=formats) as image:
                return _to_rgb(ImageOps.exif_transpose(image)), digest
        # Pillow's decoders raise many types on malformed bytes: struct.error, SyntaxError, IndexError, …
        except Exception as error:
            raise ProbeError(f"image {name!r} cannot be decoded: {type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise ValueError(f"samples must be 8 or 16 bits, got {samples.min()}..{samples.max()}")
        image = Image.fromarray((samples.astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("samples must be 8 or 16 bits, got floats")
    return image.convert("RGB")


def fit_image(image: Image.Image, size: tuple[int, int], fit: str, resample: str) -> Image.Image:
    """Bring an image to ``size = (H, W)``.

    Args:
        image: RGB.
        size: height and width in pixels.
        fit: ``"crop"`` keeps the aspect ratio and crops the excess, half on each side; ``"stretch"`` does not keep
            it; ``"pad"`` keeps it and fills with black.
        resample: Pillow's filter, see `RESAMPLES`.

    Returns:
        RGB image of that size.
    """
    target = (size[1], size[0])
    method = Image.Resampling[resample.upper()]
    if fit == "crop":
        return ImageOps.fit(image, target, method)
    if fit == "pad":
        # Not ImageOps.pad, which fails for images that are thinner than a pixel after scaling.
        scale = min(target[0] / image.width, target[1] / image.height)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = Image.new("RGB", target)
        canvas.paste(image.resize((width, height), method), ((target[0] - width) // 2, (target[1] - height) // 2))
        return canvas
    return image.resize(target, method)
