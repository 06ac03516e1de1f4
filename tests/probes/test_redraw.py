"""Committed draws that somebody has bent: what the commitment does not cover is found, whatever the pixels say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sac_fast.cli.main import app
from sac_fast.probes import ProbeSet, committed, mixture, verify_probes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02}.png")
    return tmp_path / "images"


def changed(probes: ProbeSet, pick: list[int] | None = None, **source: Any) -> ProbeSet:
    """The probes at these places, with a provenance that tells nothing of it."""
    pick = list(range(len(probes))) if pick is None else pick
    entries = [probes.provenance["source"]["images"][index] for index in pick]
    provenance = {**probes.provenance, "source": {**probes.provenance["source"], "images": entries, **source}}
    return ProbeSet(probes.images[pick], None, provenance)


def skipped(probes: ProbeSet) -> ProbeSet:
    entries = probes.provenance["source"]["images"]
    return changed(probes, [0, 1, 2], skipped=[{"name": entry["name"], "reason": "damaged"} for entry in entries[3:]])


def not_whole(probes: ProbeSet) -> ProbeSet:
    (how,) = probes.provenance["selection"]
    provenance = {**probes.provenance, "selection": [{**how, "whole": False, "dataset_hash": "sha256:" + "0" * 64}]}
    return ProbeSet(probes.images, None, provenance)


def parts(probes: ProbeSet, images: Path) -> ProbeSet:
    return mixture([probes, ProbeSet.from_folder(images).subset([0, 1])])


BENT = {
    "skipped": ("listed as skipped, and can be read", lambda drawn, images: skipped(drawn)),
    "51 times": (
        "there 51 times in the same form",
        lambda drawn, images: changed(drawn, [0] * 51 + [1, 2, 3, 4]),
    ),
    "two forms": (
        "in 1 to 3 forms",
        lambda drawn, images: drawn.jpeg(quality=[20, 30, 40]).subset([0, 1, 2, 3, 4, 5, 10]),
    ),
    "not whole": ("not from a whole folder", lambda drawn, images: not_whole(drawn)),
    "subset first": (
        "not from a whole folder",
        lambda drawn, images: committed(ProbeSet.from_folder(images).subset(range(6)), 3, "s"),
    ),
    "picked later": (
        "2 images of the committed draw of 5 are left out, by misclassified",
        lambda drawn, images: drawn.subset([0, 2, 4], how={"kind": "misclassified"}),
    ),
    "left out in silence": ("2 images of the committed draw of 5 are left out", lambda d, i: changed(d, [0, 2, 4])),
    "exchanged": (
        " images are not of the committed draw of 5",
        lambda drawn, images: changed(drawn, images=[*ProbeSet.from_folder(images).provenance["source"]["images"]][:5]),
    ),
    "part not drawn": ("part 1 of the mixture is not of a committed draw", parts),
    "left out of a mixture": (
        "1 images of part 0 of the mixture are left out, after their draw",
        lambda drawn, images: mixture([drawn, drawn.jpeg(quality=50)]).subset([1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ),
    "repeated in a mixture": (
        "there 2 times in the same form",
        lambda drawn, images: mixture([drawn, drawn.jpeg(quality=50)]).subset([0, *range(10)]),
    ),
}


@pytest.mark.parametrize("name", BENT)
def test_a_bent_draw_is_a_finding_with_an_exit_code_of_its_own(images: Path, tmp_path: Path, name: str) -> None:
    words, bend = BENT[name]
    probes = bend(ProbeSet.from_folder(images, limit=5, commit_seed="s"), images)
    result = verify_probes(probes, images)
    assert not result.equal
    assert any(words in line for line in result.selection), result
    probes.save(tmp_path / "p.safetensors")
    done = CliRunner().invoke(app, ["probes", "verify", str(tmp_path / "p.safetensors"), "--images", str(images)])
    assert done.exit_code == 5
    assert words in done.stdout


def test_a_sound_draw_has_no_finding(images: Path) -> None:
    (images / "bad.png").write_bytes(b"not an image")
    drawn = ProbeSet.from_folder(images, limit=13, commit_seed="s", skip_bad=True)
    assert [entry["name"] for entry in drawn.provenance["source"]["skipped"]] == ["bad.png"]
    for probes in (drawn, drawn.jpeg(quality=[20, 30]), mixture([drawn, drawn.jpeg(quality=50)])):
        assert verify_probes(probes, images).selection == []
    (note, *_) = verify_probes(drawn, images).notes
    for published in (drawn.provenance["selection"][0][key] for key in ("commitment", "dataset_hash")):
        assert published in note
    assert note.endswith("the number of images 13")
