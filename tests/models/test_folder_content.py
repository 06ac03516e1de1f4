"""What a folder's listing shows: models by their content, all else by name, and claims that nobody believes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sac_fast.io.files import is_store
from sac_fast.models import ModelEntry, list_entries
from sac_fast.models.entries import list_models
from sac_fast.probes import ProbeSet
from sac_fast.store import ModelRecord, ModelStore

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def npy(rows: int = 4) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((rows, 3), np.float32))
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def passed(root: Path) -> dict[str, str]:
    return {one.name: one.what for one in list_models(root).passed_over}


def test_models_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    models = {
        ".thief.npy": npy(),
        ".cache/deep/thief": npy(),
        "thief.txt": npy(),
        "thief.png": npy(),
        "thief.tmp": npy(),
        "README.md": b"0.1,0.9\n0.2,0.8\n0.3,0.7\n",
        "plain.npy": npy(),
        "writer.lock": npy(),
        "zoo.sqlite": b"",
        "damaged.json": b"PK\x03\x04 not a zip after all",
        "model.safetensors.index.json": b'{"metadata": {}, "weight_map": {"a": "b"}}',
    }
    others = {
        "notes.txt": b"40 models\nof 2024\n",
        "VERSION.txt": b"3.2\n",
        "logo.png": PNG,
        ".gitignore": b"*.pyc\n",
        ".git/objects/ab/cd": b"x\x9c" + bytes(range(200)),
        "empty.txt": b"",
    }
    write(tmp_path, models | others)
    (tmp_path / "gone.txt").symlink_to("nowhere")
    (tmp_path / "out.txt").symlink_to("/etc/hostname")
    (tmp_path / ".folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / ".pipe")
    assert {entry.name for entry in list_entries(tmp_path)} == set(models)
    assert passed(tmp_path) == {
        "notes.txt": "a text",
        "VERSION.txt": "a text",
        "logo.png": "a picture",
        ".gitignore": "a text",
        ".git/objects/ab/cd": "other content",
        "empty.txt": "an empty file",
        "gone.txt": "not to be read",
        "out.txt": "a link out of the folder",
        ".folder": "a link to a folder",
        ".pipe": "no regular file",
    }
    assert list_models(tmp_path).counts()["a text"] == 3


def test_a_store_is_told_by_its_header_and_hides_nothing_but_itself(tmp_path: Path) -> None:
    record = ModelRecord(name="m", path="m", probe_hash="sha256:" + "0" * 64, model_hash="sha256:" + "1" * 64)
    place = tmp_path / "models" / "store"
    place.parent.mkdir()
    with ModelStore.open(place, write=True, create=True) as store:
        store.add_results([(record.key, record, torch.ones(4, 3))])
        write(tmp_path / "models", {"a.npy": npy()})
        assert is_store(place)
        assert [entry.name for entry in list_entries(tmp_path)] == ["models/a.npy"]
    (one,) = list_models(tmp_path).passed_over
    assert (one.name, one.what) == ("models/store", "of a store")
    assert one.count >= 3  # the database, the lock and a file of outputs
    write(
        place,
        {
            "thief.npy": npy(),
            "outputs/ab/thief.safetensors": npy(),
            "incoming/thief": npy(),
            "quarantine/.thief": npy(),
            "outputs/README": b"a text",
            "deep/thief": npy(),
        },
    )
    found = {entry.name.removeprefix("models/store/") for entry in list_entries(tmp_path)}
    assert found == {
        *("models/a.npy", "thief.npy", "outputs/ab/thief.safetensors", "incoming/thief", "quarantine/.thief"),
        "deep/thief",
    }
    assert passed(tmp_path)["models/store/outputs/README"] == "a text"


@pytest.mark.parametrize("head", [b"", b"SQLite format 3\0" + bytes(80), b"SQLite format 3\0" + bytes(52) + b"SACW"])
def test_a_file_with_the_name_of_a_stores_database_hides_nothing(tmp_path: Path, head: bytes) -> None:
    write(tmp_path, {"zoo.sqlite": head, "thief.npy": npy(), "outputs/thief.npy": npy()})
    assert not is_store(tmp_path)
    assert [entry.name for entry in list_entries(tmp_path)] == ["outputs/thief.npy", "thief.npy", "zoo.sqlite"]


CLAIMS = """
[defaults]
tags = ["independent"]
[[models]]
path = "a.npy"
name = "other"
output = 3
preprocessing = { std = [0.5] }
architecture = "os:system"
kwargs = { command = "true", when = 2020-01-01, much = nan }
[[models]]
path = "a.npy"
name = "again"
[[models]]
path = "gone.npy"
"""


def test_a_manifest_inside_is_listed_and_not_believed(tmp_path: Path) -> None:
    write(tmp_path, {"a.npy": npy(), "b.npy": npy(), "zoo.toml": CLAIMS.encode()})
    listing = list_models(tmp_path, defaults=ModelEntry("x", tmp_path, tags=("mine",)))
    first, second = listing.entries
    assert (first.name, first.tags, first.output, first.preprocessing) == ("a.npy", ("mine",), None, None)
    assert (first.architecture, first.kwargs, second.claims) == (None, {}, {})
    assert {key: first.claims[key] for key in ("name", "output", "tags", "architecture", "kwargs")} == {
        "name": "other",
        "output": 3,
        "tags": ["independent"],
        "architecture": "os:system",
        "kwargs": {"command": "true", "when": "2020-01-01", "much": "NaN"},
    }
    assert first.claims["more"] == [{"name": "again", "tags": ["independent"]}]
    assert listing.unbelieved == tmp_path / "zoo.toml"
    assert passed(tmp_path) == {"zoo.toml": "a manifest", "gone.npy": "named by a manifest, not there"}


def test_a_manifest_that_is_named_is_believed_and_hides_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a.npy": npy(), "b.npy": npy(), "other": npy(), "zoo.toml": CLAIMS.encode()})
    write(tmp_path, {"zoo.csv": b"path\nb.npy\n"})
    listing = list_models(tmp_path, manifest=tmp_path / "zoo.toml")
    assert [(entry.name, entry.tags) for entry in listing.entries] == [
        *(("other", ("independent",)), ("again", ("independent",)), ("gone.npy", ("independent",))),
        *(("b.npy", ()), ("./other", ())),
    ]
    assert listing.unbelieved is None
    listing = list_models(tmp_path / "zoo.toml")
    assert [entry.name for entry in listing.entries] == ["other", "again", "gone.npy"]
    others = {one.name for one in listing.passed_over if one.what == "not in the manifest"}
    assert others == {"b.npy", "./other"}


@pytest.mark.parametrize("content", ["rubbish", "[[models]]\npath = '../x'", "a = " + "[" * 5000])
def test_a_manifest_inside_that_cannot_be_read_stops_nothing(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"a.npy": npy(), "zoo.toml": content.encode()})
    listing = list_models(tmp_path)
    assert [entry.name for entry in listing.entries] == ["a.npy"]
    assert "zoo.toml' must be a manifest of models" in listing.problem or "path must be relative" in listing.problem
    (first, second) = listing.events()
    assert first == {"event": "passed-over", "name": "zoo.toml", "what": "a manifest", "count": 1}
    assert second == {"event": "claim", "name": "", "claims": {"problem": listing.problem}}


def test_outputs_that_are_also_a_manifest_are_a_model(tmp_path: Path) -> None:
    write(tmp_path, {"zoo.csv": b"path,name\n1,2\n3,4\n"})
    assert [entry.name for entry in list_entries(tmp_path)] == ["zoo.csv"]


def test_probe_sets_beside_models_are_named(tmp_path: Path) -> None:
    ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8)).save(tmp_path / ".probes")
    assert passed(tmp_path) == {".probes": "probes"}
