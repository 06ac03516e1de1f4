import dataclasses
import json

import pytest

from sac_fast.errors import FileFormatError
from sac_fast.labelled_zoo.folder import NULL_KINDS, LabelledZoo, ZooMember

SOURCE = ZooMember("source", "source", "source", "package.module:plain", {"classes": 3}, seed=1, accuracy=0.9)
STOLEN = ZooMember("stolen-1", "stolen", "finetune-all", "package.module:plain", details={"ratio": 0.5})
OTHER = ZooMember("other-1", "independent", "same-data", "package.module:residual")


def zoo(folder, members=(SOURCE, STOLEN, OTHER), probes=("plain", "jpeg-q25")):
    return LabelledZoo(folder, {"name": "patches"}, {"mean": [0.5]}, members, probes)


def test_what_is_saved_is_read_back(tmp_path):
    saved = zoo(tmp_path / "new")
    saved.save()
    assert LabelledZoo.load(tmp_path / "new") == saved
    assert (tmp_path / "new/fingerprints/jpeg-q25").is_dir()
    assert saved.fingerprint_file("plain", STOLEN) == tmp_path / "new/fingerprints/plain/stolen-1.safetensors"
    assert saved.weights_file("other-1") == tmp_path / "new/models/other-1.safetensors"
    assert saved.source is SOURCE
    assert saved.of_role("stolen") == (STOLEN,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, "name must be"),
        ({"name": "a..b"}, "name must be"),
        ({"role": "thief"}, "role of 'stolen-1' must be one of source, sibling, stolen, independent, got 'thief'"),
        ({"role": "independent"}, "origin of the independent 'stolen-1' must be one of same-data-same-"),
        ({"role": "independent", "origin": "sibling"}, "'stolen-1' must be one of same-data-"),
        ({"role": "sibling"}, "origin of the sibling 'stolen-1' must say how it was made, got 'finetune-all'"),
        ({"origin": "sibling"}, "origin of the stolen 'stolen-1' must say how it was made, got 'sibling'"),
        ({"origin": "source"}, "origin of the stolen"),
        ({"architecture": 5}, "architecture of 'stolen-1' must be a text, got 5"),
        ({"architecture_args": [1]}, "architecture_args of 'stolen-1' must be a mapping"),
        ({"seed": "1"}, "seed of 'stolen-1' must be an integer, got '1'"),
        ({"accuracy": "x"}, "accuracy of 'stolen-1' must be a finite number or None, got 'x'"),
        ({"accuracy": float("nan")}, "accuracy of 'stolen-1' must be a finite number or None, got nan"),
        ({"seconds": []}, "seconds of 'stolen-1' must be a finite number or None"),
        ({"details": None}, "details of 'stolen-1' must be a mapping, got None"),
    ],
)
def test_a_member_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STOLEN, **changes)


@pytest.mark.parametrize("members", [(STOLEN, OTHER), (SOURCE, SOURCE), (SOURCE, STOLEN, STOLEN)])
def test_one_source_and_different_names(tmp_path, members):
    with pytest.raises(ValueError, match="members must"):
        zoo(tmp_path, members)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"kind": "other", "format": 1}',
        json.dumps({"kind": "sac_fast labelled zoo", "format": 1, "task": {}, "preprocessing": {}, "probes": [],
                    "members": [{"name": "x", "surprise": 1}]}),
    ],
)  # fmt: skip
def test_a_damaged_index_is_refused(tmp_path, text):
    (tmp_path / "zoo.json").write_text(text)
    with pytest.raises(FileFormatError, match="must be the index of a labelled zoo"):
        LabelledZoo.load(tmp_path)


def test_a_folder_without_index_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="cannot read"):
        LabelledZoo.load(tmp_path)


def test_kinds_are_a_closed_list_and_siblings_are_a_role(tmp_path):
    assert NULL_KINDS == (
        "same-data-same-architecture", "same-data", "other-data", "other-classes", "same-backbone", "other-backbone",
    )  # fmt: skip
    sibling = ZooMember("sibling-01", "sibling", "sibling", "package.module:plain", seed=7)
    others = [dataclasses.replace(OTHER, name=kind, origin=kind) for kind in NULL_KINDS]
    saved = zoo(tmp_path / "new", (SOURCE, sibling, *others))
    saved.save()
    assert LabelledZoo.load(tmp_path / "new").of_role("sibling") == (sibling,)
