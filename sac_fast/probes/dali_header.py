"""Which encoded images DALI decodes to Pillow's pixels, decided by everything in the file that changes them.

Each format has a list of what was compared (tests/probes/test_odd_images.py); whatever else a file holds is refused.
The version of DALI is recorded with the probes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

from PIL import Image

from ..errors import ProbeError
from .image_file import ImageBudget, TooMuchError, open_image
from .items import Item

# JPEG: baseline and progressive, by the marker of the frame; what an Adobe marker and samplings may say.
_FRAMES = (0xC0, 0xC2)
_REFUSED_FRAMES = (0xC1, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_SAMPLINGS = ((0x11,), (0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x22, 0x11, 0x11))
_PNG_CHUNKS = {
    *(b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"hIST"),
    *(b"pHYs", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"eXIf"),
}
# TIFF: tag, what it may be, and what it means; an absent tag has the first value.
_TIFF_TAGS: tuple[tuple[int, tuple[object, ...], str], ...] = (
    (258, ((8,), (8, 8, 8)), "bits a sample"),
    (259, (1, 5, 8, 32946, 32773), "compression"),
    (262, (2, 1), "photometric interpretation"),
    (266, (1,), "fill order"),
    (284, (1,), "planar configuration"),
    (317, (1, 2), "predictor"),
    (339, ((1,), (1, 1, 1), 1), "sample format"),
)
_ORIENTATION = 0x0112


def check_header(item: Item, data: bytes, budget: ImageBudget) -> None:
    """Refuse images that Pillow and DALI may decode differently, before DALI reads them.

    Raises:
        ProbeError: not an 8-bit grey or RGB image of one frame in a format whose decoders were compared, with anything
            in it that was not, or larger than Pillow's pixel limit.
        TooMuchError: too large with those before it, see `ImageBudget`.
    """
    budget.add(bytes=len(data))
    try:
        with open_image(io.BytesIO(data), tuple(_CHECKS), budget) as image:
            mode, frames = image.mode, getattr(image, "n_frames", 1)
            plain = mode in ("L", "RGB") and frames == 1
            found = f"{frames} of mode {mode}" if not plain else _why_not(data, image)
    except TooMuchError:
        raise
    except Exception as error:  # Pillow raises many types on malformed bytes
        raise ProbeError(f"image {item.name!r} cannot be decoded: {type(error).__name__}: {error}") from error
    if found:
        wanted = f"image {item.name!r} must be one frame of plain 8-bit grey or RGB for DALI"
        raise ProbeError(f"{wanted}, got {found}; the Pillow loader takes it")


def _why_not(data: bytes, image: Image.Image) -> str | None:
    return _CHECKS[image.format or ""](data, image) or _odd_orientation(image)


def _odd_orientation(image: Image.Image) -> str | None:
    """An orientation that one of the two may not see: stored oddly, or in XMP alone."""
    stored = image.info.get("exif") or b""
    entries = _orientations(stored.removeprefix(b"Exif\0\0"))
    if entries is None or len(entries) > 1:
        return "EXIF that is no plain table with at most one orientation"
    if any(kind != 3 or count != 1 or not 1 <= value <= 8 for kind, count, value in entries):
        return "an orientation that is not one short number of 1 … 8"
    for key in ("xmp", "XML:com.adobe.xmp"):
        text = image.info.get(key) or b""
        if not entries and b"rientation" in (text.encode() if isinstance(text, str) else bytes(text)):
            return "an orientation in XMP"
    return None


def _orientations(stored: bytes) -> list[tuple[int, int, int]] | None:
    """Type, count and value of each orientation in the first table; None for no sound table, [] for no EXIF."""
    if not stored:
        return []
    order = {b"II": "<", b"MM": ">"}.get(stored[:2])
    try:
        magic, start = struct.unpack_from(f"{order}HI", stored, 2)
        (count,) = struct.unpack_from(f"{order}H", stored, start)
        table = [struct.unpack_from(f"{order}HHIH", stored, start + 2 + 12 * i) for i in range(count)]
    except struct.error:
        return None
    return [entry[1:] for entry in table if entry[0] == _ORIENTATION] if order and magic == 42 else None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a JPEG file up to its first scan, with their content."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            yield 0, b""
            return
        marker = data[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        yield marker, data[place + 4 : place + 2 + length]
        if marker == 0xDA:
            return
        place += 2 + length


def _jpeg(data: bytes, image: Image.Image) -> str | None:
    exif = 0
    for marker, content in _segments(data):
        if marker == 0:
            return "bytes between the segments of a JPEG file"
        if marker in _REFUSED_FRAMES:
            return f"a JPEG frame of the kind 0x{marker:02X}"
        if marker in _FRAMES:
            sampling = tuple(content[7::3])
            if content[0] != 8 or sampling not in _SAMPLINGS:
                return f"JPEG samples of {content[0]} bits, samplings {', '.join(f'0x{one:02X}' for one in sampling)}"
        if marker == 0xEE and content.startswith(b"Adobe") and content[11:12] not in (b"\0", b"\1"):
            return "an unknown colour transform in a JPEG file"
        exif += marker == 0xE1 and content.startswith(b"Exif")
    return "several segments of EXIF" if exif > 1 else None


def _png(data: bytes, image: Image.Image) -> str | None:
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind == b"IHDR" and content[8] > 8:
            return f"samples of {content[8]} bits"
        if kind not in _PNG_CHUNKS:
            return f"a chunk {kind!r}"
        if kind in (b"tEXt", b"zTXt", b"iTXt") and content.startswith(b"Raw profile type"):
            return "EXIF in a text"
        place += 12 + length
    return None


def _pnm(data: bytes, image: Image.Image) -> str | None:
    if data[:2] not in (b"P5", b"P6"):
        return f"PNM of the kind {data[:2].decode('ascii', 'replace')}"
    lines = (line.partition(b"#")[0] for line in io.BytesIO(data[2:4096]))
    words = [word for line in lines for word in line.split()][:3]
    highest = words[2].decode("ascii", "replace") if len(words) > 2 else ""
    return None if highest == "255" else f"samples up to {highest} instead of 255"


def _bmp(data: bytes, image: Image.Image) -> str | None:
    (size,) = struct.unpack_from("<I", data, 14)
    bits, compression = struct.unpack_from("<HI", data, 28) if size >= 40 else (0, 0)
    return None if (bits, compression) in ((24, 0), (8, 0)) else f"BMP of {bits} bits, compression {compression}"


def _tiff(data: bytes, image: Image.Image) -> str | None:
    tags = getattr(image, "tag_v2", {})
    for tag, allowed, what in _TIFF_TAGS:
        value = tags.get(tag, allowed[0])
        if value not in allowed:
            return f"TIFF with the {what} {value}"
    orientation = tags.get(274, 1)
    return None if orientation in range(1, 9) else f"TIFF with the orientation {orientation}"


def _webp(data: bytes, image: Image.Image) -> str | None:
    return None


#: What may not be decoded alike, by Pillow's name of the format.
_CHECKS: dict[str, Callable[[bytes, Image.Image], str | None]] = {
    **{"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "TIFF": _tiff, "WEBP": _webp, "PPM": _pnm}
}
