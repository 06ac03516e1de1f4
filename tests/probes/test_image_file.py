"""Image files from outside: which decoders are asked, and what a folder of images may take."""

import ast
import inspect
import os
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import (
    BmpImagePlugin,
    EpsImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from support.bounded import bounded
from support.odd_images import HAS_LIBTIFF

import sac_fast
from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet, image_file, verify_probes

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n0 0 moveto\n%%EOF\n"


def field(tag, content):
    return bytes([0x1C, *tag]) + len(content).to_bytes(2, "big") + content


def iptc(inside):
    """An IPTC record whose image data are another file."""
    head = field((3, 60), b"\1\0") + field((3, 20), b"\0\0\0\x08") + field((3, 30), b"\0\0\0\x08")
    return head + field((3, 120), b"\0\0\0\1" if inside is None else b"\0\0\0\5") + field((8, 10), inside or b"")


def fits():
    cards = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2")
    cards += ("NAXIS1  =                30000", "NAXIS2  =                30000", "END")
    return "".join(card.ljust(80) for card in cards).encode().ljust(2880)


def png(width, height):
    """A grey image of one value: few bytes for many pixels."""

    packed = zlib.compress(bytes((width + 1) * height), 9)
    return png_header(width, height) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def png_header(width, height):
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


FOREIGN = {
    "eps.png": EPS,
    "iptc.png": iptc(EPS),
    "fits.png": fits(),
    "jpeg2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ",
    "icon.bmp": b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + (104).to_bytes(4, "little") + b"\x16\0\0\0" + EPS,
    "icns.png": b"icns" + (100).to_bytes(4, "big") + b"ic09" + (92).to_bytes(4, "big") + EPS,
    "psd.tif": b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\x08\0\0\0\x08\0\x08\0\3" + bytes(14),
    "wmf.gif": b"\xd7\xcd\xc6\x9a\0\0" + bytes(80),
}


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program ``gs`` that leaves a marker; returns the marker."""
    marker = tmp_path / "ghostscript ran"
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gs").write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return marker


@pytest.mark.parametrize("name", FOREIGN)
def test_other_decoders_are_not_asked_whatever_the_name(tmp_path, ghostscript, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / name).write_bytes(FOREIGN[name])
    with pytest.raises(ProbeError, match=f"{name}' cannot be decoded: UnidentifiedImageError"):
        ProbeSet.from_folder(root, size=8)
    assert not ghostscript.exists()


def test_pillow_alone_would_have_run_ghostscript(tmp_path, ghostscript):
    (tmp_path / "eps.png").write_bytes(EPS)
    with Image.open(tmp_path / "eps.png") as image, pytest.raises(Exception):  # noqa: B017, PT011
        image.load()
    assert ghostscript.exists()


def opened(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Image.open"]


def test_images_are_opened_in_one_place():
    package = Path(sac_fast.__file__).parent
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Image.open" in (text := path.read_text(encoding="utf-8"))
        for _ in opened(ast.parse(text))
    ]
    assert found == ["probes/image_file.py"]


@pytest.mark.parametrize(
    "plugin",
    [
        *(BmpImagePlugin, GifImagePlugin, MpoImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin),
        *(WebPImagePlugin, JpegImagePlugin),
    ],
)
def test_the_decoders_on_the_list_open_no_image_inside(plugin):
    """JPEG's `load_djpeg`, which nothing calls, reads what a program of its own has written."""
    tree = ast.parse(inspect.getsource(plugin))
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and opened(node)]
    assert [method.name for method in methods] == (["load_djpeg"] if plugin is JpegImagePlugin else [])


def write_bombs(root, count, side):
    root.mkdir()
    for number in range(count):
        (root / f"{number}.png").write_bytes(png(side, side))


@pytest.mark.parametrize("skip_bad", [False, True])
def test_many_small_bombs_are_refused_together(tmp_path, monkeypatch, skip_bad):
    """Each is allowed alone; passed over, they would take the place of the images after them."""
    monkeypatch.setattr(image_file, "FREE_PIXELS", 3 * 500 * 500)
    write_bombs(tmp_path / "few", 3, 500)
    assert ProbeSet.from_folder(tmp_path / "few", size=4).images.shape == (3, 4, 4, 3)
    write_bombs(tmp_path / "many", 12, 500)
    with pytest.raises(image_file.TooMuchError, match=r"many' must have at most .* pixels in files of that size"):
        ProbeSet.from_folder(tmp_path / "many", size=4, skip_bad=skip_bad)


def test_files_and_kept_pixels_count_together(tmp_path, monkeypatch):
    write_bombs(tmp_path / "few", 5, 20)
    size = (tmp_path / "few" / "0.png").stat().st_size
    monkeypatch.setattr(image_file, "MAX_TOTAL_BYTES", 4 * size)
    for options in ({}, {"limit": 2, "commit_seed": "s"}):
        with pytest.raises(image_file.TooMuchError, match=f"at most {4 * size} bytes together"):
            ProbeSet.from_folder(tmp_path / "few", skip_bad=True, **options)
    monkeypatch.setattr(image_file, "MAX_TOTAL_BYTES", 1 << 30)
    monkeypatch.setattr(image_file, "MAX_KEPT_BYTES", 5 * 1200 - 1)
    with pytest.raises(image_file.TooMuchError, match="at most 5,999 bytes of pixels to keep together"):
        ProbeSet.from_folder(tmp_path / "few", skip_bad=True)


def test_probes_that_are_verified_count_too(tmp_path, monkeypatch):
    write_bombs(tmp_path / "few", 4, 500)
    probes = ProbeSet.from_folder(tmp_path / "few", size=4)
    monkeypatch.setattr(image_file, "FREE_PIXELS", 3 * 500 * 500)
    with pytest.raises(image_file.TooMuchError):
        verify_probes(probes, tmp_path / "few")


@pytest.mark.parametrize("limit", [None, 1 << 40])
def test_one_large_image_is_refused_whatever_pillow_is_set_to(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 1000)
    (tmp_path / "a.png").write_bytes(png(40, 40))
    with pytest.raises(
        ProbeError,
        match=r"a\.png' cannot be decoded: DecompressionBombError: .* 1,000 pixels in 78 bytes, got 1,600",
    ):
        ProbeSet.from_folder(tmp_path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_image_of_few_bytes_and_many_pixels_is_refused(tmp_path):
    """2²³ pixels are free, and 64 a byte."""
    packed = png(9, 9)
    (tmp_path / "a.png").write_bytes(png_header(7, 4_915_209) + packed[33:])
    size = len(packed)
    wanted = rf"DecompressionBombError: .* at most {8_388_608 + 64 * size:,} pixels in {size} bytes, got 34,406,463"
    with bounded(size, seconds=2), pytest.raises(ProbeError, match=wanted):
        ProbeSet.from_folder(tmp_path)


def test_what_this_process_encoded_may_have_any_number_of_pixels_a_byte():
    probes = ProbeSet.from_arrays(np.zeros((1, 3000, 3000, 3), np.uint8))
    assert not probes.jpeg(quality=50, engine="pillow").images.any()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
def test_the_largest_free_image_costs_less_than_200_mb(tmp_path, mode):
    with Image.new(mode, (2896, 2896)) as image:
        has_lzw = HAS_LIBTIFF and mode != "I;16"
        image.save(tmp_path / "a.tif", compression="tiff_lzw" if has_lzw else None)
    with bounded(seconds=10):
        assert ProbeSet.from_folder(tmp_path, size=4).images.shape == (1, 4, 4, 3)


def test_an_image_of_holes_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(4, 4))
    os.truncate(tmp_path / "a.png", 1 << 30)
    with bounded(seconds=0.5), pytest.raises(ProbeError, match=r"image .*a\.png' must lie on the disk, got"):
        ProbeSet.from_folder(tmp_path)


def test_threads_leave_the_process_as_it_was(tmp_path, monkeypatch):
    """Meanwhile truncated images are errors in all of them, and no filter of warnings is touched."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    good = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("a", "b"):
        root = tmp_path / name
        root.mkdir()
        for number in range(40):
            Image.fromarray(good).save(root / f"{number:02}.png")
            if number % 2:
                content = (root / f"{number:02}.png").read_bytes()
                (root / f"{number:02}.png").write_bytes(content[: len(content) // 2])
    filters, found = [*warnings.filters], {}

    def read(name):
        found[name] = ProbeSet.from_folder(tmp_path / name, skip_bad=True)

    threads = [threading.Thread(target=read, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found[name]) for name in ("a", "b")] == [20, 20]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert warnings.filters == filters


@pytest.mark.skipif(not HAS_LIBTIFF, reason="Pillow has no libtiff")
def test_damaged_images_print_nothing(tmp_path, capfd):
    """What libtiff says of them goes past Python to stderr, where it would run into lines of ours."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(path, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)

    def say():
        with pytest.raises(OSError, match="decoder error"), Image.open(path) as image:
            image.load()
        return capfd.readouterr().err

    assert "ZIPDecode" in say()
    with path.open("rb") as first, path.open("rb") as second, image_file.open_image(first) as image:
        with image_file.open_image(second):  # as another thread would, which ends before
            pass
        with pytest.raises(OSError, match="decoder error"):
            image.load()
    assert capfd.readouterr() == ("", "")
    assert "ZIPDecode" in say()  # what others have Pillow read is as it was
