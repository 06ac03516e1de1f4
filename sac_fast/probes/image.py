"""Decode one untrusted image file to 8-bit RGB, or refuse it with file and reason."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from ..errors import FileFormatError, ProbeError
from ..io.files import StrPath, open_regular
from ..io.hashing import sha256_stream
from .image_file import FORMATS, ImageBudget, TooMuchError, check_file_size, open_image

RESAMPLES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
FITS = ("crop", "stretch", "pad")


def read_image(path: StrPath, budget: ImageBudget | None = None) -> tuple[Image.Image, str]:
    """Decode the first frame of an image file to 8-bit RGB; the format is told by its content, one of `FORMATS`.

    EXIF orientation is applied. Alpha is dropped, as by ``Image.convert("RGB")``. 16-bit samples keep their high byte.
    Grey, palette, CMYK and YCbCr are converted by Pillow's formulas; colour profiles are not applied.

    Args:
        path: the file.
        budget: what the file is counted in; None: it stands alone.

    Returns:
        The RGB image and the SHA-256 of the file, ``"sha256:..."``.

    Raises:
        ProbeError: unreadable, truncated, of another format, too large (`MAX_PIXELS`, `MAX_FILE_BYTES`), or of a mode
            without a defined conversion (float and 32-bit integer samples).
        TooMuchError: too large with those before it, see `ImageBudget`.
    """
    name = os.fspath(path)
    try:
        handle = open_regular(path)
    except FileFormatError as error:
        raise ProbeError(str(error)) from error
    with handle:
        size = os.fstat(handle.fileno()).st_size
        check_file_size(name, size)
        if budget is not None:
            budget.add(bytes=size)
        digest = sha256_stream(handle)
        handle.seek(0)
        try:
            with open_image(handle, FORMATS, budget) as image:
                return _to_rgb(ImageOps.exif_transpose(image)), digest
        except TooMuchError:
            raise
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
