"""Known models are recognised without a record or a job of each, and a scan with nothing to do imports no torch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sac_fast.models import ModelEntry, Preprocessing, TableFormat
from sac_fast.scan import unchanged
from sac_fast.scan.arguments import listing_of
from sac_fast.scan.jobs import Job, WorkerSettings, code_version, request_hash
from sac_fast.scan.run import scan_models
from sac_fast.scan.unchanged import UnchangedModels
from sac_fast.store import FileStamp, ModelRecord, ModelStore

PROBES = "sha256:" + "6" * 64
SETTINGS = WorkerSettings()
CODE = code_version("cpu", SETTINGS)
NAMES = ["a.npy", "b.npy", "sub/c.npy", "z é\u4e2d.npy", 'q"uote\\.npy']


def record_of(entry: ModelEntry, **changes: object) -> ModelRecord:
    """The record that a scan of recorded outputs writes."""
    values = {
        "name": entry.name,
        "path": str(entry.path),
        "probe_hash": PROBES,
        "model_hash": "sha256:" + f"{sum(entry.name.encode()):064x}",
        "format": "npy",
        "file": FileStamp.of(entry.path),
        "request": request_hash(Job(0, SETTINGS.prepared(entry)), SETTINGS, CODE),
    }
    return ModelRecord(**{**values, **changes})


@pytest.fixture
def scanned(tmp_path):
    """A folder of files, and a store with the rows of a scan of them."""
    models = tmp_path / "models"
    for name in NAMES:
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")
    entries = listing_of(models, None, SETTINGS).entries
    assert sorted(entry.name for entry in entries) == sorted(NAMES)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        put(store, [record_of(entry) for entry in entries])
        yield store, entries


def put(store: ModelStore, records: list[ModelRecord]) -> None:
    store.add_results([(record.key, record, np.eye(4, 3, dtype=np.float32)) for record in records])


def find(store: ModelStore, entries: list[ModelEntry], **changes: object) -> set[str]:
    settings = dataclasses.replace(SETTINGS, **changes)
    return UnchangedModels(store, PROBES, settings, CODE).find(entries)


def test_unchanged_models_are_found_and_others_are_not(scanned):
    store, entries = scanned
    assert find(store, entries) == set(NAMES)
    by_name = {entry.name: entry for entry in entries}
    assert find(store, entries, timeout=7.0) == set(NAMES)
    for change in ({"batch_size": 3}, {"dtype": "float64"}, {"preprocessing": Preprocessing(std=(0.5,))}):
        assert find(store, entries, **change) == set()
    for change in ({"output": 1}, {"tags": ("own",)}, {"table": TableFormat(header=True)}, {"claims": {"name": "x"}}):
        assert find(store, [dataclasses.replace(by_name["a.npy"], **change), by_name["b.npy"]]) == {"b.npy"}
    os.utime(by_name["a.npy"].path, (1, 1))
    by_name["b.npy"].path.unlink()
    assert find(store, entries) == set(NAMES) - {"a.npy", "b.npy"}


def test_models_of_which_there_is_something_to_say_are_looked_at(scanned):
    store, entries = scanned
    for name, changes in (("a.npy", {"message": "rows were taken for columns"}), ("b.npy", {"tags": ("source",)})):
        put(store, [record_of(next(entry for entry in entries if entry.name == name), **changes)])
    store.add_failure(record_of(next(entry for entry in entries if entry.name == "sub/c.npy")), "timed-out", "slow")
    assert find(store, entries) == {"z é\u4e2d.npy", 'q"uote\\.npy'}


def test_a_store_of_many_others_gives_the_same(scanned):
    store, entries = scanned
    put(store, [record_of(entries[0], name=f"m{number:03}") for number in range(100)])
    assert find(store, entries) == set(NAMES)
    assert find(store, entries[:1]) == {entries[0].name}


def test_more_names_than_a_query_takes(scanned, monkeypatch):
    store, entries = scanned
    put(store, [record_of(entries[0], name=f"m{number:03}") for number in range(100)])
    monkeypatch.setattr(unchanged, "_MAX_NAMES", 2)
    assert find(store, entries) == set(NAMES)


def test_entries_of_several_folders_and_kinds_in_turn(scanned):
    """What was found for one is not taken for the next, whose request differs."""
    store, entries = scanned
    other = [dataclasses.replace(entry, output=1) for entry in entries]
    moved = [entry.at(entry.name, entry.path, entry.path.parent) for entry in entries]
    for some in (other, moved):
        mixed = [one for pair in zip(entries[::2], some[1::2], strict=False) for one in pair]
        for asked in (mixed, some):
            assert find(store, asked) == {e.name for e in asked if e.root == entries[0].root and e.output is None}


def test_quiet_and_full_reports_count_the_same(scanned):
    store, entries = scanned
    events: list[dict[str, object]] = []
    quiet = scan_models(entries, PROBES, store, on_event=events.append, known_events=False, workers=1)
    assert events == []
    full = scan_models(entries, PROBES, store, on_event=events.append, workers=1)
    assert [event["name"] for event in events] == [entry.name for entry in entries]
    assert all(event["known"] for event in events)
    assert (quiet.known, quiet.done, quiet.failed) == (full.known, full.done, full.failed) == (len(NAMES), 0, 0)
    assert set(quiet.phases) == {"start", "load", "run", "correlate", "store"}


def test_a_scan_with_nothing_to_do_imports_no_torch(scanned):
    store, _ = scanned
    folder = store.folder
    store.close()
    (folder.parent / "models" / "README.md").write_text("what lies here")
    code = (
        "import sys\n"
        "from sac_fast.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = [name for name in ('torch', 'scipy.stats', 'sklearn', 'PIL') if name in sys.modules]\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    words = ["scan", folder.parent / "models", "--store", folder, "--probe-hash", PROBES, "--quiet"]
    for more in ([], ["--json"]):
        command = [sys.executable, "-c", code, *map(str, words), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)
        assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["known"], summary["passed_over"]) == (len(NAMES), {"a text": 1})
