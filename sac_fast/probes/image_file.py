"""The one place where image files are opened: a fixed list of decoders, and limits on single files and on their sum.

Pillow tries every decoder that it has, by the content, whatever the name: an IPTC header in a ``.png`` leads to
whatever is inside it, EPS to Ghostscript, FITS and JPEG 2000 to images of a gigabyte in a few bytes. The decoders of
`FORMATS` open no other file or image. What is changed of Pillow meanwhile is the same for all threads that read, and
set back when the last one is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from PIL import Image, ImageFile, _imaging

from ..errors import ProbeError

#: Pillow's names of the formats that are decoded.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Largest file of one image, and most pixels: Pillow's own limit, whatever it is set to in this process.
MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 89_478_485
#: Most bytes that are read of one source. As pixels it may have `FREE_PIXELS`, and more for every byte of the files:
#: photographs have 2 to 20, images made to exhaust a machine hundreds.
MAX_TOTAL_BYTES = 256 << 30
FREE_PIXELS = 1 << 33
PIXELS_PER_BYTE = 64
#: The same for one image: 4K of one colour is free.
FREE_IMAGE_PIXELS = 1 << 23
#: Most bytes of the pixels that are kept, in memory.
MAX_KEPT_BYTES = 32 << 30


class TooMuchError(ProbeError):
    """The images of a source are too much together: no single one is at fault, so none is skipped."""


@dataclass
class ImageBudget:
    """What the images of one source may take together; any thread may call it.

    Attributes:
        name: of the source, for messages.
        bytes, pixels, kept: taken until now.
    """

    name: str
    bytes: int = 0
    pixels: int = 0
    kept: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, bytes: int = 0, pixels: int = 0, kept: int = 0) -> None:
        """Count an image, before it is read, decoded or kept.

        Raises:
            TooMuchError: it is too much with those before it.
        """
        with self._lock:
            self.bytes += bytes
            self.pixels += pixels
            self.kept += kept
            limits = (
                ("bytes", self.bytes, MAX_TOTAL_BYTES),
                ("pixels in files of that size", self.pixels, FREE_PIXELS + PIXELS_PER_BYTE * self.bytes),
                ("bytes of pixels to keep", self.kept, MAX_KEPT_BYTES),
            )
        for what, found, limit in limits:
            if found > limit:
                raise TooMuchError(f"images of {self.name!r} must have at most {limit:,} {what} together, got more")


def image_extensions() -> frozenset[str]:
    """File name extensions (lower case, with the dot) of image files."""
    Image.init()
    return frozenset(ext for ext, format in Image.registered_extensions().items() if format in FORMATS)


def check_file_size(name: str, size: int) -> None:
    """Refuse a file that is too large for one image.

    Raises:
        ProbeError: it is.
    """
    if size > MAX_FILE_BYTES:
        raise ProbeError(f"image {name!r} must be at most {MAX_FILE_BYTES:,} bytes, got {size:,}")


@contextlib.contextmanager
def open_image(
    handle: IO[bytes], formats: Sequence[str] = FORMATS, budget: ImageBudget | None = None, *, own: bool = False
) -> Iterator[Image.Image]:
    """Open an image to be decoded within the block; a truncated one is an error there.

    Args:
        handle: the file.
        formats: those of `FORMATS` that are accepted.
        budget: what the pixels are counted in.
        own: encoded by this process, whose images may have any number of pixels a byte.

    Yields:
        The image, whose pixels are not decoded yet.

    Raises:
        DecompressionBombError: Pillow's, for more pixels than `MAX_PIXELS`, than Pillow is set to take, or than a file
            of that size has.
        TooMuchError: see `ImageBudget`.
        Exception: any, of Pillow's decoders.
    """
    if not set(formats) <= set(FORMATS):
        raise ValueError(f"formats must be of {', '.join(FORMATS)}, got {formats}")
    with _strict(), Image.open(handle, formats=list(formats)) as image:
        size = _size_of(handle)
        limit = min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
        if not own:
            limit = min(limit, FREE_IMAGE_PIXELS + PIXELS_PER_BYTE * size)
        if (pixels := image.width * image.height) > limit:
            wanted = f"image must have at most {limit:,} pixels in {size:,} bytes"
            raise Image.DecompressionBombError(f"{wanted}, got {pixels:,}")
        if budget is not None:
            budget.add(pixels=pixels)
        yield image


def _size_of(handle: IO[bytes]) -> int:
    position = handle.tell()
    size = handle.seek(0, os.SEEK_END)
    handle.seek(position)
    return size


_lock = threading.Lock()
_readers = 0
_lenient = False
_tiff_errors: int | None = None


@functools.cache
def _tiff_setter() -> Callable[[int | None], int | None] | None:
    """What sets the function that Pillow's libtiff calls for errors; None: Pillow has none, or one that is hidden."""
    try:
        setter = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):
        return None
    setter.argtypes, setter.restype = (ctypes.c_void_p,), ctypes.c_void_p
    return setter


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Until the last thread has read its image: truncated files are errors, and libtiff prints nothing.

    What libtiff says of a damaged file goes to stderr past Python; Pillow raises an error all the same.
    """
    global _readers, _lenient, _tiff_errors
    set_tiff_errors = _tiff_setter()
    with _lock:
        if _readers == 0:
            _lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            if set_tiff_errors is not None:
                _tiff_errors = set_tiff_errors(None)
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = _lenient
                if set_tiff_errors is not None:
                    set_tiff_errors(_tiff_errors)
