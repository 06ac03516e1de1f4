"""Writers of image files: PNG, PNM, TIFF and BMP byte by byte, others by Pillow; and changes of their metadata."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]

H, W = 12, 16
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True)
class Odd:
    """One file.

    Attributes:
        name: with the usual ending of its format.
        data: the bytes.
        pixels: (H, W, 3) as it must be read; words of the refusal; or None where its format is lossy.
    """

    name: str
    data: bytes
    pixels: Array | str | None = None


def grey3(values: Array) -> Array:
    """One channel as three."""
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, 2)


def by_pillow(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    """EXIF with an orientation, 1 … 8."""
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def turned(pixels: Array, orientation: int) -> Array:
    """How an image with an EXIF orientation is shown."""
    flipped = {2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1]}
    transposed = {5: lambda x: x, 6: lambda x: x[:, ::-1], 7: lambda x: x[::-1, ::-1], 8: lambda x: x[::-1]}
    if orientation in transposed:
        return transposed[orientation](pixels.transpose(1, 0, 2))
    return flipped.get(orientation, lambda x: x)(pixels)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _scanlines(samples: Array, depth: int) -> bytes:
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(len(rows), -1)
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)


def png(samples: Array, depth: int, kind: int, *chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A PNG file; kind: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in _PASSES] if interlaced else [samples]
    packed = zlib.compress(b"".join(_scanlines(part, depth) for part in parts if part.size))
    more = b"".join(_chunk(*chunk) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + more + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def raw_profile(orientation: int) -> bytes:
    """EXIF as ImageMagick wrote it before PNG had a chunk for it."""
    raw = exif(orientation).tobytes()
    text = f"\nexif\n{len(raw):8d}\n{raw.hex()}\n"
    return b"Raw profile type exif\0\0" + zlib.compress(text.encode())


def pnm(kind: str, samples: Array, maxval: int | None) -> bytes:
    """A PNM file; kind: P1 … P6."""
    head = f"{kind}\n{W} {H}\n" + (f"{maxval}\n" if maxval else "")
    if kind in ("P1", "P2", "P3"):
        return (head + " ".join(map(str, samples.ravel().tolist())) + "\n").encode()
    if kind == "P4":
        return head.encode() + np.packbits(samples.astype(bool), axis=1).tobytes()
    return head.encode() + samples.astype(">u2" if (maxval or 0) > 255 else np.uint8).tobytes()


def tiff(samples: Array, photometric: int, *more: tuple[int, int, int], order: str = "<", bits: int = 0) -> bytes:
    """An uncompressed TIFF file; `more`: tag, type and value of further short entries."""
    planes = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    size = bits or samples.dtype.itemsize * 8
    depth = 8 + len(data)
    extra = struct.pack(f"{order}{planes}H", *[size] * planes)
    entries = [
        *[(256, 3, 1, samples.shape[1]), (257, 3, 1, samples.shape[0]), (259, 3, 1, 1), (262, 3, 1, photometric)],
        (258, 3, planes, size if planes == 1 else depth),
        *[(273, 4, 1, 8), (277, 3, 1, planes), (278, 3, 1, samples.shape[0]), (279, 4, 1, len(data))],
        *[(tag, kind, 1, value) for tag, kind, value in more],
    ]
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in sorted(entries):
        inline = struct.pack(f"{order}H2x" if kind == 3 and count == 1 else f"{order}I", value)
        if kind == 3 and count == 2:
            inline = struct.pack(f"{order}HH", size, size)
        table += struct.pack(f"{order}HHI", tag, kind, count) + inline
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", depth + len(extra)) + data + extra + table + bytes(4)


def bmp(
    samples: Array, bits: int, *, palette: bytes = b"", top_down: bool = False, masks: tuple[int, ...] = ()
) -> bytes:
    """A BMP file with BITMAPINFOHEADER; samples: rows of bytes as they are stored, from the top."""
    rows = samples if top_down else samples[::-1]
    body = b"".join(row.tobytes().ljust((len(row.tobytes()) + 3) // 4 * 4, b"\0") for row in rows)
    extra = struct.pack(f"<{len(masks)}I", *masks) + palette
    offset = 14 + 40 + len(extra)
    colours = len(palette) // 4
    info = struct.pack(
        "<IiiHHIIiiII", 40, W, -H if top_down else H, 1, bits, 3 if masks else 0, len(body), 0, 0, colours, 0
    )
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + extra + body


def adobe_transform(data: bytes, transform: int) -> bytes:
    """With another transform in the Adobe marker."""
    place = data.index(b"Adobe")
    return data[: place + 11] + bytes([transform]) + data[place + 12 :]


def with_adobe(data: bytes, transform: int) -> bytes:
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return data[:2] + marker + without_segment(data, 0xE0)[2:]


def without_segment(data: bytes, marker: int) -> bytes:
    place = data.index(bytes([0xFF, marker]))
    (length,) = struct.unpack_from(">H", data, place + 2)
    return data[:place] + data[place + 2 + length :]


def with_segment(data: bytes, content: bytes, marker: int = 0xE1) -> bytes:
    """A JPEG file with one more segment at its begin."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


def tiff_exif(order: str, kind: int, orientation: int) -> bytes:
    """EXIF with an orientation of a type: 3 short, 4 long."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", orientation)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)
