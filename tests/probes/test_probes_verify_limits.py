"""What the provenance of untrusted probes may cost, and what it may hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast import ProbeSet
from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.io.container import load_container, save_container
from sac_fast.io.schema import check_types
from sac_fast.probes import source_files, verify_probes

PIXELS = np.zeros((1, 4, 4, 3), np.uint8)
IMAGE = {"name": "missing.png", "sha256": "sha256:" + "0" * 64}
STEP = {"kind": "cutmix", "each": [{"box": [0, 0, 1, 1], "partner": IMAGE}]}


def loaded(path: Path, **provenance: Any) -> ProbeSet:
    """A sealed file with any provenance, loaded again."""
    ProbeSet.from_arrays(PIXELS).save(path)
    arrays, metadata = load_container(path, "probes")
    base = {"source": {"type": "folder", "images": [IMAGE]}, "augmentation": []}
    save_container(path, "probes", arrays, {**metadata, "provenance": {**base, **provenance}})
    return ProbeSet.load(path)


def test_the_partners_of_missing_images_are_not_made(tmp_path: Path) -> None:
    """Each of k steps used to make all earlier ones again: 2^60 calls."""
    probes = loaded(tmp_path / "p", augmentation=[STEP] * 60)
    with bounded(seconds=5):
        (check,) = verify_probes(probes, tmp_path).images
    assert not check.equal


def part(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"source": {"type": "folder"}, "augmentation": []}
    for _ in range(depth):
        inner = {"source": {"type": "mixture", "parts": [{"count": 1, "hash": "", "provenance": inner}]}}
    return inner


WRONG = {
    "steps": ({"augmentation": [STEP] * 65}, "augmentation must have at most 64 steps, got 65"),
    "step": ({"augmentation": ["jpeg"]}, r"provenance\.augmentation\[0\] must be dict, got str"),
    "kind": ({"augmentation": [{"kind": []}]}, r"provenance\.augmentation\[0\]\.kind must be str, got list"),
    "each": ({"augmentation": [{"kind": "jpeg", "each": 3}]}, r"\.each must be list, got int"),
    "source": ({"source": []}, r"provenance\.source must be dict, got list"),
    "type": ({"source": {"type": 3}}, r"provenance\.source\.type must be str, got int"),
    "images": ({"source": {"type": "folder", "images": {"0": 1}}}, r"\.images must be list, got dict"),
    "image": ({"source": {"type": "folder", "images": [{"name": 3}]}}, r"images\[0\]\.name must be str, got int"),
    "skipped": ({"source": {"type": "folder", "skipped": [{"name": None}]}}, r"skipped\[0\]\.name must be str"),
    "selection": ({"selection": {"kind": "committed"}}, r"provenance\.selection must be list, got dict"),
    "resize": ({"resize": {"size": [4, 4.0]}}, r"provenance\.resize\.size\[1\] must be int, got float"),
    "part": ({"source": {"type": "mixture", "parts": [{"provenance": []}]}}, r"provenance must be dict, got list"),
    "depth": (part(20), "provenance must be nested at most 24 deep"),
    "part's step": (
        {"source": {"type": "mixture", "parts": [{"provenance": {"augmentation": [3]}}]}},
        r"provenance\.augmentation\[0\] must be dict, got int",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_sealed_provenance_of_other_types_is_refused_when_it_is_loaded(tmp_path: Path, name: str) -> None:
    provenance, message = WRONG[name]
    with pytest.raises(FileFormatError, match=message):
        loaded(tmp_path / "p", **provenance)


def test_types_of_json() -> None:
    check_types({"a": 1, "b": [None, "x"], "c": 2}, {"a": float, "b": [(str, type(None))], "d": str}, "x")
    for value in (True, "1", None):
        with pytest.raises(ValueError, match=r"x\.a must be int, got"):
            check_types({"a": value}, {"a": int}, "x")


def test_many_parts_of_many_images_take_no_product_of_both(tmp_path: Path) -> None:
    count = 10_000
    one = {"count": 1, "provenance": {"source": {"type": "folder", "images": [IMAGE]}}}
    none = {"count": 0, "provenance": {"source": {"type": "folder"}}}
    entry = {"name": "missing.png", "part": 0, "index": 0}
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    source = {"type": "mixture", "parts": [one, *[none] * count], "images": [entry] * count}
    ProbeSet(pixels, None, {"source": source, "augmentation": []}).save(tmp_path / "p")
    probes = ProbeSet.load(tmp_path / "p")
    begun = time.process_time()
    assert len(verify_probes(probes, tmp_path).images) == count
    assert time.process_time() - begun < 3  # 0.6 s; each part compared with each image takes 5


@pytest.mark.parametrize("number", [-1, 1])
def test_a_part_that_is_not_there_is_refused(tmp_path: Path, number: int) -> None:
    parts = [{"count": 1, "provenance": {"source": {"type": "folder", "images": [IMAGE]}}}]
    source = {"type": "mixture", "parts": parts, "images": [{"name": "a", "part": number, "index": 0}]}
    with pytest.raises(ProbeError, match=f"part must be one of 1, got {number}"):
        verify_probes(loaded(tmp_path / "p", source=source), tmp_path)


def test_an_hdf5_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def read_hdf5(path: object, layout: object, limit: object) -> tuple[Any, None, dict[str, str]]:
        calls.append(layout)
        return PIXELS, None, {"sha256": IMAGE["sha256"]}

    monkeypatch.setattr(source_files, "read_hdf5", read_hdf5)
    images = [{"name": "0", "sha256": None}]
    inner = {"source": {"type": "hdf5", "layout": "NHWC", "sha256": IMAGE["sha256"], "images": images}}
    entries = [{"name": "0", "part": number, "index": 0} for number in range(50)]
    source = {"type": "mixture", "parts": [{"count": 1, "provenance": inner}] * 50, "images": entries}
    ProbeSet(np.repeat(PIXELS, 50, 0), None, {"source": source, "augmentation": []}).save(tmp_path / "p")
    assert verify_probes(ProbeSet.load(tmp_path / "p"), tmp_path).equal
    assert calls == ["NHWC"]


@pytest.mark.parametrize("name", ["", "x", "1.5", "9" * 5000])
def test_an_image_of_hdf5_that_has_no_number_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "read_hdf5", lambda *_: (PIXELS, None, {"sha256": IMAGE["sha256"]}))
    source = {"type": "hdf5", "layout": "NHWC", "sha256": IMAGE["sha256"], "images": [{"name": name}]}
    with pytest.raises(ProbeError, match="provenance must be complete, got ValueError"):
        verify_probes(loaded(tmp_path / "p", source=source), tmp_path)
