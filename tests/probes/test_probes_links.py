"""Links and what is passed over in folders of images: followed inside, refused by name outside, counted by reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet
from sac_fast.probes.folder import natural_order


def write(path: Path, value: int, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 4), value if mode != "RGB" else (value,) * 3).save(path)
    return path


def names(probes: ProbeSet) -> list[str]:
    return [entry["name"] for entry in probes.provenance["source"]["images"]]


def test_a_class_folder_that_is_a_link_is_a_class(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number, name in enumerate(("shared/cats/1.png", "shared/cats/deep/2.png", "dogs/3.png")):
        write(root / name, 10 * number)
    (root / "cats").symlink_to("shared/cats", target_is_directory=True)
    probes = ProbeSet.from_folder(root, labels="folder")
    assert names(probes) == [
        *("cats/1.png", "cats/deep/2.png", "dogs/3.png", "shared/cats/1.png", "shared/cats/deep/2.png"),
    ]
    assert probes.provenance["source"]["classes"] == ["cats", "dogs", "shared"]
    assert probes.images[:, 0, 0, 0].tolist() == [0, 10, 20, 0, 10]


def test_links_of_folders_that_lead_out_or_back_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "1.png", 1)
    write(tmp_path / "images" / "a" / "1.png", 1)
    link = tmp_path / "images" / "b"
    for target, words in ((tmp_path / "outside", "must lie in"), (tmp_path / "images", "must not lead back to itself")):
        link.symlink_to(target, target_is_directory=True)
        with pytest.raises(ProbeError, match=f"folder '.*/b' {words}"):
            ProbeSet.from_folder(tmp_path / "images")
        link.unlink()
    (tmp_path / "images" / "a" / "c").symlink_to("../b")
    (tmp_path / "images" / "b").mkdir()
    (tmp_path / "images" / "b" / "d").symlink_to("../a")  # each leads into the other, for ever
    with pytest.raises(ProbeError, match="must not lead back to itself"):
        ProbeSet.from_folder(tmp_path / "images")


def test_a_snapshot_of_a_hub_leads_to_its_blobs_and_nowhere_else(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    write(tmp_path / "1.png", 7).rename(_made(hub / "blobs") / "ab12")
    snapshot = _made(hub / "snapshots" / "rev")
    (snapshot / "1.png").symlink_to("../../blobs/ab12")
    probes = ProbeSet.from_folder(snapshot)
    assert (names(probes), probes.images[0, 0, 0].tolist()) == (["1.png"], [7, 7, 7])
    write(hub / "blobs" / "deeper" / "2.png", 1)
    for target in ("../../blobs/deeper/2.png", "../../other.png"):
        write(hub / "other.png", 1)
        (snapshot / "2.png").symlink_to(target)
        with pytest.raises(ProbeError, match=r"2\.png' must lie in the folder, got a link to"):
            ProbeSet.from_folder(snapshot)
        (snapshot / "2.png").unlink()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_what_is_passed_over_is_counted_and_said(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write(Path("photos") / f"{number}.png", number, "L" if number else "RGB")
    for number in range(7):
        (Path("photos") / f"{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (Path("photos") / "notes.txt").write_text("words")
    code, out, err = run("probes", "normal", "photos", "--out", "p", "--json", "-q")
    assert code == 0, err
    heic = "images of a format that is not read (.heic)"
    result = json.loads(out)
    assert result["passed_over"] == {heic: 7, "other files": 1}
    assert result["converted_to_rgb"] == {"L": 2}
    assert f"sac-fast: 7 passed over: {heic}" in err
    assert "sac-fast: 2 images of mode L made RGB" in err
    assert ProbeSet.load("p").provenance["source"]["ignored"] == {heic: 7, "other files": 1}


def test_folders_with_numbers_are_classes_in_their_order(tmp_path: Path, run: Any) -> None:
    for name in ("0", "1", "2", "10"):
        write(tmp_path / "photos" / name / "a.png", int(name))
    probes = ProbeSet.from_folder(tmp_path / "photos", labels="folder")
    assert probes.provenance["source"]["classes"] == ["0", "1", "2", "10"]
    assert probes.labels is not None
    assert dict(zip(names(probes), probes.labels.tolist(), strict=True)) == {
        **{"0/a.png": 0, "1/a.png": 1, "10/a.png": 3, "2/a.png": 2}
    }
    assert np.array_equal(probes.images[:, 0, 0, 0], [0, 1, 10, 2])
    code, _, err = run("probes", "normal", tmp_path / "photos", "--labels", "folder", "--out", tmp_path / "p")
    assert (code, "classes are numbered in the order 0, 1, 2, 10" in err) == (0, True)
    assert natural_order(["10", "9", "a"]) == ["10", "9", "a"]
