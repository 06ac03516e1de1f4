"""A second file of a name that the store knows: both are kept, and the first one's outputs stay what they are."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from support.scan_runs import PROBES, SETTINGS

from sac_fast.models import ModelEntry
from sac_fast.scan.known_names import is_of_file, name_with_path, stamp_of
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelRecord, ModelStore

HASH = PROBES.content_hash


@pytest.fixture
def places(tmp_path):
    """The owner's folder, and a suspect's with other outputs under the same names."""
    for seed, place in enumerate(("own", "suspect")):
        (tmp_path / place).mkdir()
        rng = np.random.default_rng(seed)
        for name in ("source", "other"):
            np.save(tmp_path / place / f"{name}.npy", rng.normal(size=(6, 4)))
    return tmp_path


@pytest.fixture
def run(pool):
    return lambda models, store, **options: scan(models, PROBES, store, workers=pool, settings=SETTINGS, **options)


def outputs(store, name):
    with ModelStore.open(store, write=False) as opened:
        record = opened.record_for(name)
        return None if record is None else opened.outputs(record).numpy()


def test_a_second_file_of_a_known_name_replaces_nothing(places, run):
    store = places / "store"
    assert run(places / "own", store).renamed == 0
    before = outputs(store, "source.npy")
    events = []
    summary = run(places / "suspect", store, sources=["source.npy"], on_event=events.append)
    assert (summary.done, summary.renamed) == (2, 2)
    np.testing.assert_array_equal(outputs(store, "source.npy"), before)
    new = f"./source.npy of {places}/suspect/source.npy"
    np.testing.assert_array_equal(outputs(store, new), np.load(places / "suspect" / "source.npy"))
    # The source by that name is the owner's, though the folder has one of its own.
    assert {event["name"]: event["distances"]["source.npy"] > 0.01 for event in events} == {
        new: True,
        f"./other.npy of {places}/suspect/other.npy": True,
    }
    again = run(places / "suspect", store, sources=["source.npy"])
    assert (again.done, again.known, again.renamed) == (0, 2, 2)
    assert run(places / "own", store, sources=["source.npy"]).known == 2


def test_the_user_may_have_it_replaced(places, run):
    store = places / "store"
    run(places / "own", store)
    summary = run(places / "suspect", store, replace=True)
    assert (summary.done, summary.renamed) == (2, 0)
    np.testing.assert_array_equal(outputs(store, "source.npy"), np.load(places / "suspect" / "source.npy"))


def test_the_same_file_is_known_by_any_path(places, run, monkeypatch):
    store = places / "store"
    monkeypatch.chdir(places)
    run("own", store)
    (places / "link").symlink_to("own")
    assert run(places / "own", store).known == 2
    for place in ("./own", "link", "suspect/../own"):
        summary = run(place, store)
        assert (summary.renamed, summary.done + summary.known) == (0, 2), place
    os.rename("own", "moved")  # the files in it keep their stamps
    assert run("moved", store).renamed == 0
    # The same relative path from another folder is another file.
    (places / "elsewhere").mkdir()
    shutil.copytree(places / "suspect", places / "elsewhere" / "moved")
    monkeypatch.chdir(places / "elsewhere")
    assert run("moved", store).renamed == 2


def test_a_changed_file_of_ones_own_is_run_again(places, run):
    store = places / "store"
    run(places / "own", store)
    new = np.random.default_rng(7).normal(size=(6, 4))
    (places / "own" / "source.npy").unlink()
    np.save(places / "own" / "source.npy", new)
    summary = run(places / "own", store)
    assert (summary.done, summary.known, summary.renamed) == (1, 1, 0)
    np.testing.assert_array_equal(outputs(store, "source.npy"), new)


def test_records_of_earlier_versions_and_of_failures(places):
    path = places / "own" / "source.npy"
    stamp = stamp_of(path)
    record = ModelRecord(name="source.npy", path="own/source.npy", probe_hash=HASH, status="redo")
    assert not is_of_file(record, path, stamp)  # a relative path may have been relative to any folder
    assert is_of_file(dataclasses.replace(record, file=dataclasses.replace(stamp, path="own/source.npy")), path, stamp)
    assert is_of_file(dataclasses.replace(record, status="failed"), path, stamp)
    assert is_of_file(dataclasses.replace(record, path=str(path)), path, None)


def test_names_with_paths_fit_into_a_store(tmp_path):
    entry = ModelEntry("n" * 4000, tmp_path / ("p" * 200))
    name = name_with_path(entry)
    assert name.startswith("./nnn")
    assert len(name) == 2 + 1000 + 4 + 64
    assert name != name_with_path(dataclasses.replace(entry, path=tmp_path / "q"))
    assert name_with_path(ModelEntry("a", tmp_path / os.fsdecode(b"\xff"))) == f"./a of {tmp_path}/\\xff"
