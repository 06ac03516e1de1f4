"""Listing: folders, manifests and labelled zoos."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from sac_fast.errors import FileFormatError, ModelError, ModelRefusedError
from sac_fast.formats.identify import open_model_file
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.models import Limits, ModelEntry, Preprocessing, list_entries, open_model, save_weights
from sac_fast.models.entries import list_models

HALF = Preprocessing(mean=(0.5,), std=(0.25,))
TOML = """
[defaults]
architecture = "torch.nn:Linear"
kwargs = { in_features = 12, out_features = 3 }
tags = ["mine"]

[[models]]
path = "sub/a.bin"
preprocessing = { mean = [0.5], std = [0.25] }
output = 1

[[models]]
path = "b.npy"
name = "second"
tags = ["independent", "x"]
kwargs = {}
"""
CSV = """path,name,architecture,kwargs,preprocessing,output,tags
sub/a.bin,,torch.nn:Linear,"{""in_features"": 12, ""out_features"": 3}","{""mean"": [0.5], ""std"": [0.25]}",1,mine

b.npy,second,,,,logits,independent x
"""


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("path", "d/" * 3000, "path must be a text of at most 4,096 characters, got 6,000"),
        ("name", "n" * 5000, "name must be a text of at most 4,096 characters, got 5,000"),
        ("architecture", "m:" + "a" * 4095, "architecture must be a text of at most 4,096 characters, got 4,097"),
        ("output", "o" * 5000, "output must be a text of at most 4,096 characters, got 5,000"),
        ("tags", "t" * 40_000, "tags must have at most 32,768 characters together, got 40,000"),
    ],
)
def test_what_no_store_could_hold_is_refused_by_the_models_name(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    row = {"path": "a.npy", "name": "mine", key: value}
    (tmp_path / "zoo.csv").write_text(
        ",".join(row) + "\nb.npy,other" + "," * (len(row) - 2) + "\n" + ",".join(row.values())
    )
    named = "nnnn" if key == "name" else "mine"
    with pytest.raises(FileFormatError, match=f"model 2 of .*'{named}.*{words}"):
        list_entries(tmp_path / "zoo.csv")


def test_folders_are_searched(tmp_path: Path) -> None:
    for name in ("b.npy", "a", "sub/deep/c.pth", ".hidden", "sub/.git/x", "README.md", "config.json", "sub/empty.PT"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.safetensors").mkdir()
    (tmp_path / "x.safetensors" / "inside").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "inner-link").symlink_to("b.npy")
    os.mkfifo(tmp_path / "pipe")
    entries = list_entries(tmp_path, architecture="torch.nn:Linear", kwargs={"a": 1}, tags=["t"], preprocessing=HALF)
    assert [entry.name for entry in entries] == [
        *("a", "b.npy", "inner-link", "loop", "pipe", "sub/deep/c.pth", "sub/empty.PT", "x.safetensors"),
        "x.safetensors/inside",
    ]
    first = entries[0]
    assert (first.path, first.root, first.architecture, first.kwargs) == (
        tmp_path / "a",
        tmp_path,
        "torch.nn:Linear",
        {"a": 1},
    )
    assert (first.preprocessing, first.tags, first.output) == (HALF, ("t",), None)


def test_paths_of_a_folder_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("a.npy", "sub/b.npy", "sub/deep/c.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = list_models(tmp_path, defaults=ModelEntry("all", tmp_path, preprocessing=HALF, tags=("x",))).entries
    first = listed[0]
    assert "path" not in vars(first)
    for entry in listed:
        path = tmp_path / entry.name
        expected = ModelEntry(entry.name, path, preprocessing=HALF, tags=("x",), root=tmp_path)
        for same in (entry, pickle.loads(pickle.dumps(entry)), copy.copy(entry), dataclasses.replace(entry)):
            assert same == expected
            assert same.path_text == str(path)
            assert repr(same) == repr(expected)
        assert entry.is_like(first)
        assert not dataclasses.replace(entry).is_like(first)
    moved = listed[1].at("z", "/else/z.npy", None)
    assert (moved.name, moved.path, moved.root, moved.is_like(listed[1])) == ("z", Path("/else/z.npy"), None, False)
    with pytest.raises(AttributeError, match="'ModelEntry' object has no attribute 'paths'"):
        _ = first.paths  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", ["models", ".", "./models/../models"])
def test_names_and_paths_of_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    (tmp_path / "models" / "sub").mkdir(parents=True)
    for name in ("models/a.npy", "models/sub/b.npy"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "models" if given == "." else tmp_path)
    assert [(e.name, e.path_text) for e in list_models(given).entries] == [
        (name, str(Path(given) / name)) for name in ("a.npy", "sub/b.npy")
    ]


def test_names_that_are_no_text_are_told_apart(tmp_path: Path) -> None:
    for raw in (b"\xff.pt", b"\\xff.pt", b"\\\xff.pt", b"\\\\xff.pt", "\u00ff.pt".encode()):
        (tmp_path / os.fsdecode(raw)).write_bytes(b"x")
    found = {entry.name: os.fsencode(entry.path.name) for entry in list_entries(tmp_path)}
    assert found == {
        "./\\xff.pt": b"\xff.pt",
        "./\\\\\\xff.pt": b"\\\xff.pt",
        "\\xff.pt": b"\\xff.pt",
        "\\\\xff.pt": b"\\\\xff.pt",
        "\u00ff.pt": "\u00ff.pt".encode(),
    }


def test_one_file_and_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    (entry,) = list_entries(tmp_path / "a.npy", output="x")
    assert (entry.name, entry.path, entry.output) == ("a.npy", tmp_path / "a.npy", "x")
    with pytest.raises(ModelError, match="does not exist"):
        list_entries(tmp_path / "none")
    assert list_entries(tmp_path / "a.npy")[0].root is None
    with pytest.raises(ModelError, match="at least 1 character"):
        ModelEntry("", tmp_path)


def test_a_link_inside_is_followed_and_one_outside_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    np.save(tmp_path / "outside.npy", np.ones((2, 2)))
    np.save(folder / "real.npy", np.ones((2, 2)))
    (folder / "in").symlink_to("real.npy")
    (folder / "out").symlink_to("../outside.npy")
    found = {entry.name: entry for entry in list_entries(folder)}
    assert open_model(found["in"]).recorded
    with pytest.raises(ModelRefusedError) as caught:
        open_model(found["out"])
    assert caught.value.reason == "symlink"


@pytest.mark.parametrize("proc", [True, False])
def test_a_link_that_changes_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proc: bool) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    for path in (folder / "a.npy", folder / "b.npy", tmp_path / "outside.npy"):
        np.save(path, np.ones((3, 2)))
    really_open, really_read, target = os.open, os.readlink, folder / "b.npy"

    def readlink(path: str) -> str:
        if not proc and str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return really_read(path)

    monkeypatch.setattr(os, "readlink", readlink)

    def late(path: Path, flags: int) -> int:
        (folder / "a.npy").unlink()
        (folder / "a.npy").symlink_to(target)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", late)
    with open_model_file(folder / "a.npy", Limits(), root=folder) as handle:
        assert handle.read(6) == b"\x93NUMPY"
    target = tmp_path / "outside.npy"
    with pytest.raises(ModelRefusedError, match="got a link to a file outside of it") as caught:
        open_model_file(folder / "a.npy", Limits(), root=folder)
    assert caught.value.reason == "symlink"


@pytest.mark.parametrize("name", ["zoo.toml", "zoo.csv"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_manifests(tmp_path: Path, name: str, given: str) -> None:
    (tmp_path / name).write_text(TOML if name == "zoo.toml" else CSV)
    (tmp_path / "other").write_bytes(b"not listed")
    how = {"source": tmp_path / name} if given == "file" else {"source": tmp_path, "manifest": tmp_path / name}
    first, second, *others = list_entries(**how, tags=["all"])
    assert [entry.name for entry in others] == (["other"] if given == "folder" else [])
    assert (first.name, first.path, first.root) == ("sub/a.bin", tmp_path / "sub/a.bin", tmp_path)
    assert (first.architecture, first.output, first.tags) == ("torch.nn:Linear", 1, ("mine", "all"))
    assert (first.kwargs, first.preprocessing) == ({"in_features": 12, "out_features": 3}, HALF)
    assert (second.name, second.kwargs, second.preprocessing) == ("second", {}, None)
    assert second.tags == ("independent", "x", "all")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zoo.toml", "models = 3", "manifest of models, got TypeError"),
        ("zoo.toml", "[[models]]\nname = 'x'", "model 1 of .*: path must be a text, got None"),
        ("zoo.toml", "[[models]]\npath = '../x'", "must be relative and stay inside the manifest's folder, got '../x'"),
        ("zoo.toml", "[[models]]\npath = '/etc/passwd'", "must be relative and stay inside"),
        ("zoo.toml", "[[models]]\npath = 'x'\nspeed = 3", r"keys must be of path, name.*got \['speed'\]"),
        ("zoo.toml", "[[models]]\npath = 'x'\ntags = 'a'", "tags must be a list of texts, got 'a'"),
        ("zoo.toml", "[[models]]\npath = 'x'\nkwargs = 3", "kwargs must be a table or JSON object, got 3"),
        ("zoo.toml", "[[models]]\npath = 'x'\noutput = true", "output must be a position or a name, got True"),
        ("zoo.toml", "[[models]]\npath = 'x'\npreprocessing = { std = [0.0] }", "std must be above 0"),
        ("zoo.toml", "[default]\n[[models]]\npath = 'x'", r"tables must be \[defaults\] and \[\[models\]\]"),
        ("zoo.toml", "[defaults]\npath = 'x'\n[[models]]\npath = 'x'", r"\[defaults\] must not hold path"),
        ("zoo.toml", "rubbish", "TOMLDecodeError"),
        ("zoo.csv", "path,speed\nx,3", r"got \['speed'\]"),
        ("zoo.csv", "path,name\nx", "line 2 must have 2 cells like the first"),
        ("zoo.csv", "path,name\nx,y,z", "line 2 must have 2 cells like the first"),
        ("zoo.csv", "path,kwargs\nx,rubbish", "JSONDecodeError"),
        ("zoo.csv", "path,name\n,y", "path must be a text"),
        ("zoo.json", '{"kind": "sac_fast labelled zoo", "members": [{}]}', "KeyError"),
    ],
)
def test_manifests_that_are_wrong(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    for how in ({"source": tmp_path / name}, {"source": tmp_path, "manifest": tmp_path / name}):
        with pytest.raises(FileFormatError, match=message):
            list_entries(**how)


@pytest.mark.parametrize("name", ["weights.safetensors", "zoo", "zoo.csv.gz"])
def test_a_named_manifest_has_the_ending_of_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path\nx\n")
    with pytest.raises(FileFormatError, match=r"a manifest must end in \.toml, \.csv, \.json, got "):
        list_entries(tmp_path, manifest=tmp_path / name)


def test_names_are_unique(tmp_path: Path) -> None:
    (tmp_path / "zoo.csv").write_text("path,name\na,x\nb,x\n")
    with pytest.raises(ModelError, match="must have different names, got 'x' twice"):
        list_entries(tmp_path / "zoo.csv")


def test_recorded_outputs_called_zoo_csv_are_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "zoo.csv").write_text("1.5,2.5\n3,4\n")
    (entry,) = list_entries(tmp_path / "zoo.csv")
    assert open_model(entry).run(None).tolist() == [[1.5, 2.5], [3, 4]]


def test_a_labelled_zoo(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"in_features": 12, "out_features": 3}
    members = (
        ZooMember("mine", "source", "source", "torch.nn:Linear", arguments),
        ZooMember("other", "independent", "other-data", "torch.nn:Linear", arguments),
    )
    zoo = LabelledZoo(tmp_path, {}, HALF.to_dict(), members)
    zoo.save()
    for member in members:
        save_weights(zoo.weights_file(member), nn.Linear(12, 3))
    entries = list_entries(tmp_path / "zoo.json")
    assert [(entry.name, entry.tags, entry.preprocessing) for entry in entries] == [
        ("mine", ("source",), HALF),
        ("other", ("independent", "other-data"), HALF),
    ]
    assert [open_model(entry).kwargs for entry in entries] == [arguments, arguments]


def test_blobs_of_a_hub_are_one_model_each(tmp_path: Path) -> None:
    hub = tmp_path / "models--x--y"
    (hub / "blobs").mkdir(parents=True)
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    (tmp_path / "a.npy").rename(hub / "blobs" / "ab12")
    for revision in ("rev1", "rev2"):
        snapshot = hub / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "model.npy").symlink_to("../../blobs/ab12")
    np.save(hub / "other.npy", np.ones((3, 2)))
    (hub / "snapshots" / "rev2" / "out.npy").symlink_to("../../other.npy")
    found = {entry.name: entry for entry in list_entries(hub / "snapshots" / "rev2")}
    with open_model(found["model.npy"]) as opened:
        assert opened.run(None).shape == (3, 2)
    with pytest.raises(ModelRefusedError) as caught:
        open_model(found["out.npy"])
    assert caught.value.reason == "symlink"
    listing = list_models(hub)
    assert [entry.name for entry in listing.entries] == [
        *("other.npy", "snapshots/rev1/model.npy", "snapshots/rev2/out.npy"),
    ]
    assert listing.counts() == {"another name of a model": 2}
