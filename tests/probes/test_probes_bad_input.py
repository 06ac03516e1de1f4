"""Bad images in a folder: an error that names the file, or, with skip_bad, a line in the provenance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_what_is_read_although_it_is_not_8_bit_rgb(tmp_path: Path) -> None:
    """CMYK, 16-bit, animated and EXIF-turned JPEG and GIF; the other modes are in test_probes_folder."""
    grey = np.full((8, 16), 90, np.uint8)
    inks = np.full((8, 16, 4), [0, 0, 0, 100], np.uint8)
    Image.frombytes("CMYK", (16, 8), inks.tobytes()).save(tmp_path / "0_cmyk.jpg", quality=100)
    Image.fromarray(grey.astype(np.uint16) * 256 + 200).save(tmp_path / "1_sixteen.png")
    first, second = Image.fromarray(grey), Image.fromarray(255 - grey)
    first.save(tmp_path / "2_animated.gif", save_all=True, append_images=[second], duration=50)
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown turned by 90° against the clock
    half = np.zeros((16, 8), np.uint8)
    half[:, 4:] = 90  # right half; turned, the upper half
    Image.fromarray(half).save(tmp_path / "3_turned.jpg", quality=100, exif=exif)
    images = ProbeSet.from_folder(tmp_path).images
    assert images.shape == (4, 8, 16, 3)
    assert np.abs(images[0].astype(int) - 155).max() <= 1  # 255 − black ink
    assert (images[1] == 90).all()  # the high byte
    assert (images[2] == 90).all()  # the first frame
    assert np.abs(images[3, :4].astype(int) - 90).max() <= 2
    assert images[3, 4:].max() <= 2


def spoil(root: Path) -> dict[str, str]:
    """One bad file of each kind, and words of what is said about it."""
    good = (root / "good.png").read_bytes()
    (root / "a_empty.png").touch()
    (root / "b_text.png").write_text("no image at all")
    (root / "c_truncated.png").write_bytes(good[:-40])
    Image.fromarray(np.full((12, 12), 0.5, np.float32)).save(root / "d_float.tif")
    Image.fromarray(noise(60, 60, 3)).save(root / "e_bomb.png")
    (root / "f_huge.png").touch()
    os.truncate(root / "f_huge.png", 1 << 40)
    (root / "g_broken.png").symlink_to("nowhere.png")
    return {
        "a_empty.png": "cannot be decoded: UnidentifiedImageError",
        "b_text.png": "cannot be decoded: UnidentifiedImageError",
        "c_truncated.png": "cannot be decoded: ",
        "d_float.tif": "samples must be 8 or 16 bits, got floats",
        "e_bomb.png": "DecompressionBombError",
        "f_huge.png": "must be at most 1,073,741,824 bytes",
        "g_broken.png": "cannot read",
    }


def test_each_bad_image_is_named_or_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(noise(12, 12, 3)).save(root / "good.png")
    bad = spoil(root)
    probes = ProbeSet.from_folder(root, skip_bad=True)
    np.testing.assert_array_equal(probes.images[0], noise(12, 12, 3))
    skipped = probes.provenance["source"]["skipped"]
    assert [entry["name"] for entry in skipped] == list(bad)
    for entry in skipped:
        assert bad[entry["name"]] in entry["reason"]
        assert str(tmp_path) not in entry["reason"]
    for name, words in bad.items():
        lonely = tmp_path / name.replace(".", "_")
        lonely.mkdir()
        os.rename(root / name, lonely / name)
        with pytest.raises(ProbeError) as caught:
            ProbeSet.from_folder(lonely)
        assert name in str(caught.value)
        assert words in str(caught.value)
        with pytest.raises(ProbeError, match="at least one image must be readable, got none of 1"):
            ProbeSet.from_folder(lonely, skip_bad=True)
    assert ProbeSet.from_folder(root, skip_bad=True).provenance["source"]["skipped"] == []
    assert "skipped" not in ProbeSet.from_folder(root).provenance["source"]


@pytest.mark.parametrize(
    ("count", "bad"), [(300, "00277.bmp"), pytest.param(10_000, "07777.bmp", marks=pytest.mark.slow)]
)
def test_one_bad_file_among_many(tmp_path: Path, count: int, bad: str) -> None:
    Image.fromarray(noise(3, 2, 3)).save(tmp_path / "00000.bmp")
    for number in range(1, count):
        os.link(tmp_path / "00000.bmp", tmp_path / f"{number:05d}.bmp")
    (tmp_path / bad).unlink()
    (tmp_path / bad).write_bytes((tmp_path / "00000.bmp").read_bytes()[:-9])
    with pytest.raises(ProbeError, match=f"{bad}' cannot be decoded"):
        ProbeSet.from_folder(tmp_path)
    probes = ProbeSet.from_folder(tmp_path, skip_bad=True)
    assert len(probes) == count - 1
    (skipped,) = probes.provenance["source"]["skipped"]
    assert skipped["name"] == bad
    assert skipped["reason"].startswith(f"image '{bad}' cannot be decoded: ")
    assert bad not in {entry["name"] for entry in probes.provenance["source"]["images"]}


def test_committed_draw_passes_over_what_cannot_be_opened(tmp_path: Path) -> None:
    for number in range(5):
        Image.fromarray(noise(4, 4, 3, seed=number)).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").symlink_to("nowhere.png")
    with pytest.raises(ProbeError, match=r"cannot read .*5\.png"):
        ProbeSet.from_folder(tmp_path, limit=2, commit_seed="s")
    probes = ProbeSet.from_folder(tmp_path, limit=2, commit_seed="s", skip_bad=True)
    assert (len(probes), probes.provenance["selection"][0]["of"]) == (2, 5)
