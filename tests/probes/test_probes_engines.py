"""The JPEG engines: the same pixels where they say so, a clear error where they are not there."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet, compare_engines, jpeg_compress
from sac_fast.probes.compare import pixel_difference
from sac_fast.probes.engines import available_engines, compress, default_engine

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def waves(count: int, height: int, width: int) -> Array:
    y, x = np.mgrid[:height, :width]
    planes = [
        [128 + 100 * np.sin(x / (5 + i)), 128 + 90 * np.cos(y / (4 + i) + x / 9), (3 * x + y) % 256]
        for i in range(count)
    ]
    return np.array(planes).transpose(0, 2, 3, 1).astype(np.uint8)


def pillow_jpeg(pixels: Array, quality: int, subsampling: int = 2) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer))


def engine_or_skip(engine: str) -> str:
    reason = available_engines()[engine]
    if reason is not None:
        pytest.skip(reason)
    return engine


@pytest.mark.parametrize("engine", ["native", "dali"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (16, 16), (17, 33), (64, 47), (112, 112)])
def test_exact_engines_give_pillows_pixels(engine: str, size: tuple[int, int]) -> None:
    engine_or_skip(engine)
    images = np.concatenate([noise(3, *size, 3), waves(3, *size), np.full((1, *size, 3), 255, np.uint8)])
    qualities = [1, 7, 15, 18, 25, 75, 100]
    got, used = compress(images, qualities, "4:2:0", engine)
    expected = np.stack([pillow_jpeg(*pair) for pair in zip(images, qualities, strict=True)])
    np.testing.assert_array_equal(got, expected)
    assert (used["engine"], used["device"], used["exact"]) == (engine, "cpu", True)


def test_native_engine_has_every_subsampling() -> None:
    engine_or_skip("native")
    for name, number in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
        got, _ = compress(waves(1, 40, 30), 30, name, "native")
        np.testing.assert_array_equal(got[0], pillow_jpeg(waves(1, 40, 30)[0], 30, number))


def test_dali_engine_has_one_subsampling() -> None:
    engine_or_skip("dali")
    with pytest.raises(ProbeError, match=r"must be 4:2:0 for the engine dali, which has no other, got '4:4:4'"):
        compress(noise(1, 8, 8, 3), 30, "4:4:4", "dali")


def test_default_engine_is_exact_and_recorded() -> None:
    probes = ProbeSet.from_arrays(noise(3, 20, 20, 3))
    made = probes.jpeg(quality=30)
    (step,) = made.provenance["augmentation"]
    assert step["engine"] == default_engine()
    assert step["engine"] in ("native", "pillow")
    assert step["exact"] is bool(features.check_feature("libjpeg_turbo")) or step["engine"] == "native"
    np.testing.assert_array_equal(made.images, [pillow_jpeg(image, 30) for image in probes.images])


def test_several_qualities_at_once() -> None:
    probes = ProbeSet.from_arrays(noise(2, 12, 9, 3), [4, 5])
    made = probes.jpeg(severity=[1, 3], engine="pillow")
    expected = [pillow_jpeg(image, quality) for quality in (25, 15) for image in probes.images]
    np.testing.assert_array_equal(made.images, expected)
    assert made.labels is not None
    assert made.labels.tolist() == [4, 5, 4, 5]
    (step,) = made.provenance["augmentation"]
    assert step["quality"] == [25, 15]
    assert [own["quality"] for own in step["each"]] == [25, 25, 15, 15]
    assert [image["name"] for image in made.provenance["source"]["images"]] == ["0", "1", "0", "1"]
    some = made.subset([3, 0])
    assert [own["quality"] for own in some.provenance["augmentation"][0]["each"]] == [15, 25]
    np.testing.assert_array_equal(probes.jpeg(quality=[25, 15], engine="pillow").images, expected)
    np.testing.assert_array_equal(jpeg_compress(probes.images, [9, 90])[1], pillow_jpeg(probes.images[1], 90))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quality": []}, r"quality must be one value or several different ones, got \[\]"),
        ({"severity": [2, 2]}, r"severity must be one value or several different ones, got \[2, 2\]"),
        ({"severity": [2, 6]}, "severity must be one of"),
        ({"severity": [2], "quality": [9]}, "exactly one of quality and severity"),
        ({"quality": 9, "engine": "turbo"}, "engine must be one of native, pillow, dali, got 'turbo'"),
        ({"quality": 9, "device": "tpu9"}, "device must be \"cpu\" or a CUDA device, got 'tpu9'"),
        ({"quality": 9, "device": "meta"}, "device must be \"cpu\" or a CUDA device, got 'meta'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_arrays(noise(1, 8, 8, 3)).jpeg(**arguments)


def test_qualities_must_be_one_an_image() -> None:
    with pytest.raises(ProbeError, match="quality must be one integer or 2, one an image, got 3"):
        jpeg_compress(noise(2, 8, 8, 3), [1, 2, 3])


def test_transpose_exchanges_height_and_width() -> None:
    made = ProbeSet.from_arrays(noise(2, 4, 7, 3), [1, 0]).transpose()
    np.testing.assert_array_equal(made.images, noise(2, 4, 7, 3).swapaxes(1, 2))
    assert made.provenance["kind"] == "transpose"
    assert made.labels is not None
    assert made.labels.tolist() == [1, 0]


def test_missing_engines_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = ProbeSet.from_arrays(noise(1, 8, 8, 3))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("nvidia") else found(name))
    with pytest.raises(ProbeError, match=r"DALI is not installed: pip install 'sac-fast\[dali\]'"):
        probes.jpeg(quality=9, engine="dali")
    monkeypatch.setattr("sac_fast._backend.is_compiled", lambda: False)
    assert default_engine() == "pillow"
    with pytest.raises(ProbeError, match="engine 'native' must be compiled and is not; engine 'pillow' gives the same"):
        probes.jpeg(quality=9, engine="native")


# --- how far from Pillow ---------------------------------------------------------------------------------


def test_difference_by_hand() -> None:
    a = np.zeros((1, 2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = [3, 0, 0]
    b[0, 1, 1] = [0, 0, 1]
    # 2 of 12 values, 4 / 12, 3, 10 log10(65025 · 12 / 10)
    assert pixel_difference(a, b) == (pytest.approx(1 / 6), pytest.approx(1 / 3), 3, pytest.approx(48.9227, abs=1e-4))
    assert pixel_difference(a, a) == (0.0, 0.0, 0, None)


def test_compare_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = ProbeSet.from_arrays(waves(3, 32, 32))
    rows = {row.engine: row for row in compare_engines(probes, severity=2, distance=lambda a, b: 0.25)}
    assert set(rows) == {"native", "pillow", "dali"}
    assert (rows["pillow"].share, rows["pillow"].largest, rows["pillow"].psnr) == (0.0, 0, None)
    assert rows["pillow"].distance == 0.25
    for engine, reason in available_engines().items():
        assert rows[engine].unavailable == reason
        assert rows[engine].share == (0.0 if reason is None else None)


def test_pillow_on_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check_feature", lambda name: False)
    probes = ProbeSet.from_arrays(noise(1, 8, 8, 3))
    with pytest.raises(
        ProbeError, match="Pillow must be built on libjpeg-turbo to be compared with, got one on libjpeg"
    ):
        compare_engines(probes, severity=2)
    step = probes.jpeg(quality=20, engine="pillow").provenance["augmentation"][0]
    assert step["exact"] is False
    assert "libjpeg" in step["versions"]
