"""JPEG probes, subsets, content hash, save and load."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, features

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.io.container import save_container
from sac_fast.probes import JPEG_SEVERITY, ProbeSet, jpeg_compress

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


# --- JPEG ------------------------------------------------------------------------------------------------


def pillow_jpeg(pixels: Array, quality: int, subsampling: int) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (2, 18), (3, 15), (4, 10), (5, 7)])
def test_jpeg_severities_are_pillows_qualities(severity: int, quality: int) -> None:
    assert JPEG_SEVERITY[severity] == quality
    probes = ProbeSet.from_arrays(noise(3, 33, 17, 3), [5, 6, 7])
    compressed = probes.jpeg(severity=severity, engine="pillow")
    expected = np.stack([pillow_jpeg(image, quality, 2) for image in probes.images])  # 2: 4:2:0
    np.testing.assert_array_equal(compressed.images, expected)
    np.testing.assert_array_equal(probes.jpeg(quality=quality).images, expected)
    assert compressed.labels is not None
    assert compressed.labels.tolist() == [5, 6, 7]
    assert compressed.provenance["kind"] == "jpeg"
    (step,) = compressed.provenance["augmentation"]
    assert (step["quality"], step["severity"], step["subsampling"], step["engine"]) == (
        quality,
        severity,
        "4:2:0",
        "pillow",
    )
    assert step["of"] == probes.content_hash
    assert step["versions"]["pillow"] == PIL.__version__
    if features.check_feature("libjpeg_turbo"):
        assert step["versions"]["libjpeg-turbo"] == features.version_feature("libjpeg_turbo")
    assert compressed.provenance["source"] == probes.provenance["source"]
    assert probes.provenance["kind"] == "normal"


@pytest.mark.parametrize(("name", "number"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_jpeg_subsampling(name: str, number: int) -> None:
    pixels = noise(1, 16, 16, 3)
    np.testing.assert_array_equal(jpeg_compress(pixels, 50, name)[0], pillow_jpeg(pixels[0], 50, number))


def test_jpeg_takes_any_strides() -> None:
    pixels = noise(2, 20, 30, 3)
    view = pixels[::-1, ::2, ::-1]
    np.testing.assert_array_equal(jpeg_compress(view, 40), jpeg_compress(view.copy(), 40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of quality and severity, got quality=None and severity=None"),
        ({"quality": 10, "severity": 4}, "exactly one of quality and severity"),
        ({"quality": 0}, "quality must be an integer from 1 to 100, got 0"),
        ({"quality": 101}, "got 101"),
        ({"quality": 10.5}, "got 10.5"),
        ({"quality": True}, "got True"),
        ({"severity": 6}, r"severity must be one of \[1, 2, 3, 4, 5\], got 6"),
        ({"severity": True}, "severity must be one of"),
        ({"severity": 2.0}, r"severity must be one of .* got 2\.0"),
        ({"severity": {}}, r"severity must be one of .* got \{\}"),
        ({"severity": [1, 2.0]}, r"severity must be one of .* got 2\.0"),
        ({"quality": 50, "device": None}, 'device must be "cpu" or a CUDA device, got None'),
        ({"quality": 10, "subsampling": "4:1:1"}, "subsampling must be one of 4:4:4, 4:2:2, 4:2:0"),
    ],
)
def test_jpeg_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_arrays(noise(1, 8, 8, 3)).jpeg(**arguments)


def test_jpeg_takes_numpys_integers() -> None:
    probes = ProbeSet.from_arrays(noise(1, 8, 8, 3))
    for given, plain in ((np.int64(2), 2), ([np.int8(1), 3], [1, 3])):
        made = probes.jpeg(severity=given)  # type: ignore[arg-type]
        assert made.provenance["augmentation"][0]["severity"] == plain
        np.testing.assert_array_equal(made.images, probes.jpeg(severity=plain).images)  # type: ignore[arg-type]


def test_jpeg_images() -> None:
    with pytest.raises(ProbeError, match=r"images must be uint8 \(n, H, W, 3\), got float64"):
        jpeg_compress(np.zeros((1, 8, 8, 3)), 10)  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="cannot be JPEG"):
        jpeg_compress(np.zeros((1, 1, 70_000, 3), np.uint8), 10)


# --- subset, save, load ----------------------------------------------------------------------------------


def test_subset() -> None:
    probes = ProbeSet.from_arrays(noise(5, 4, 4, 3), np.arange(5) * 10)
    some = probes.subset([3, 1])
    np.testing.assert_array_equal(some.images, probes.images[[3, 1]])
    assert some.labels is not None
    assert some.labels.tolist() == [30, 10]
    assert [image["name"] for image in some.provenance["source"]["images"]] == ["3", "1"]
    assert len(probes.provenance["source"]["images"]) == 5
    for indices, message in (
        ([], "list of integers"),
        ([5], r"in 0\.\.4, got 5"),
        ([-1], r"got -1"),
        ([0.5], "float"),
        ([[1], [1, 2]], "indices must be an array of numbers"),
        (np.ma.array([1, 2], mask=[0, 1]), "indices must be a plain NumPy array, got a masked one"),
    ):
        with pytest.raises(ProbeError, match=message):
            probes.subset(indices)  # type: ignore[arg-type]


def test_content_hash_is_of_pixels_and_labels_only() -> None:
    pixels = noise(2, 4, 4, 3)
    stream = b'["images","uint8",[2,4,4,3]]\n' + pixels.tobytes()
    probes = ProbeSet.from_arrays(pixels, name="a")
    assert probes.content_hash == "sha256:" + hashlib.sha256(stream).hexdigest()
    assert ProbeSet.from_arrays(pixels.transpose(0, 3, 1, 2), name="b").content_hash == probes.content_hash
    stream += b'["labels","int64",[2]]\n' + np.array([7, 8], "<i8").tobytes()
    labelled = ProbeSet.from_arrays(pixels, [7, 8])
    assert labelled.content_hash == "sha256:" + hashlib.sha256(stream).hexdigest()


@pytest.mark.parametrize("labels", [None, [4, 5, 6]])
def test_save_and_load(tmp_path: Path, labels: list[int] | None) -> None:
    probes = ProbeSet.from_arrays(noise(3, 6, 5, 3), labels).jpeg(severity=2)
    path = tmp_path / "p.safetensors"
    probes.save(path)
    loaded = ProbeSet.load(path)
    np.testing.assert_array_equal(loaded.images, probes.images)
    assert (None if loaded.labels is None else loaded.labels.tolist()) == labels
    assert loaded.provenance == probes.provenance
    assert loaded.content_hash == probes.content_hash
    assert not loaded.images.flags.writeable
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"p\.safetensors' is damaged"):
        ProbeSet.load(path)


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({}, {"provenance": {}}),
        ({"images": noise(2, 4, 4, 3)}, {}),
        ({"images": noise(2, 4, 4, 3)}, {"provenance": []}),
        ({"images": noise(2, 4, 4, 3), "more": noise(1)}, {"provenance": {}}),
        ({"images": noise(2, 4, 4)}, {"provenance": {}}),
        ({"images": np.zeros((2, 4, 4, 3))}, {"provenance": {}}),
        ({"images": noise(2, 4, 4, 3), "labels": np.zeros(3, np.int64)}, {"provenance": {}}),
        ({"images": noise(2, 4, 4, 3)}, {"provenance": {}, "content_hash": "sha256:" + "1" * 64}),
    ],
)
def test_sealed_files_that_hold_no_probe_set(
    tmp_path: Path, arrays: dict[str, Array], metadata: dict[str, Any]
) -> None:
    save_container(tmp_path / "p", "probes", arrays, metadata)
    with pytest.raises(FileFormatError, match="must hold"):
        ProbeSet.load(tmp_path / "p")
