"""DALI's CPU pipelines: Pillow's pixels where we say so, shards, names of bad files, no copies."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from sac_fast.errors import ProbeError
from sac_fast.probes import DaliLoader, ProbeSet, load_dali, verify_probes
from sac_fast.probes.dali import missing_dali

pytestmark = pytest.mark.skipif(missing_dali() is not None, reason=str(missing_dali()))

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path: Path, pixels: Array, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def by_pillow(path: Path) -> Array:
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten images of one size, of different formats."""
    for i in range(10):
        write(tmp_path / "images" / "ab"[i % 2] / f"{i}.{('png', 'jpg', 'bmp')[i % 3]}", noise(24, 20, 3, seed=i))
    return tmp_path / "images"


def test_decoders_give_pillows_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    cases: dict[str, tuple[Array, dict[str, Any]]] = {
        "a.jpg": (noise(40, 60, 3), {"quality": 30}),
        "b.jpg": (noise(33, 17, 3), {"subsampling": 0}),
        "c.jpg": (noise(17, 33, 3), {"progressive": True}),
        "d.jpg": (noise(40, 60), {}),
        "e.jpg": (noise(40, 60, 3), {"exif": exif}),
        "f.png": (noise(40, 60, 3), {"exif": exif}),
        "g.png": (noise(40, 60), {}),
        "h.bmp": (noise(40, 60, 3), {}),
        "i.tif": (noise(40, 60, 3), {}),
        "j.webp": (noise(40, 60, 3), {"lossless": True}),
        "k.ppm": (noise(1, 1, 3), {}),
    }
    for name, (pixels, options) in cases.items():
        try:
            path = write(tmp_path / name, pixels, **options)
        except (KeyError, OSError, ValueError):
            continue  # this Pillow does not write the format
        expected = by_pillow(path)
        (batch,) = DaliLoader(_only(tmp_path, name), size=expected.shape[:2])
        np.testing.assert_array_equal(batch.images[0].numpy(), expected, err_msg=name)


def _only(folder: Path, name: str) -> Path:
    listed = folder / "one.txt"
    listed.write_text(name + "\n")
    return listed


def test_resize_is_recorded_and_near_pillows(images: Path) -> None:
    y, x = np.mgrid[:60, :90]
    smooth = np.stack([128 + 90 * np.sin(x / 17), 128 + 90 * np.cos(y / 13), x + y], 2).astype(np.uint8)
    path = write(images.parent / "smooth" / "a.png", smooth)
    for fit in ("crop", "stretch"):
        ours = load_dali(path.parent, size=(20, 20), fit=fit)
        pillows = ProbeSet.from_folder(path.parent, size=(20, 20), fit=fit)
        assert np.abs(ours.images.astype(int) - pillows.images).max() <= 6
    padded = load_dali(path.parent, size=(30, 30), fit="pad").images[0]
    assert not padded[:5].any()
    assert not padded[25:].any()
    assert padded[5:25].any(2).all()
    assert ours.provenance["resize"] == {"size": [20, 20], "fit": "stretch", "resample": "bilinear", "engine": "dali"}
    assert ours.provenance["source"]["decoder"]["engine"] == "dali"
    assert ours.provenance["source"]["decoder"]["exact"] is True


def test_folder_gives_what_pillow_gives(images: Path) -> None:
    ours = load_dali(images, size=(24, 20), labels="folder", batch_size=3)
    pillows = ProbeSet.from_folder(images, labels="folder")
    np.testing.assert_array_equal(ours.images, pillows.images)
    assert ours.labels is not None
    assert pillows.labels is not None
    assert ours.labels.tolist() == pillows.labels.tolist()
    assert ours.provenance["source"]["images"] == pillows.provenance["source"]["images"]
    assert ours.provenance["source"]["classes"] == ["a", "b"]
    assert load_dali(images, size=(24, 20), limit=3).provenance["source"]["drawn"]["of"] == 10


def test_pipeline_compresses_like_pillow(images: Path) -> None:
    made = torch.cat([batch.images for batch in DaliLoader(images, size=(24, 20), quality=18, batch_size=4)])
    expected = ProbeSet.from_folder(images).jpeg(quality=18, engine="pillow").images
    np.testing.assert_array_equal(made.numpy(), expected)


def test_batches_are_dalis_own_memory_and_stay_as_they_are(images: Path) -> None:
    loader = DaliLoader(images, size=(24, 20), batch_size=2, prefetch=1)
    assert len(loader) == 5
    batches = list(loader)
    copies = [by_pillow(images / name) for batch in batches for name in batch.names]
    assert all(batch.images.dtype == torch.uint8 for batch in batches)
    np.testing.assert_array_equal(torch.cat([batch.images for batch in batches]).numpy(), copies)
    assert len({batch.images.data_ptr() for batch in batches}) == 5


def test_shards_are_disjoint_and_whole(images: Path) -> None:
    names = [
        [name for batch in DaliLoader(images, size=8, rank=rank, world_size=3) for name in batch.names]
        for rank in range(3)
    ]
    assert [len(shard) for shard in names] == [4, 3, 3]
    assert sorted(name for shard in names for name in shard) == sorted(
        path.relative_to(images).as_posix() for path in images.rglob("*.*")
    )
    made = load_dali(images, size=8, rank=2, world_size=3)
    assert made.provenance["source"]["drawn"] == {"of": 10, "in_shard": 3, "rank": 2, "world_size": 3, "limit": None}
    with pytest.raises(ProbeError, match="source must hold an image for each of 11 ranks, got 10"):
        DaliLoader(images, size=8, rank=10, world_size=11)


def test_tars_and_lists(images: Path) -> None:
    files = sorted(path for path in images.rglob("*.*"))
    with tarfile.open(images.parent / "all.tar", "w") as archive:
        for number, path in enumerate(files):
            archive.add(path, f"{number}{path.suffix}")
            label = tarfile.TarInfo(f"{number}.cls")
            label.size = 1
            archive.addfile(label, io.BytesIO(b"%d" % number))
    probes = load_dali(images.parent / "all.tar", size=(24, 20))
    np.testing.assert_array_equal(probes.images, [by_pillow(path) for path in files])
    assert probes.labels is not None
    assert probes.labels.tolist() == list(range(10))
    assert verify_probes(probes, images.parent).equal
    (images / "list.txt").write_text("".join(f"{path.relative_to(images)} 7\n" for path in files[:3]))
    probes = load_dali(images / "list.txt", size=(24, 20))
    assert probes.labels is not None
    assert probes.labels.tolist() == [7, 7, 7]
    assert verify_probes(probes, images).equal


def spoil(images: Path) -> dict[str, str]:
    """One bad file of each kind, and a word of what is said about it."""
    jpeg = (images / "b/1.jpg").read_bytes()
    (images / "a/0_empty.png").touch()
    (images / "a/1_text.jpg").write_text("no image")
    (images / "a/2_truncated.jpg").write_bytes(jpeg[:-300])
    write(images / "a/3_sixteen.png", noise(24, 20).astype(np.uint16))
    Image.frombytes("CMYK", (20, 24), noise(24, 20, 4).tobytes()).save(images / "a/4_cmyk.jpg")
    frames = [Image.fromarray(noise(24, 20, 3, seed=s)) for s in (0, 1)]
    frames[0].save(images / "a/5_animated.png", save_all=True, append_images=frames[1:])
    write(images / "a/6_alpha.png", noise(24, 20, 4))
    os.symlink("nowhere.png", images / "a/7_broken.png")
    return {
        "a/0_empty.png": "cannot be decoded",
        "a/1_text.jpg": "cannot be decoded",
        "a/2_truncated.jpg": "cannot be decoded: DALI:",
        "a/3_sixteen.png": "must be one frame of plain 8-bit grey or RGB for DALI",
        "a/4_cmyk.jpg": "got 1 of mode CMYK; the Pillow loader takes it",
        "a/5_animated.png": "got 2 of mode RGB",
        "a/6_alpha.png": "got 1 of mode RGBA",
        "a/7_broken.png": "cannot read",
    }


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_bad_images_are_named(images: Path, batch_size: int) -> None:
    expected = ProbeSet.from_folder(images)
    bad = spoil(images)
    probes = load_dali(images, size=(24, 20), skip_bad=True, batch_size=batch_size)
    np.testing.assert_array_equal(probes.images, expected.images)
    skipped = {entry["name"]: entry["reason"] for entry in probes.provenance["source"]["skipped"]}
    assert set(skipped) == set(bad)
    for name, words in bad.items():
        assert words in skipped[name]
        assert str(images) not in skipped[name]
        with pytest.raises(ProbeError, match="image '") as caught:
            list(DaliLoader(_only(images, name), size=8))
        assert name in str(caught.value)
    with pytest.raises(ProbeError, match=r"at least one image must be readable, got none of 1"):
        load_dali(_only(images, "a/1_text.jpg"), size=8, skip_bad=True)


def test_decompression_bomb(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(ProbeError, match=r"image 'a/0\.png' cannot be decoded: DecompressionBombWarning"):
        load_dali(images, size=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "melt"}, "fit must be one of crop, stretch, pad for DALI, got 'melt'"),
        ({"resample": "box"}, "resample must be one of nearest, bilinear, bicubic, lanczos for DALI, got 'box'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, r"rank must be in 0\.\.1, got 2"),
        ({"quality": 101}, "quality must be an integer from 1 to 100, got 101"),
    ],
)
def test_loader_arguments(images: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        DaliLoader(images, size=8, **options)
    with pytest.raises(ProbeError, match=r"quality must be given to ProbeSet\.jpeg"):
        load_dali(images, size=8, quality=5)
