"""The store: what goes in comes out, once, and in one order."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support.store_folders import blobs
from support.store_models import PROBES, model, result, sha

from sac_fast.store import (
    FileStamp,
    ModelRecord,
    ModelStore,
    ResultKey,
    check_store,
    export_distances,
    export_models,
    source_id,
)


def test_round_trip(store):
    key, record, outputs = result(7)
    record = dataclasses.replace(
        record,
        tags=("independent",),
        file=FileStamp("f", 1, 2, 3, 4),
        request="r",
        seconds=0.5,
        kwargs={"b": 1, "a": [2]},
        path="/hub/models--own--net/snapshots/" + "3" * 40 + "/model.safetensors",
        file_sha256="sha256:" + "6" * 64,
    )
    store.add_results([(key, record, outputs)])
    found = store.record_for("model-0007")
    assert found == dataclasses.replace(record, n=6, k=3, outputs_file=found.outputs_file)
    assert store.result_for(key) == found
    np.testing.assert_array_equal(store.outputs(found).numpy(), outputs.numpy())
    made = store.fingerprint(found)
    assert (made.name, made.model_hash, made.probe_hash) == ("model-0007", record.model_hash, PROBES)
    assert made.provenance["file"] == {
        "name": "model.safetensors",
        "sha256": "sha256:" + "6" * 64,
        "url": "https://huggingface.co/own/net",
        "revision": "3" * 40,
    }


def test_key_digest_is_sha256_of_canonical_json():
    key = ResultKey("sha256:" + "1" * 64, "", None, "sha256:" + "2" * 64, "", "v", "float32")
    text = (
        '{"architecture":"","code_version":"v","dtype":"float32","model_hash":"sha256:' + "1" * 64 + '",'
        '"output":null,"preprocessing_hash":"","probe_hash":"sha256:' + "2" * 64 + '"}'
    )
    assert key.digest == hashlib.sha256(text.encode()).hexdigest()
    assert ResultKey.from_json(text) == key


@pytest.mark.parametrize(
    "field", ["model_hash", "architecture", "output", "probe_hash", "preprocessing_hash", "code_version", "dtype"]
)
def test_every_field_of_the_key_counts(store, field):
    key, record, outputs = result(1)
    store.add_results([(key, record, outputs)])
    value = sha("other") if field.endswith("hash") else "other"
    assert store.has_result(key)
    assert not store.has_result(dataclasses.replace(key, **{field: value}))


def test_adding_again_changes_nothing(store):
    key, record, outputs = result(1)
    assert store.add_results([(key, record, outputs), (key, record, outputs + 1)]) == 1
    before = blobs(store.folder)
    assert store.add_results([(key, record, outputs + 2)]) == 0
    assert blobs(store.folder) == before
    assert len(before) == 1
    np.testing.assert_array_equal(store.outputs(store.record_for(record.name)).numpy(), outputs.numpy())


def test_a_copy_under_another_name_shares_the_result(store):
    key, record, outputs = result(1)
    store.add_results([(key, record, outputs)])
    assert store.add_results([(key, dataclasses.replace(record, name="copy"), outputs)]) == 0
    assert [found.name for found in store.records()] == ["copy", "model-0001"]
    assert len(blobs(store.folder)) == 1
    assert store.remove("copy") == 1
    assert check_store(store).clean
    assert store.remove("model-0001") == 1
    assert blobs(store.folder) == {}


def test_batches_and_pages(store, monkeypatch):
    monkeypatch.setattr("sac_fast.store.store._MAX_BATCH_RESULTS", 20)
    monkeypatch.setattr("sac_fast.store.queries._PAGE", 7)
    assert store.add_results(result(i, 2, 2) for i in range(50)) == 50
    assert [record.name for record in store.records()] == [f"model-{i:04}" for i in range(50)]


def test_failure_and_retry(store):
    store.add_failure(model(1), "timeout", "x" * 10_000)
    found = store.record_for("model-0001")
    assert (found.status, found.reason, found.outputs_file) == ("failed", "timeout", None)
    assert len(found.message) <= 4096
    assert [record.name for record in store.records(status="failed")] == ["model-0001"]
    assert store.result_for(model(1).key) is None
    store.add_results([result(1)])
    found = store.record_for("model-0001")
    assert (found.status, found.reason, found.message) == ("done", None, None)


def test_what_is_known_of_an_unchanged_file(store, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    stamp = FileStamp.of(path)
    assert stamp.size == 3
    key, record, outputs = result(1)
    store.add_results([(key, dataclasses.replace(record, file=stamp, request="a"), outputs)])
    assert store.records_for([record.name], sha("other")) == {}
    known = store.records_for([record.name, "nobody"], PROBES)
    assert list(known) == [record.name]
    assert known[record.name].is_unchanged(FileStamp.of(path), "a")
    assert not known[record.name].is_unchanged(stamp, "b")
    mtime = path.stat().st_mtime_ns
    path.write_bytes(b"abd")
    os.utime(path, ns=(mtime, mtime))  # the size and the time of the content are as they were
    assert not known[record.name].is_unchanged(FileStamp.of(path), "a")


def test_records_of_more_names_than_a_query_takes(store):
    store.add_results([result(number) for number in (1, 2, 3)])
    names = [f"nobody-{number}" for number in range(1200)]
    names[5:5], names[700:700], names[1100:1100] = ["model-0001"], ["model-0002"], ["model-0003"]
    assert sorted(store.records_for(names, PROBES)) == ["model-0001", "model-0002", "model-0003"]


def test_changed_model_keeps_the_old_result_until_it_is_removed(store):
    store.add_results([result(1)])
    other = model(1, model_hash=sha("changed"))
    store.add_results([(other.key, other, torch.ones(6, 3))])
    assert [record.model_hash for record in store.records()] == [sha("changed")]
    assert store.has_result(model(1).key)
    report = check_store(store)
    assert report.clean
    assert "1 results belong to no model" in report.notes[0]
    assert store.remove_unused() == 1
    assert not store.has_result(model(1).key)
    assert len(blobs(store.folder)) == 1


def test_wrong_values_are_refused(store):
    key, _, outputs = result(1)
    with pytest.raises(ValueError, match="key must be that of the record"):
        store.add_results([(key, model(2), outputs)])
    for changes in (
        {"name": ""},
        {"name": "x" * 5000},
        {"probe_hash": "x"},
        {"n": True},
        {"tags": (1,)},
        {"status": "?"},
    ):
        with pytest.raises(ValueError, match=next(iter(changes))):
            model(1, **changes)


def test_exports_and_files_do_not_depend_on_the_order(tmp_path):
    names = ["b", "a", "é", "Z", "=1+1", "x\x1b[31m\u202e\n", os.fsdecode(b"\xff.pt"), "'q", "-2"]
    exports = []
    for order in (range(len(names)), reversed(range(len(names)))):
        with ModelStore.open(tmp_path / f"zoo{len(exports)}", write=True, create=True) as store:
            for i in order:
                key, record, outputs = result(i)
                store.add_results(
                    [(key, dataclasses.replace(record, name=names[i], seconds=float(len(exports))), outputs)]
                )
            source = store.fingerprint(store.record_for("a"))
            store.add_distances(source, "cosine", "l1", [(model(i).key, i / 8) for i in range(len(names))])
            for file in ("t.csv", "t.parquet"):
                assert export_models(store, tmp_path / file) == len(names)
                assert export_distances(store, tmp_path / f"d{file}") == len(names)
            files = [(tmp_path / name).read_bytes() for name in ("t.csv", "t.parquet", "dt.csv", "dt.parquet")]
            exports.append((blobs(store.folder), files))
    assert exports[0] == exports[1]
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text("utf-8").splitlines()))
    by_bytes = sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass"))
    expected = {"=1+1": "'=1+1", "-2": "'-2", "'q": "''q", names[5]: "x\\x1b[31m\\u202e\\n", names[6]: "\\udcff.pt"}
    assert [row["name"] for row in rows] == [expected.get(name, name) for name in by_bytes]
    assert rows[0]["n"] == "6"
    table = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["name"] == [name.replace("\udcff", "\\udcff") for name in by_bytes]
    assert table["k"] == [3] * len(names)
    with ModelStore.open(tmp_path / "zoo0", write=False) as store, pytest.raises(ValueError, match=r"\.csv or"):
        export_models(store, tmp_path / "t.xlsx")


def test_names_of_any_text_come_back(store):
    for i, name in enumerate(
        ["a\0b", os.fsdecode(b"\xff\xfe"), "\ud800", "💥", "../../etc/passwd", "'; DROP TABLE models; --"]
    ):
        key, record, outputs = result(i)
        store.add_results([(key, dataclasses.replace(record, name=name, path=name), outputs)])
        assert store.record_for(name).path == name
        assert store.remove(name) == 1


def test_distances(store):
    for i in range(3):
        store.add_results([result(i)])
    source = store.fingerprint(store.record_for("model-0000"))
    keys = [model(i).key for i in range(3)]
    store.add_distances(source, "cosine", "l1", [(keys[0], 0.0), (keys[2], 0.25)])
    store.add_distances(source, "pearson", "l1", [(keys[2], 0.5)])
    assert [(d.name, d.distance) for d in store.distances(source, metric="cosine")] == [
        ("model-0000", 0.0),
        ("model-0002", 0.25),
    ]
    assert store.missing_distances(source, "cosine", "l1", keys) == [keys[1]]
    assert {d.source for d in store.distances()} == {source_id(source)}
    with pytest.raises(ValueError, match="finite"):
        store.add_distances(source, "cosine", "l1", [(keys[1], float("nan"))])
    with pytest.raises(ValueError, match="must have outputs"):
        store.add_distances(source, "cosine", "l1", [(keys[1], 0.5), (model(9).key, 0.5)])
    assert store.missing_distances(source, "cosine", "l1", keys) == [keys[1]]
    store.remove("model-0002")
    assert [d.name for d in store.distances()] == ["model-0000"]


def test_json_of_ls_makes_the_record_again(run, store):
    store.add_results([result(1)])
    code, out, _ = run("store", "ls", store.folder, "--json")
    assert code == 0
    (found,) = json.loads(out)["models"]
    assert ModelRecord(**found).key == model(1).key
