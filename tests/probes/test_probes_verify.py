"""A probe set is remade from its provenance, or it is said which pixels are not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image, features

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet, balanced, committed, corrupt, cutmix, distinct, mixture, verify_probes
from sac_fast.probes.corruptions import missing_corruptions

PUBLISHED = ["published before the suspect was known must be"]
Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for i in range(12):
        path = tmp_path / "images" / "abc"[i % 3] / f"{i:02d}.{('png', 'jpg')[i % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(40 + i, 50 - i, 3, seed=i)).save(path)
    return tmp_path / "images"


def kinds(images: Path) -> dict[str, ProbeSet]:
    base = ProbeSet.from_folder(images, size=(32, 36), labels="folder")
    two = base.jpeg(severity=[1, 4], engine="pillow")
    made = {
        "normal": base,
        "padded": ProbeSet.from_folder(images, size=20, fit="pad", resample="lanczos").jpeg(quality=9),
        "jpeg": base.jpeg(severity=3),
        "4:4:4": base.jpeg(quality=80, subsampling="4:4:4", engine="pillow").transpose(),
        "qualities": two,
        "subset": two.subset([17, 3, 3]),
        "cutmix": cutmix(base.transpose(), seed=4).jpeg(quality=50),
        "cutmix of qualities": cutmix(two.subset([1, 20, 13, 7]), seed=2),
        "cutmix twice": cutmix(cutmix(base, seed=1), seed=2).subset([2, 9]),
        "balanced": balanced(base, 2, seed=1).jpeg(severity=1),
        "distinct": distinct(base),
        "drawn": ProbeSet.from_folder(images, size=16, limit=5, seed=3),
        "committed": ProbeSet.from_folder(images, size=16, limit=5, commit_seed="s"),
        "committed by class": ProbeSet.from_folder(images, size=16, labels="folder", per_class=2, commit_seed="s"),
        "committed set": committed(base, 4, "s").jpeg(severity=[1, 2]),
    }
    made["mixture"] = mixture([made["jpeg"], made["cutmix twice"], two]).subset([13, 0, 20]).jpeg(quality=20)
    made["mixture, cut"] = cutmix(mixture([base, made["cutmix twice"]]), seed=1)
    return made


def test_every_kind_is_remade(images: Path, tmp_path: Path) -> None:
    for name, probes in kinds(images).items():
        probes.save(tmp_path / "p.safetensors")
        result = verify_probes(ProbeSet.load(tmp_path / "p.safetensors"), images)
        assert result.equal, (name, result)
        assert len(result.images) == len(probes)
        assert result.selection == [], name
        assert [note.partition(":")[0] for note in result.notes] == PUBLISHED * ("committed" in name), name


@pytest.mark.skipif(missing_corruptions() is not None, reason=str(missing_corruptions()))
@pytest.mark.filterwarnings("ignore")  # what the package's dependencies warn about
def test_corruptions_are_remade(images: Path) -> None:
    probes = corrupt(ProbeSet.from_folder(images, size=32), "gaussian_noise", severity=2, seed=3)
    assert verify_probes(probes.subset([4, 1]), images).equal


def test_one_changed_value_is_found(images: Path) -> None:
    probes = ProbeSet.from_folder(images, size=16).jpeg(severity=2)
    pixels = probes.images.copy()
    pixels[3, 5, 6, 1] ^= 4
    result = verify_probes(ProbeSet(pixels, None, probes.provenance), images)
    assert not result.equal
    assert [check.equal for check in result.images] == [i != 3 for i in range(12)]
    assert result.images[3].reason == "0.13% of the values differ, by at most 4"  # 1 of 768
    assert result.images[0].reason is None


def test_missing_changed_and_spoilt_sources_are_told_apart(images: Path) -> None:
    probes = cutmix(ProbeSet.from_folder(images, size=16), seed=1)
    names = [entry["name"] for entry in probes.provenance["source"]["images"]]
    (images / names[0]).unlink()
    Image.fromarray(noise(9, 9, 3)).save(images / names[1])
    result = verify_probes(probes, images)
    assert "cannot read" in str(result.images[0].reason)
    assert "another file: sha256:" in str(result.images[1].reason)
    partners = [own["partner"]["name"] for own in probes.provenance["augmentation"][0]["each"]]
    for check, partner in list(zip(result.images, partners, strict=True))[2:]:
        assert check.equal is (partner not in names[:2])
        assert check.equal or str(check.reason).startswith("its partner: ")
    assert 0 < sum(check.equal for check in result.images) < 11


def test_wrong_provenance_is_found(images: Path) -> None:
    probes = ProbeSet.from_folder(images, size=16).jpeg(severity=2, engine="pillow")
    other = ProbeSet.from_folder(images, size=16).jpeg(severity=3, engine="pillow")
    assert not any(
        check.equal for check in verify_probes(ProbeSet(other.images, None, probes.provenance), images).images
    )
    result = verify_probes(ProbeSet(noise(12, 8, 32, 3), None, probes.provenance), images)
    assert result.images[0].reason == "size 16×16, not 8×32"
    with pytest.raises(ProbeError, match="resize must be to the probes' 64 pixels, got 16×16"):
        verify_probes(ProbeSet(noise(12, 8, 8, 3), None, probes.provenance), images)


def test_draws_that_are_not_as_committed(images: Path) -> None:
    drawn = ProbeSet.from_folder(images, size=16, limit=5, commit_seed="s")
    (line,) = verify_probes(drawn.subset([0, 1, 2, 3]), images).selection
    assert line == "1 images of the committed draw of 5 are left out, by subset: the commitment does not cover that"
    (how,) = drawn.provenance["selection"]

    def claimed(probes: ProbeSet, **changed: Any) -> ProbeSet:
        return ProbeSet(probes.images, None, {**probes.provenance, "selection": [{**how, **changed}]})

    picked = ProbeSet.from_folder(images, size=16)
    assert verify_probes(claimed(picked), images).selection == ["7 images are not of the committed draw of 5"]
    (line,) = verify_probes(claimed(drawn, commitment="sha256:" + "0" * 64), images).selection
    assert line.startswith("the seed's commitment is sha256:")
    assert len(verify_probes(claimed(drawn, seed="t"), images).selection) == 3
    later = drawn.subset([1, 2], how={"kind": "distinct"})
    result = verify_probes(later, images)
    assert not result.equal
    (line,) = result.selection
    assert line == "3 images of the committed draw of 5 are left out, by distinct: the commitment does not cover that"
    (images / "a/more.png").write_bytes((images / "a/00.png").read_bytes() + b"\0")
    (line,) = verify_probes(drawn, images).selection
    assert line.startswith("the images' dataset hash is sha256:")


def test_committed_draws_of_less_than_the_whole_are_findings(images: Path, tmp_path: Path) -> None:
    """However images were left out before the draw, it is known that the draw was not from all of them."""
    file = tmp_path / "p.h5"
    with h5py.File(file, "w") as handle:
        handle["data"] = noise(12, 3, 20, 20)
    base = ProbeSet.from_folder(images, size=16)
    first = ProbeSet.from_folder(images, size=16, limit=6)
    few = ProbeSet.from_hdf5(file, limit=6)
    assert few.provenance["source"]["drawn"] == {"of": 12, "seed": None}
    assert base.subset(range(6)).provenance["selection"] == [{"kind": "subset", "of": 12}]
    parts: list[tuple[ProbeSet, Path]] = [
        (few, file),
        (few.jpeg(severity=[1, 5]), file),
        (base.subset(range(6)), images),
        (mixture([first, first.jpeg(quality=50)]), images),
        (mixture([base, base.subset([3])]), images),
        (mixture([few, few.transpose()]), file),
    ]
    for probes, place in parts:
        committed(probes, 3, "s").save(tmp_path / "c.safetensors")
        result = verify_probes(ProbeSet.load(tmp_path / "c.safetensors"), place)
        assert all(image.equal for image in result.images)
        assert not result.equal
        (line,) = result.selection
        assert line.startswith("the committed draw was not from a whole folder or HDF5 file: which images it was")
    all_of_them = ProbeSet.from_hdf5(file, limit=12)
    wholes: list[tuple[ProbeSet, Path]] = [
        (all_of_them, file),
        (all_of_them.subset([*range(12)][::-1]), file),
        (base.jpeg(severity=[1, 5]), images),
        (mixture([base, base.jpeg(quality=50)]), images),
        (mixture([all_of_them, all_of_them.transpose()]), file),
    ]
    for probes, place in wholes:
        drawn = committed(probes, 3, "s")
        result = verify_probes(drawn, place)
        assert (result.equal, len(result.notes)) == (True, 1)
        # drawn again indeed: another claim is found
        how = {**drawn.provenance["selection"][0], "dataset_hash": "sha256:" + "0" * 64}
        claimed = ProbeSet(drawn.images, None, {**drawn.provenance, "selection": [how]})
        assert not verify_probes(claimed, place).equal


def test_hdf5_is_remade(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["data"] = noise(9, 3, 20, 20) / np.float32(255)
    probes = ProbeSet.from_hdf5(tmp_path / "p.h5").jpeg(severity=2).subset([8, 2])
    assert verify_probes(probes, tmp_path / "p.h5").equal
    assert verify_probes(committed(ProbeSet.from_hdf5(tmp_path / "p.h5"), 3, "s"), tmp_path / "p.h5").equal
    with h5py.File(tmp_path / "q.h5", "w") as file:
        file["data"] = noise(9, 3, 20, 20)
    assert "another file" in str(verify_probes(probes, tmp_path / "q.h5").images[0].reason)


def test_what_cannot_be_remade(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ProbeError, match="source must be a folder, a file list, tars or HDF5 to be remade, got 'arrays'"
    ):
        verify_probes(ProbeSet.from_arrays(noise(2, 8, 8, 3)), images)
    probes = ProbeSet.from_folder(images, size=16).jpeg(severity=2, engine="pillow")
    hostile = [
        ({"source": {"type": "folder"}}, "provenance must name the source of each of 12 images, got 0"),
        ({"augmentation": [{"kind": "jpeg"}]}, "provenance must be complete"),
        ({"resize": {"size": [60000, 60000]}}, "resize must be to the probes' 256 pixels, got 60000×60000"),
        ({"resize": {"size": 16}}, "provenance must be complete"),
        ({"augmentation": [{"kind": "melt"}]}, "augmentation must be jpeg, transpose, cutmix or corruption"),
    ]
    for changed, message in hostile:
        with pytest.raises(ProbeError, match=message):
            verify_probes(ProbeSet(probes.images, None, {**probes.provenance, **changed}), images)
    entries = [{"name": "../../etc/passwd", "sha256": ""}] * 12
    outside = {**probes.provenance, "source": {"type": "folder", "images": entries}}
    result = verify_probes(ProbeSet(probes.images, None, outside), images)
    assert "image must lie in" in str(result.images[0].reason)
    (images / "loop.png").symlink_to("loop.png")
    looped = {**probes.provenance, "source": {"type": "folder", "images": [{"name": "loop.png", "sha256": ""}] * 12}}
    result = verify_probes(ProbeSet(probes.images, None, looped), images)
    assert "Too many levels of symbolic links" in str(result.images[0].reason)
    (images / "loop.png").unlink()
    monkeypatch.setattr(features, "check_feature", lambda name: False)
    with pytest.raises(ProbeError, match="Pillow must be built on libjpeg-turbo to be compared with"):
        verify_probes(probes, images)
    inexact = ProbeSet.from_folder(images, size=16).jpeg(severity=2, engine="pillow")
    monkeypatch.undo()
    with pytest.raises(ProbeError, match="compressed by a Pillow that was not on libjpeg-turbo"):
        verify_probes(inexact, images)


def test_other_versions_are_noted(images: Path) -> None:
    probes = ProbeSet.from_folder(images, size=16)
    versions = dict(probes.provenance["versions"])

    def notes(**changed: str) -> list[str]:
        provenance = {**probes.provenance, "versions": versions | changed}
        return verify_probes(ProbeSet(probes.images, None, provenance), images).notes

    (note,) = notes(pillow="1.1.7")
    assert note.startswith("made with pillow 1.1.7, remade with ")
    del versions["pillow"]
    assert notes() == []
    versions = {"pillow": probes.provenance["versions"]["pillow"]}
    simd = notes(**({} if "pillow-simd" in probes.provenance["versions"] else {"pillow-simd": "9.5.0"}))
    assert "Pillow and pillow-simd round the resize differently: single values differ by 1" in simd


def test_pixels_are_those_of_pillow_called_by_hand(images: Path) -> None:
    """The provenance, read by eye: crop to 16×16, JPEG at quality 15, 4:2:0."""
    probes = ProbeSet.from_folder(images, size=(16, 16), fit="stretch").jpeg(severity=3)
    entry = probes.provenance["source"]["images"][5]
    image = Image.open(images / entry["name"]).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=15, subsampling="4:2:0")
    np.testing.assert_array_equal(probes.images[5], np.asarray(Image.open(buffer)))
