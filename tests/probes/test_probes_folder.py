"""Probes from folders of images, most of them hostile."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile, features

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def write_image(path: Path, pixels: Array, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_folder_order_content_and_provenance(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    images = {name: noise(4, 5, 3, seed=i) for i, name in enumerate(["b.png", "a/z.PNG", "a/c.bmp", "C.tiff"])}
    for name, pixels in images.items():
        write_image(root / name, pixels)
    write_image(root / ".hidden.png", noise(9, 9, 3))
    write_image(root / ".git/x.png", noise(9, 9, 3))
    (root / "notes.txt").write_text("no image")
    (root / "x.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(root / "pipe.png")
    probes = ProbeSet.from_folder(root)
    order = ["C.tiff", "a/c.bmp", "a/z.PNG", "b.png"]
    np.testing.assert_array_equal(probes.images, np.stack([images[name] for name in order]))
    assert probes.labels is None
    source = probes.provenance["source"]
    assert source["images"] == [{"name": name, "sha256": sha256(root / name)} for name in order]
    assert source["name"] == "photos"
    assert source["ignored"] == {
        "hidden files": 1,
        "images of a format that is not read (.eps)": 1,
        "other files": 1,
        "not regular files": 1,
    }
    assert probes.provenance["kind"] == "normal"
    assert probes.provenance["versions"]["pillow"] == PIL.__version__
    assert probes.provenance["versions"]["numpy"] == np.__version__
    assert "resize" not in probes.provenance
    assert len(probes) == 4
    assert "4 images of 4×5" in repr(probes)


def test_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png" / "y.png", noise(2, 2, 3))
    assert ProbeSet.from_folder(tmp_path).provenance["source"]["images"][0]["name"] == "x.png/y.png"


def test_folder_labels_and_limit(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/deep/2.png", "cat/3.png", "emu/4.png"):
        write_image(tmp_path / name, noise(2, 2, 3))
    probes = ProbeSet.from_folder(tmp_path, labels="folder")
    assert probes.labels is not None
    assert probes.labels.tolist() == [0, 0, 1, 2]
    assert probes.provenance["source"]["classes"] == ["cat", "dog", "emu"]
    some = ProbeSet.from_folder(tmp_path, labels="folder", limit=2, seed=3)
    assert some.labels is not None
    names = [entry["name"] for entry in some.provenance["source"]["images"]]
    number = {"cat": 0, "dog": 1, "emu": 2}
    assert some.labels.tolist() == [number[name.split("/")[0]] for name in names]
    assert some.provenance["source"]["drawn"] == {"of": 4, "seed": 3}
    assert len(ProbeSet.from_folder(tmp_path, limit=3)) == 3
    assert (
        len(
            {
                ProbeSet.from_folder(tmp_path, limit=1, seed=s).provenance["source"]["images"][0]["name"]
                for s in range(20)
            }
        )
        > 1
    )
    write_image(tmp_path / "top.png", noise(2, 2, 3))
    with pytest.raises(ProbeError, match=r"needs every image in a sub-folder, got 'top\.png'"):
        ProbeSet.from_folder(tmp_path, labels="folder")


def test_folder_sizes(tmp_path: Path) -> None:
    wide = noise(40, 80, 3)
    write_image(tmp_path / "a.png", wide)
    write_image(tmp_path / "b.png", noise(20, 20, 3))
    with pytest.raises(ProbeError, match=r"got 2 sizes \(H×W\): .*40×80 \(1\).*name one .*size="):
        ProbeSet.from_folder(tmp_path)
    image = Image.fromarray(wide)
    crop = np.asarray(image.resize((10, 10), Image.Resampling.BILINEAR, box=(20, 0, 60, 40)))
    np.testing.assert_array_equal(ProbeSet.from_folder(tmp_path, size=10).images[0], crop)
    stretch = np.asarray(image.resize((12, 10), Image.Resampling.BICUBIC))
    probes = ProbeSet.from_folder(tmp_path, size=(10, 12), fit="stretch", resample="bicubic")
    np.testing.assert_array_equal(probes.images[0], stretch)
    assert probes.provenance["resize"] == {"size": [10, 12], "fit": "stretch", "resample": "bicubic"}
    padded = ProbeSet.from_folder(tmp_path, size=(10, 10), fit="pad").images[0]
    np.testing.assert_array_equal(padded[2:7], np.asarray(image.resize((10, 5), Image.Resampling.BILINEAR)))
    assert not padded[:2].any()
    assert not padded[7:].any()


def test_folder_of_the_asked_size_keeps_its_pixels(tmp_path: Path) -> None:
    pixels = noise(7, 5, 3)
    write_image(tmp_path / "a.png", pixels)
    for fit in ("crop", "stretch", "pad"):
        np.testing.assert_array_equal(ProbeSet.from_folder(tmp_path, size=(7, 5), fit=fit).images[0], pixels)


def test_extreme_aspect_ratio(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((1, 3000, 3), 200, np.uint8))
    for fit in ("crop", "stretch", "pad"):
        probes = ProbeSet.from_folder(tmp_path, size=8, fit=fit)
        assert probes.images.shape == (1, 8, 8, 3)
        assert probes.images.max() == 200


def test_modes_have_the_stated_conversion(tmp_path: Path) -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    three = np.repeat(grey[..., None], 3, 2)
    colour = noise(2, 2, 3)
    rgba = np.concatenate([colour, np.array([[0, 10], [128, 255]], np.uint8)[..., None]], 2)
    write_image(tmp_path / "0_grey.png", grey)
    write_image(tmp_path / "1_alpha.png", rgba)
    write_image(tmp_path / "2_sixteen.png", grey.astype(np.uint16) * 256 + 255)
    write_image(tmp_path / "3_sixteen.tif", grey.astype(np.uint16) * 256)
    inks = np.stack([grey, grey, grey, 0 * grey], 2)
    Image.frombytes("CMYK", (2, 2), inks.tobytes()).save(tmp_path / "4_cmyk.tif")
    Image.fromarray(three).quantize(4).save(tmp_path / "5_palette.gif")
    Image.fromarray(grey > 150).save(tmp_path / "6_bits.png")
    frames = [Image.fromarray(three), Image.fromarray(255 - three)]
    frames[0].save(tmp_path / "7_animated.png", save_all=True, append_images=frames[1:])
    images = ProbeSet.from_folder(tmp_path).images
    expected = [three, colour, three, three, 255 - three, three, three // 200 * 255, three]
    for got, want in zip(images, expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("pixels", [np.full((2, 2), 1e9, np.int32), np.full((2, 2), 0.5, np.float32)])
def test_modes_without_a_stated_conversion(tmp_path: Path, pixels: Array) -> None:
    write_image(tmp_path / "a.tif", pixels)
    with pytest.raises(ProbeError, match=r"a\.tif.*samples must be 8 or 16 bits"):
        ProbeSet.from_folder(tmp_path)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = noise(3, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    write_image(tmp_path / "a.png", pixels, exif=exif)
    np.testing.assert_array_equal(ProbeSet.from_folder(tmp_path).images[0], np.rot90(pixels, -1))


def test_truncated_image_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some training scripts do
    for name in ("photo.jpg", "photo.png", "photo.bmp", "photo.webp", "photo.tif"):
        if name.endswith("webp") and not features.check("webp"):
            continue
        path = write_image(tmp_path / name[-3:] / name, noise(32, 32, 3))
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ProbeError, match=rf"{name}.*cannot be decoded"):
            ProbeSet.from_folder(path.parent)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    with pytest.raises(ProbeError, match=r"fake\.png.*cannot be decoded"):
        ProbeSet.from_folder(tmp_path)


def test_postscript_under_another_name_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ProbeError, match="UnidentifiedImageError"):
        ProbeSet.from_folder(tmp_path)


@pytest.mark.parametrize("action", ["ignore", "default", "error"])
def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    write_image(tmp_path / "a.png", np.zeros((30, 50, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 1500 pixels: Pillow only warns below 2000
    with warnings.catch_warnings(record=action == "default"):
        warnings.simplefilter(action)
        with pytest.raises(ProbeError, match=r"a\.png.*DecompressionBomb(Error|Warning): "):
            ProbeSet.from_folder(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ProbeError, match=r"a\.png.*DecompressionBombError"):
        ProbeSet.from_folder(tmp_path)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    os.truncate(tmp_path / "a.png", 1 << 40)
    with pytest.raises(ProbeError, match="must be at most 1,073,741,824 bytes, got 1,099,511,627,776"):
        ProbeSet.from_folder(tmp_path)


def test_links(tmp_path: Path) -> None:
    outside = write_image(tmp_path / "outside" / "secret.png", noise(2, 2, 3))
    root = tmp_path / "root"
    write_image(root / "a.png", noise(2, 2, 3))
    (root / "b.png").symlink_to(root / "a.png")
    probes = ProbeSet.from_folder(root)
    assert [entry["name"] for entry in probes.provenance["source"]["images"]] == ["a.png", "b.png"]
    assert probes.provenance["source"]["ignored"] == {}
    (root / "elsewhere").symlink_to(outside.parent, target_is_directory=True)
    with pytest.raises(ProbeError, match=r"elsewhere' must lie in .*, got a link to .*outside"):
        ProbeSet.from_folder(root)
    (root / "elsewhere").unlink()
    (root / "c.png").symlink_to(outside)
    with pytest.raises(ProbeError, match=r"c\.png' must lie in the folder, got a link to .*secret\.png"):
        ProbeSet.from_folder(root)
    for target in ("nowhere.png", "c.png"):  # broken, and a loop
        (root / "c.png").unlink()
        (root / "c.png").symlink_to(target)
        with pytest.raises(ProbeError, match=r"cannot read .*c\.png"):
            ProbeSet.from_folder(root)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="must hold at least one image file, got none"):
        ProbeSet.from_folder(tmp_path)
    with pytest.raises(ProbeError, match="must be an existing folder"):
        ProbeSet.from_folder(tmp_path / "none")
    with pytest.raises(ProbeError, match="must be an existing folder"):
        ProbeSet.from_folder(write_image(tmp_path / "a.png", noise(2, 2, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit": "zoom"}, "fit must be one of crop, stretch, pad, got 'zoom'"),
        ({"resample": "best"}, "resample must be one of nearest"),
        ({"labels": "file"}, "labels must be one of none, folder"),
        ({"limit": 0}, "limit must be an integer of at least 1, got 0"),
        ({"limit": "3"}, "limit must be an integer of at least 1, got '3'"),
        ({"limit": 2.5}, "limit must be an integer of at least 1, got 2.5"),
        ({"limit": 3, "seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"labels": "folder", "per_class": 1.0}, "per_class must be an integer of at least 1, got 1.0"),
        ({"size": True}, "size must be one or two integers .* got True"),
        ({"size": 2.5}, "size must be"),
        ({"size": "16"}, "size must be"),
        ({"size": 0}, "size must be"),
        ({"size": (3, 4, 5)}, "size must be"),
        ({"size": (2.5, 3)}, "size must be"),
    ],
)
def test_folder_arguments(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    write_image(tmp_path / "a.png", noise(2, 2, 3))
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_folder(tmp_path, **arguments)


def test_folder_takes_numpys_integers(tmp_path: Path) -> None:
    for seed in range(3):
        write_image(tmp_path / f"{seed}.png", noise(4, 4, 3, seed=seed))
    for size in (np.int64(2), (np.int16(2), 2)):
        probes = ProbeSet.from_folder(tmp_path, size=size, limit=np.int64(2), seed=np.int64(1))  # type: ignore[arg-type]
        expected = ProbeSet.from_folder(tmp_path, size=2, limit=2, seed=1)
        assert probes.provenance == expected.provenance
        np.testing.assert_array_equal(probes.images, expected.images)


def test_damaged_images_never_raise_anything_else(tmp_path: Path) -> None:
    generator = random.Random(0)
    for ending in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "ico", "tga", "pcx", "sgi", "qoi"):
        path = tmp_path / ending / f"a.{ending}"
        try:
            write_image(path, noise(24, 24, 3))
        except (OSError, KeyError, ValueError):
            continue  # this Pillow does not write the format
        good = path.read_bytes()
        for _ in range(25):
            bad = bytearray(good)
            for _ in range(generator.randint(1, 8)):
                bad[generator.randrange(min(len(bad), 200))] = generator.randrange(256)
            path.write_bytes(bad)
            with contextlib.suppress(ProbeError):
                assert ProbeSet.from_folder(path.parent, size=8).images.shape == (1, 8, 8, 3)
