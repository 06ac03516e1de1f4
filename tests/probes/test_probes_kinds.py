"""CutMix, corruptions and mixtures."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import ProbeError
from sac_fast.probes import CORRUPTIONS, ProbeSet, corrupt, cutmix, mixture
from sac_fast.probes.corruptions import missing_corruptions

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def flat(count: int, height: int, width: int) -> Array:
    """Image i is i everywhere, so that every pixel says which image it is from."""
    return np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros((count, height, width, 3), np.uint8)


# --- CutMix ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 30), (112, 112), (33, 17), (5, 5)])
def test_cutmix_pastes_one_patch_of_one_other_image_off_the_centre(size: tuple[int, int]) -> None:
    height, width = size
    probes = ProbeSet.from_arrays(flat(30, *size), np.arange(30))
    made = cutmix(probes, seed=3)
    patch = (max(1, round(0.2 * height)), max(1, round(0.2 * width)))
    (step,) = made.provenance["augmentation"]
    assert (step["kind"], step["ratio"], step["seed"], made.provenance["kind"]) == ("cutmix", 0.2, 3, "cutmix")
    for index, (image, own) in enumerate(zip(made.images, step["each"], strict=True)):
        changed = image[..., 0] != index
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert (len(rows), len(columns), changed.sum()) == (*patch, patch[0] * patch[1])
        assert own["box"] == [rows[0], columns[0], *patch]
        (partner,) = np.unique(image[changed])
        assert own["partner"]["name"] == str(partner)
        inside = (
            (rows + 1 > height / 4) & (rows < 3 * height / 4),
            (columns + 1 > width / 4) & (columns < 3 * width / 4),
        )
        assert not (inside[0].any() and inside[1].any())  # the patch keeps off the central half
    assert made.labels is not None
    assert made.labels.tolist() == list(range(30))


def test_cutmix_is_seeded() -> None:
    probes = ProbeSet.from_arrays(noise(6, 20, 20, 3))
    np.testing.assert_array_equal(cutmix(probes, seed=1).images, cutmix(probes, seed=1).images)
    assert cutmix(probes, seed=1).content_hash != cutmix(probes, seed=2).content_hash
    boxes = {
        tuple(own["box"]) for s in range(20) for own in cutmix(probes, seed=s).provenance["augmentation"][0]["each"]
    }
    assert len(boxes) > 60


def test_cutmix_arguments() -> None:
    with pytest.raises(ProbeError, match="probes must be at least 2, each needs another to paste from, got 1"):
        cutmix(ProbeSet.from_arrays(noise(1, 9, 9, 3)))
    two = ProbeSet.from_arrays(noise(2, 20, 20, 3))
    with pytest.raises(ProbeError, match=r"ratio must leave a place outside of the centre \(0.5\) of 20×20, got 0.4"):
        cutmix(two, ratio=0.4)
    for wrong in ({"ratio": 0}, {"ratio": 1.0}, {"centre": 1.5}):
        with pytest.raises(ProbeError, match=r"ratio must be in \(0, 1\) and centre in 0\.\.1"):
            cutmix(two, **wrong)
    assert len(cutmix(two, ratio=0.4, centre=0.0)) == 2
    made = cutmix(two, seed=np.int64(1))  # type: ignore[arg-type]
    assert made.provenance["augmentation"][0]["seed"] == 1
    np.testing.assert_array_equal(made.images, cutmix(two, seed=1).images)
    with pytest.raises(ProbeError, match=r"seed must be an integer, got 1\.5"):
        cutmix(two, seed=1.5)  # type: ignore[arg-type]


# --- corruptions -----------------------------------------------------------------------------------------

needs_corruptions = pytest.mark.skipif(missing_corruptions() is not None, reason=str(missing_corruptions()))


@needs_corruptions
@pytest.mark.filterwarnings("ignore")  # what the package's dependencies warn about
@pytest.mark.parametrize(
    "name",
    # glass_blur is compiled by numba first, for several seconds
    [pytest.param(name, marks=pytest.mark.slow) if name == "glass_blur" else name for name in CORRUPTIONS],
)
def test_corruptions_are_seeded_and_leave_numpys_generator_alone(name: str) -> None:
    probes = ProbeSet.from_arrays(noise(2, 40, 32, 3) // 2 + 50, [1, 2])
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    made = corrupt(probes, name, severity=3, seed=7)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(corrupt(probes, name, severity=3, seed=7).images, made.images)
    assert made.images.shape == probes.images.shape
    assert not np.array_equal(made.images, probes.images)
    assert made.provenance["augmentation"][0]["versions"]["numpy"] == np.__version__


@needs_corruptions
@pytest.mark.filterwarnings("ignore")
def test_corruption_by_hand() -> None:
    blocks = noise(1, 8, 8, 3)
    probes = ProbeSet.from_arrays(blocks.repeat(4, 1).repeat(4, 2))
    # severity 5 scales to a quarter by means of 4×4 and back by copies: such blocks stay as they are
    np.testing.assert_array_equal(corrupt(probes, "pixelate", severity=5).images, probes.images)
    halved = corrupt(ProbeSet.from_arrays(noise(1, 32, 32, 3)), "pixelate", severity=5).images[0]
    np.testing.assert_array_equal(halved, halved[::4, ::4].repeat(4, 0).repeat(4, 1))
    with pytest.raises(ProbeError, match="images must be at least 32×32 to be corrupted, got 31×40"):
        corrupt(ProbeSet.from_arrays(noise(1, 31, 40, 3)), "fog", severity=1)


def test_corruption_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = ProbeSet.from_arrays(noise(1, 32, 32, 3))
    with pytest.raises(ProbeError, match=r"corruption must be one of gaussian_noise, .*, got 'rain'"):
        corrupt(probes, "rain", severity=1)
    with pytest.raises(ProbeError, match="severity must be one of 1, 2, 3, 4, 5, got 6"):
        corrupt(probes, "fog", severity=6)
    with pytest.raises(ProbeError, match=r"severity must be one of 1, 2, 3, 4, 5, got 2\.0"):
        corrupt(probes, "fog", severity=2.0)  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="seed must be an integer, got None"):
        corrupt(probes, "fog", severity=1, seed=None)  # type: ignore[arg-type]
    if importlib.util.find_spec("imagecorruptions") is None:
        with pytest.raises(ProbeError, match=r"pip install 'sac-fast\[corruptions\]'"):
            corrupt(probes, "fog", severity=1)


# --- mixtures --------------------------------------------------------------------------------------------


def test_mixture() -> None:
    a = ProbeSet.from_arrays(noise(2, 9, 8, 3), [1, 2], name="a")
    b = a.jpeg(quality=10, engine="pillow").subset([1])
    made = mixture([a, b])
    np.testing.assert_array_equal(made.images, np.concatenate([a.images, b.images]))
    assert made.labels is not None
    assert made.labels.tolist() == [1, 2, 2]
    source = made.provenance["source"]
    assert [(e["part"], e["index"], e["name"]) for e in source["images"]] == [(0, 0, "0"), (0, 1, "1"), (1, 0, "1")]
    assert [part["hash"] for part in source["parts"]] == [a.content_hash, b.content_hash]
    assert source["parts"][1]["provenance"] == b.provenance
    assert made.provenance["kind"] == "mixture"
    # a fingerprint says how its probes were made, without the lists of images
    summary = sac_fast.fingerprint(lambda x: x.flatten(1), cutmix(made)).provenance["probes"]
    assert summary["augmentation"][0]["kind"] == "cutmix"
    assert "each" not in summary["augmentation"][0]
    assert "images" not in summary["source"]
    assert "images" not in summary["source"]["parts"][1]["provenance"]["source"]
    with pytest.raises(ProbeError, match="parts must be at least 2 probe sets, got 1"):
        mixture([a])
    with pytest.raises(ProbeError, match="parts must have images of one size, got 9×8, 8×9"):
        mixture([a, a.transpose()])
    with pytest.raises(ProbeError, match="parts must all have labels or none, got 1 of 2 with labels"):
        mixture([a, ProbeSet.from_arrays(noise(2, 9, 8, 3))])
