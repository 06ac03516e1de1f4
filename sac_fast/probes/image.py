"""Decode one untrusted image file to 8-bit RGB, or refuse it with file and reason."""

from __future__ import annotations

import os
from typing import get_args

import numpy as np
from PIL import Image, ImageOps

from ..errors import FileFormatError, ProbeError
from ..io.choices import Fit, Resample
from ..io.files import StrPath, check_holes, is_inside, open_regular, path_of
from ..io.hashing import sha256_stream
from .image_file import FORMATS, ImageBudget, TooMuchError, check_file_size, open_image

RESAMPLES: tuple[Resample, ...] = get_args(Resample)
# Tags of TIFF.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
FITS: tuple[Fit, ...] = get_args(Fit)


def read_image(
    path: StrPath, budget: ImageBudget | None = None, root: StrPath | None = None
) -> tuple[Image.Image, str]:
    """Decode the first frame of an image file to 8-bit RGB; the format is told by its content, one of `FORMATS`.

    EXIF orientation is applied. Alpha is dropped, as by ``Image.convert("RGB")``. 16-bit samples keep their high byte;
    those of PNM with another maximum are scaled by Pillow. Grey, palette, CMYK and YCbCr are converted by Pillow's
    formulas; colour profiles are not applied.

    Args:
        path: the file.
        budget: what the file is counted in; None: it stands alone.
        root: a folder that the file, once it is open, must lie in; None: anywhere.

    Returns:
        The RGB image, whose ``info["mode"]`` is Pillow's name of the samples in the file, and the file's SHA-256,
        ``"sha256:..."``.

    Raises:
        ProbeError: unreadable, truncated, of another format, too large (`MAX_PIXELS`, `MAX_FILE_BYTES`), or of a mode
            without a defined conversion: float, signed and 32-bit samples, CIE L*a*b*, 16 bits with white as 0.
        TooMuchError: too large with those before it, see `ImageBudget`.
    """
    name = os.fspath(path)
    try:
        handle = open_regular(path)
    except FileFormatError as error:
        raise ProbeError(str(error)) from error
    with handle:
        if root is not None and not is_inside(found := path_of(handle.fileno(), path), root):
            raise ProbeError(f"image {name!r} must lie in the folder, got a link to {found!r}")
        size = os.fstat(handle.fileno()).st_size
        check_file_size(name, size)
        try:
            check_holes(repr(name), handle)
        except FileFormatError as error:
            raise ProbeError(f"image {error}") from error
        if budget is not None:
            budget.add(bytes=size)
        digest = sha256_stream(handle)
        handle.seek(0)
        try:
            with open_image(handle, FORMATS, budget) as image:
                _check_samples(image)
                made = _to_rgb(ImageOps.exif_transpose(image))
                made.info["mode"] = image.mode
                return made, digest
        except TooMuchError:
            raise
        # Pillow's decoders raise many types on malformed bytes: struct.error, SyntaxError, IndexError, …
        except Exception as error:
            raise ProbeError(f"image {name!r} cannot be decoded: {type(error).__name__}: {error}") from error


def _check_samples(image: Image.Image) -> None:
    """Refuse what has no defined conversion; Pillow has signed and 32-bit samples of TIFF in the mode of 16 bits."""
    if image.mode == "F":
        raise ValueError("samples must be 8 or 16 bits, got floats")
    if image.mode == "LAB":
        raise ValueError("colours must be grey, RGB, CMYK or YCbCr, got LAB")
    if not image.mode.startswith("I"):
        return
    tags = getattr(image, "tag_v2", {})
    bits, signed = max(tags.get(_BITS, (16,))), tags.get(_SAMPLE_FORMAT, (1,)) not in ((1,), 1)
    if bits != 16 or signed:
        raise ValueError(f"samples must be 8 or 16 bits without a sign, got {'signed ' if signed else ''}{bits} bits")
    if tags.get(_PHOTOMETRIC) == 0:  # which Pillow does not invert
        raise ValueError("16-bit samples must have black as 0, got white is zero")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise ValueError(f"samples must be 8 or 16 bits, got {samples.min()}..{samples.max()}")
        image = Image.fromarray((samples >> 8).astype(np.uint8))
    image.info.pop("transparency", None)  # which is dropped, and of which Pillow warns
    return image.convert("RGB")


def fit_image(image: Image.Image, size: tuple[int, int], fit: Fit, resample: Resample) -> Image.Image:
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
