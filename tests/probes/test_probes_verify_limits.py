"""What the provenance of untrusted probes may cost, and what it may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bounded import bounded

from sac_fast import ProbeSet
from sac_fast.errors import FileFormatError
from sac_fast.io.container import load_container, save_container
from sac_fast.io.schema import check_types
from sac_fast.probes import verify_probes

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
