"""Odd image files: every mode and format is converted rightly or refused, and DALI is never wrong where it is exact."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.odd_files import Odd, png, turned
from support.odd_images import HAS_LIBTIFF, HAS_WEBP, RGB, odd_images

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet, load_dali
from sac_fast.probes.dali import missing_dali
from sac_fast.probes.dali_header import check_header
from sac_fast.probes.image import read_image
from sac_fast.probes.image_file import ImageBudget
from sac_fast.probes.items import Item

# Pillow warns of the one file whose EXIF is broken.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
ODD = {odd.name: odd for odd in odd_images()}
#: What Pillow calls the samples of each format; every one of them stands in the corpus.
MODES = {
    "PNG": {"1", "I;16", "L", "LA", "P", "RGB", "RGBA"},
    "PPM": {"1", "F", "I", "L", "RGB"},
    "TIFF": {"1", "CMYK", "F", "I", "I;16", "I;16B", "L", "LAB", "P", "RGB", "RGBA"},
    "BMP": {"L", "P", "RGB"},
    "GIF": {"P"},
    "WEBP": {"RGB", "RGBA"},
    "JPEG": {"CMYK", "L", "RGB"},
    "MPO": {"RGB"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("odd")
    for odd in ODD.values():
        (made / odd.name).write_bytes(odd.data)
    return made


def test_the_corpus_has_every_mode_of_every_format() -> None:
    found: dict[str, set[str]] = {}
    for odd in ODD.values():
        with Image.open(io.BytesIO(odd.data)) as image:
            found.setdefault(image.format or "", set()).add(image.mode)
    assert found == {name: modes for name, modes in MODES.items() if HAS_WEBP or name != "WEBP"}
    assert len(ODD) >= 119 + 7 * HAS_WEBP + 2 * HAS_LIBTIFF


@pytest.mark.parametrize("odd", ODD.values(), ids=lambda odd: odd.name)
def test_images_are_read_as_their_format_says(odd: Odd, folder: Path) -> None:
    path = folder / odd.name
    if isinstance(odd.pixels, str):
        with pytest.raises(ProbeError) as caught:
            read_image(path)
        assert odd.pixels in str(caught.value)
        return
    pixels = np.asarray(read_image(path)[0])
    if odd.pixels is not None:
        np.testing.assert_array_equal(pixels, odd.pixels)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)


def test_a_few_values_worked_out_by_hand(tmp_path: Path) -> None:
    sixteen = np.array([[0x1234, 0x12FF, 0xFF00, 0x00FF]], np.uint16)
    Image.fromarray(sixteen).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png")[0])[0, :, 0].tolist() == [0x12, 0x12, 0xFF, 0]
    (tmp_path / "b.pgm").write_bytes(b"P5 3 1 15\n\x00\x07\x0f")  # 255 · 7 / 15 = 119
    assert np.asarray(read_image(tmp_path / "b.pgm")[0])[0].tolist() == [[0] * 3, [119] * 3, [255] * 3]
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 128, 255, 55]]], np.uint8)
    Image.frombytes("CMYK", (4, 1), inks.tobytes()).save(tmp_path / "c.tif")
    # 255 − K − ink · (255 − K) / 255: 200, 200 − 128 · 200 / 255 = 99.6, 0
    expected = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [200, 100, 0]]
    assert np.asarray(read_image(tmp_path / "c.tif")[0])[0].tolist() == expected


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientations_of_photographs(orientation: int, folder: Path) -> None:
    upright = np.asarray(read_image(folder / "exif-1.jpg")[0])
    found = np.asarray(read_image(folder / f"exif-{orientation}.jpg")[0])
    np.testing.assert_array_equal(found, turned(upright, orientation))


@pytest.mark.skipif(missing_dali() is not None, reason=str(missing_dali()))
def test_dali_gives_pillows_pixels_or_refuses(folder: Path, tmp_path: Path) -> None:
    sizes: dict[tuple[int, ...], dict[str, np.ndarray]] = {}
    for odd in ODD.values():
        if not isinstance(odd.pixels, str):
            pixels = np.asarray(read_image(folder / odd.name)[0])
            sizes.setdefault(pixels.shape[:2], {})[odd.name] = pixels
    equal: list[str] = []
    for size, images in sizes.items():
        listed = folder / "list.txt"
        listed.write_text("".join(f"{name}\n" for name in images))
        probes = load_dali(listed, size=size, skip_bad=True, batch_size=8)
        source = probes.provenance["source"]
        assert source["decoder"]["exact"] is True
        names = [entry["name"] for entry in source["images"]]
        for name, pixels in zip(names, probes.images, strict=True):
            np.testing.assert_array_equal(pixels, images[name], err_msg=name)
        assert sorted(names + [entry["name"] for entry in source["skipped"]]) == sorted(images)
        assert not any("DALI:" in entry["reason"] for entry in source["skipped"])  # refused before it was asked
        equal += names
    assert len(equal) >= (60 if HAS_WEBP else 53)  # 7 files are WebP
    # Once up to 255 levels wrong with exact: True.
    wrong = {"rgb-16.png", "rgb-16.tif", "maxval-100.ppm", "maxval-15.pgm", "maxval-1023.ppm", "565.bmp"}
    assert not (wrong | {"raw-profile.png", "xmp-6.jpg", "xmp-6.png", "xmp-6.webp"}) & set(equal)


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("subsampling-420.jpg", b"\x03\x01\x22\x00", b"\x03\x01\x41\x00", "samplings 0x41, 0x11, 0x11"),
        ("subsampling-420.jpg", b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", "cannot be decoded"),
        ("subsampling-420.jpg", b"\xff\xc0", b"\xff\xc9", "JPEG frame of the kind 0xC9"),
        ("adobe-1.jpg", b"Adobe\x00\x64\x00\x00\x00\x00\x01", b"Adobe\x00\x64\x00\x00\x00\x00\x03", "colour transform"),
        ("rgb.png", b"IDAT", b"IDAT", ""),
    ],
)
def test_what_was_not_compared_is_refused(name: str, before: bytes, after: bytes, words: str) -> None:
    data = ODD[name].data
    assert before in data
    changed = data.replace(before, after, 1)
    if not words:
        check_header(Item(name, Path(name)), changed, ImageBudget(name))
        return
    with pytest.raises(ProbeError, match=f"image '{name}' .*{words}"):
        check_header(Item(name, Path(name)), changed, ImageBudget(name))


def test_unknown_chunks_of_png_are_refused() -> None:
    data = png(RGB, 8, 2, (b"orNT", b"\6"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), RGB)
    with pytest.raises(ProbeError, match="got a chunk b'orNT'; the Pillow loader takes it"):
        check_header(Item("a.png", Path("a.png")), data, ImageBudget("a"))


def test_a_folder_of_odd_images_names_what_it_refuses(folder: Path, tmp_path: Path) -> None:
    for name in ("signed-16.tif", "grey-16.tif"):
        (tmp_path / name).write_bytes(ODD[name].data)
    with pytest.raises(ProbeError, match=r"signed-16\.tif.*without a sign, got signed 16 bits"):
        ProbeSet.from_folder(tmp_path)
