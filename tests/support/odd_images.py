"""Odd image files, made here byte by byte or by Pillow: bit depths, palettes, orientations, colour spaces, profiles.

`odd_images` gives each with the pixels that it must be read as, by the definition of its format, or the words of its
refusal; lossy files have no known pixels and stand for themselves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, features

from .odd_files import (
    Array,
    H,
    Odd,
    W,
    adobe_transform,
    bmp,
    by_pillow,
    exif,
    grey3,
    png,
    pnm,
    raw_profile,
    tiff,
    tiff_exif,
    turned,
    with_adobe,
    with_segment,
    without_segment,
)

#: Builds of Pillow without it, as pillow-simd's, read uncompressed TIFF files alone.
HAS_LIBTIFF = bool(features.check("libtiff"))
HAS_WEBP = bool(features.check("webp"))
RGB = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
GREY = RGB[..., 0]
ALPHA = np.random.default_rng(1).integers(0, 256, (H, W), np.uint8)
RGBA = np.dstack([RGB, ALPHA])
#: 16-bit samples whose high byte is not the rounded value.
WIDE = np.random.default_rng(2).integers(0, 65536, (H, W, 3), np.uint16)
SMOOTH = np.dstack([np.add.outer(np.arange(H) * 9, np.arange(W) * 7) + 20 * c for c in range(3)]).astype(np.uint8)


# --- PNG ----------------------------------------------------------------------------------------------------------


def _srgb_profile() -> bytes:
    """A colour profile; where Pillow is built without Little CMS, one that has a header alone."""
    try:
        from PIL import ImageCms

        made: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    except ImportError:
        made = (132).to_bytes(4, "big") + bytes(12) + b"RGB XYZ " + bytes(12) + b"acsp" + bytes(92)
    return made


def _pngs() -> list[Odd]:
    palette = np.random.default_rng(3).integers(0, 256, (16, 3), np.uint8)
    plte = (b"PLTE", palette.tobytes())
    index, two, four, one = GREY % 16, GREY % 4, GREY % 16, GREY % 2
    profile = _srgb_profile()
    icc = (b"iCCP", b"p\0\0" + zlib.compress(profile))
    grey_alpha, high = np.dstack([GREY, ALPHA]), (WIDE >> 8).astype(np.uint8)
    wide_alpha = np.dstack([WIDE, WIDE[..., :1]])
    two_frames: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}
    return [
        Odd("rgb.png", png(RGB, 8, 2), RGB),
        Odd("grey.png", png(GREY, 8, 0), grey3(GREY)),
        Odd("grey-1.png", png(one, 1, 0), grey3(one * 255)),
        Odd("grey-2.png", png(two, 2, 0), grey3(two * 85)),
        Odd("grey-4.png", png(four, 4, 0), grey3(four * 17)),
        Odd("grey-16.png", png(WIDE[..., 0], 16, 0), grey3(high[..., 0])),
        Odd("rgb-16.png", png(WIDE, 16, 2), high),
        Odd("rgba-16.png", png(wide_alpha, 16, 6), high),
        Odd("grey-alpha-16.png", png(wide_alpha[..., 2:], 16, 4), grey3(high[..., 2])),
        Odd("rgba.png", png(RGBA, 8, 6), RGB),
        Odd("grey-alpha.png", png(grey_alpha, 8, 4), grey3(GREY)),
        Odd("palette.png", png(index, 8, 3, plte), palette[index]),
        Odd("palette-4.png", png(index, 4, 3, plte), palette[index]),
        Odd("palette-2.png", png(two, 2, 3, plte), palette[two]),
        Odd("palette-1.png", png(one, 1, 3, plte), palette[one]),
        Odd("palette-trns.png", png(index, 8, 3, plte, (b"tRNS", bytes(range(0, 160, 10)))), palette[index]),
        Odd("rgb-trns.png", png(RGB, 8, 2, (b"tRNS", struct.pack(">HHH", *RGB[0, 0].tolist()))), RGB),
        Odd("grey-trns.png", png(GREY, 8, 0, (b"tRNS", struct.pack(">H", int(GREY[0, 0])))), grey3(GREY)),
        Odd("interlaced.png", png(RGB, 8, 2, interlaced=True), RGB),
        Odd("interlaced-16.png", png(WIDE, 16, 2, interlaced=True), high),
        Odd("interlaced-grey-2.png", png(two, 2, 0, interlaced=True), grey3(two * 85)),
        Odd("gamma.png", png(RGB, 8, 2, (b"gAMA", struct.pack(">I", 100000))), RGB),
        Odd("profile.png", png(RGB, 8, 2, icc), RGB),
        Odd("srgb.png", png(RGB, 8, 2, (b"sRGB", b"\0")), RGB),
        Odd("significant-bits.png", png(RGB, 8, 2, (b"sBIT", b"\5\6\5")), RGB),
        Odd("background.png", png(RGBA, 8, 6, (b"bKGD", struct.pack(">HHH", 255, 0, 0))), RGB),
        Odd("exif-6.png", png(RGB, 8, 2, (b"eXIf", exif(6).tobytes()[6:])), turned(RGB, 6)),
        Odd("raw-profile.png", png(RGB, 8, 2, (b"zTXt", raw_profile(6))), turned(RGB, 6)),
        Odd("animated.png", by_pillow(Image.fromarray(RGB), "PNG", **two_frames), RGB),
    ]  # fmt: skip


# --- PNM ----------------------------------------------------------------------------------------------------------


def _scaled(samples: Array, maxval: int) -> Array:
    """255 x / maxval, rounded; of halves as Python does."""
    return (
        np.array([round(int(value) / maxval * 255) for value in samples.ravel()])
        .reshape(samples.shape)
        .astype(np.uint8)
    )


def _pnms() -> list[Odd]:
    ten_bits = WIDE % 1024
    grey_10 = np.array([round(int(v) / 1023 * 65535) >> 8 for v in ten_bits[..., 0].ravel()]).reshape(H, W)
    return [
        Odd("rgb.ppm", pnm("P6", RGB, 255), RGB),
        Odd("grey.pgm", pnm("P5", GREY, 255), grey3(GREY)),
        Odd("bits.pbm", pnm("P4", GREY % 2, None), grey3(255 - GREY % 2 * 255)),
        Odd("text-bits.pbm", pnm("P1", GREY % 2, None), grey3(255 - GREY % 2 * 255)),
        Odd("text-grey.pgm", pnm("P2", GREY, 255), grey3(GREY)),
        Odd("text.ppm", pnm("P3", RGB, 255), RGB),
        Odd("maxval-15.pgm", pnm("P5", GREY % 16, 15), grey3(GREY % 16 * 17)),
        Odd("maxval-100.ppm", pnm("P6", RGB % 101, 100), _scaled(RGB % 101, 100)),
        Odd("maxval-31.ppm", pnm("P3", RGB % 32, 31), _scaled(RGB % 32, 31)),
        Odd("maxval-1023.ppm", pnm("P6", ten_bits, 1023), _scaled(ten_bits, 1023)),
        Odd("maxval-65535.ppm", pnm("P6", WIDE, 65535), _scaled(WIDE, 65535)),
        Odd("maxval-1023.pgm", pnm("P5", ten_bits[..., 0], 1023), grey3(grey_10)),
        Odd("maxval-65535.pgm", pnm("P5", WIDE[..., 0], 65535), grey3(WIDE[..., 0] >> 8)),
        Odd("floats.pfm", f"Pf\n{W} {H}\n-1.0\n".encode() + GREY.astype("<f4").tobytes(), "floats"),
        Odd("comment.ppm", pnm("P6", RGB, 255).replace(b"P6\n", b"P6\n# 7 7 15\n", 1), RGB),
    ]  # fmt: skip


# --- TIFF, BMP, GIF -----------------------------------------------------------------------------------------------


def _tiffs() -> list[Odd]:
    palette = Image.fromarray(RGB).quantize(16)
    lab = Image.frombytes("LAB", (W, H), RGB.tobytes())
    inks = np.dstack([RGB, ALPHA])
    left = 255 - ALPHA.astype(int)
    products = RGB.astype(int) * left[..., None] + 128
    paper = (left[..., None] - (((products >> 8) + products) >> 8)).clip(0, 255).astype(np.uint8)
    signed = WIDE[..., 0].astype(np.int16)
    divided = (RGB.astype(int) * 255 // ALPHA[..., None].clip(1)).clip(0, 255).astype(np.uint8)
    divided[ALPHA == 0] = 0
    pages: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(GREY)]}
    high = (WIDE >> 8).astype(np.uint8)
    turning = [Odd(f"orientation-{o}.tif", tiff(RGB, 2, (274, 3, o)), turned(RGB, o)) for o in (1, 2, 3, 4, 6, 8)]
    return [
        *turning,
        Odd("rgb.tif", tiff(RGB, 2), RGB),
        Odd("big-endian.tif", tiff(RGB, 2, order=">"), RGB),
        Odd("grey.tif", tiff(GREY, 1), grey3(GREY)),
        Odd("white-is-zero.tif", tiff(GREY, 0), grey3(255 - GREY)),
        Odd("rgb-16.tif", tiff(WIDE, 2), high),
        Odd("grey-16.tif", tiff(WIDE[..., 0], 1), grey3(high[..., 0])),
        Odd("grey-16-big.tif", tiff(WIDE[..., 0], 1, order=">"), grey3(high[..., 0])),
        Odd("white-is-zero-16.tif", tiff(WIDE[..., 0], 0), "white is zero"),
        Odd("signed-16.tif", tiff(signed, 1, (339, 3, 2)), "signed"),
        Odd("integers-32.tif", tiff(GREY.astype(np.uint32), 1), "32 bits"),
        Odd("signed-32.tif", tiff(GREY.astype(np.int32), 1, (339, 3, 2)), "32 bits"),
        Odd("floats.tif", tiff(GREY.astype(np.float32), 1, (339, 3, 3)), "floats"),
        Odd("rgba.tif", tiff(RGBA, 2, (338, 3, 2)), RGB),
        Odd("rgbx.tif", tiff(RGBA, 2, (338, 3, 0)), RGB),
        Odd("premultiplied.tif", tiff(RGBA, 2, (338, 3, 1)), divided),
        Odd("cmyk.tif", tiff(inks, 5), paper),
        Odd("lab.tif", by_pillow(lab, "TIFF"), "LAB"),
        Odd("palette.tif", by_pillow(palette, "TIFF"), np.asarray(palette.convert("RGB"))),
        Odd("bits.tif", by_pillow(Image.fromarray(GREY > 99), "TIFF"), grey3((GREY > 99) * 255)),
        *_compressed_tiffs(),
        Odd("pages.tif", by_pillow(Image.fromarray(RGB), "TIFF", **pages), RGB),
    ]  # fmt: skip


def _compressed_tiffs() -> list[Odd]:
    """None where Pillow is built without libtiff, which alone reads and writes them."""
    if not HAS_LIBTIFF:
        return []
    methods = {"lzw.tif": "tiff_lzw", "deflate.tif": "tiff_adobe_deflate"}
    image = Image.fromarray(RGB)
    return [Odd(name, by_pillow(image, "TIFF", compression=method), RGB) for name, method in methods.items()]


def _bmps() -> list[Odd]:
    bgr = np.ascontiguousarray(RGB[..., ::-1]).reshape(H, -1)
    colours = np.random.default_rng(4).integers(0, 256, (16, 4), np.uint8)
    colours[:, 3] = 0
    of = colours[:, 2::-1]
    index = GREY % 16
    five = (
        ((RGB[..., 0] >> 3).astype(np.uint16) << 10) | ((RGB[..., 1] >> 3).astype(np.uint16) << 5) | (RGB[..., 2] >> 3)
    )
    six = (
        ((RGB[..., 0] >> 3).astype(np.uint16) << 11) | ((RGB[..., 1] >> 2).astype(np.uint16) << 5) | (RGB[..., 2] >> 3)
    )
    as_five = (RGB.astype(int) >> 3) * 255 // 31
    as_six = np.dstack([as_five[..., 0], (RGB[..., 1].astype(int) >> 2) * 255 // 63, as_five[..., 2]])
    bgrx = np.dstack([RGB[..., ::-1], ALPHA]).reshape(H, -1)
    return [
        Odd("rgb.bmp", bmp(bgr, 24), RGB),
        Odd("grey.bmp", by_pillow(Image.fromarray(GREY), "BMP"), grey3(GREY)),
        Odd("top-down.bmp", bmp(bgr, 24, top_down=True), RGB),
        Odd("palette.bmp", bmp(index, 8, palette=colours.tobytes()), of[index]),
        Odd("palette-4.bmp", bmp(index[:, ::2] << 4 | index[:, 1::2], 4, palette=colours.tobytes()), of[index]),
        Odd("bits.bmp", bmp(np.packbits(GREY % 2, axis=1), 1, palette=colours[:2].tobytes()), of[GREY % 2]),
        Odd("555.bmp", bmp(five, 16), as_five.astype(np.uint8)),
        Odd("565.bmp", bmp(six, 16, masks=(0xF800, 0x07E0, 0x001F)), as_six.astype(np.uint8)),
        Odd("bgrx.bmp", bmp(bgrx, 32), RGB),
    ]  # fmt: skip


def _others() -> list[Odd]:
    image, grey = Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[..., 0])
    lossless: dict[str, Any] = {"lossless": True, "exact": True}
    palette = Image.fromarray(RGB).quantize(16)
    shown = np.asarray(palette.convert("RGB"))
    profile = _srgb_profile()
    more: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}

    def jpeg(name: str, source: Image.Image, **options: Any) -> Odd:
        return Odd(name, by_pillow(source, "JPEG", **options))

    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    plain, adobe = by_pillow(image, "JPEG", subsampling=0), b"http://ns.adobe.com/xap/1.0/\0"

    def webp() -> list[Odd]:
        return [
            Odd("lossless.webp", by_pillow(Image.fromarray(RGB), "WEBP", **lossless), RGB),
            Odd("alpha.webp", by_pillow(Image.fromarray(RGBA), "WEBP", **lossless), RGB),
            Odd("exif-6.webp", by_pillow(Image.fromarray(RGB), "WEBP", exif=exif(6), **lossless), turned(RGB, 6)),
            Odd("profile.webp", by_pillow(Image.fromarray(RGB), "WEBP", icc_profile=profile, **lossless), RGB),
            Odd("animated.webp", by_pillow(Image.fromarray(RGB), "WEBP", **lossless, **more), RGB),
            Odd("lossy.webp", by_pillow(image, "WEBP", quality=60)),
            Odd("xmp-6.webp", by_pillow(Image.fromarray(RGB), "WEBP", xmp=xmp, **lossless), turned(RGB, 6)),
        ]  # fmt: skip

    sampling = {f"subsampling-{s}.jpg": {"subsampling": i} for i, s in enumerate(("444", "422", "420"))}
    return [
        Odd("palette.gif", by_pillow(palette, "GIF"), shown),
        Odd("transparent.gif", by_pillow(palette, "GIF", transparency=3), shown),
        Odd("interlaced.gif", by_pillow(palette, "GIF", interlace=1), shown),
        Odd("animated.gif", by_pillow(palette, "GIF", **more), shown),
        *(webp() if HAS_WEBP else []),
        *[jpeg(name, image, **options) for name, options in sampling.items()],
        *[jpeg(f"exif-{o}.jpg", image, exif=exif(o), subsampling=0) for o in range(1, 9)],
        jpeg("grey.jpg", grey),
        jpeg("grey-exif-6.jpg", grey, exif=exif(6)),
        jpeg("progressive.jpg", image, progressive=True),
        jpeg("progressive-grey.jpg", grey, progressive=True),
        jpeg("restarts.jpg", image, restart_marker_blocks=1),
        jpeg("optimized.jpg", image, optimize=True, quality=3),
        jpeg("quality-100.jpg", image, quality=100),
        jpeg("rgb-inside.jpg", image, keep_rgb=True),
        jpeg("profile.jpg", image, icc_profile=profile),
        jpeg("cmyk.jpg", image.convert("CMYK")),
        jpeg("odd-size.jpg", image.crop((0, 0, 13, 7)), subsampling=2),
        Odd("ycck.jpg", adobe_transform(by_pillow(image.convert("CMYK"), "JPEG"), 2)),
        Odd("adobe-0.jpg", with_adobe(by_pillow(image, "JPEG", subsampling=0), 0)),
        Odd("adobe-1.jpg", with_adobe(by_pillow(image, "JPEG", subsampling=0), 1)),
        Odd("no-jfif.jpg", without_segment(by_pillow(image, "JPEG", subsampling=0), 0xE0)),
        Odd("xmp-6.jpg", with_segment(plain, adobe + xmp)),
        Odd("exif-6-xmp-6.jpg", with_segment(with_segment(plain, adobe + xmp), exif(6).tobytes())),
        Odd("exif-big-endian.jpg", with_segment(plain, tiff_exif(">", 3, 6))),
        Odd("exif-long.jpg", with_segment(plain, tiff_exif("<", 4, 6))),
        Odd("exif-twice.jpg", with_segment(with_segment(plain, tiff_exif("<", 3, 6)), tiff_exif("<", 3, 8))),
        Odd("exif-9.jpg", with_segment(plain, tiff_exif("<", 3, 9))),
        Odd("exif-broken.jpg", with_segment(plain, b"Exif\0\0II*\0\xff\xff\0\0")),
        Odd("comment.jpg", with_segment(plain, b"orientation 6", 0xFE)),
        Odd("xmp-6.png", png(RGB, 8, 2, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)), turned(RGB, 6)),
        Odd("thumbnail.mpo", by_pillow(image, "MPO", save_all=True, append_images=[image]), None),
    ]  # fmt: skip


def odd_images() -> list[Odd]:
    """All of them."""
    makers: tuple[Callable[[], list[Odd]], ...] = (_pngs, _pnms, _tiffs, _bmps, _others)
    return [odd for make in makers for odd in make()]
