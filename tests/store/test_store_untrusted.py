"""Stores from untrusted sources: schemas, rows, links and files of outputs."""

from __future__ import annotations

import os
import shutil

import pytest
import safetensors.numpy
import torch
from support.store_folders import change, statuses
from support.store_models import result, sha

from sac_fast.errors import StoreError
from sac_fast.store import ModelStore, check_store
from sac_fast.store.codec import decode, encode


@pytest.mark.parametrize(
    ("change_it", "match"),
    [
        ("PRAGMA user_version=3", "schema version 1 … 2, got 3, of a newer"),
        ("PRAGMA user_version=0", "schema version 1 … 2, got 0, of an older"),
        ("PRAGMA application_id=7", "another program"),
        ("CREATE VIEW v AS SELECT 1", "no others.*VIEW"),
        ("CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM models; END", "no others.*TRIGGER"),
        ("CREATE TABLE extra (x)", "no others"),
        ("ALTER TABLE models ADD COLUMN x AS (1)", "no others"),
        ("DROP TABLE distances", "no others"),
    ],
)
def test_other_schemas_are_refused(folder, change_it, match):
    change(folder, change_it)
    for options in ({"write": False}, {"write": True}):
        with pytest.raises(StoreError, match=match):
            ModelStore.open(folder, **options)
    before = (folder / "zoo.sqlite").read_bytes()
    with pytest.raises(StoreError, match=match):  # nor does a repair throw away what it does not understand
        check_store(folder, repair=True)
    assert (folder / "zoo.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    "hostile",
    [
        "outputs_file = '../../../../etc/passwd'",
        "outputs_file = '/etc/passwd'",
        "outputs_file = x'00'",
        "outputs_file = 5",
        "outputs_file = char(0) || 'a'",
        "outputs_file = 'ab' || char(0)",
        "n = 1 << 60",
        "n = -1",
        "k = 'x'",
        "n = 18, k = 1",
    ],
)
def test_hostile_results(folder, hostile):
    change(folder, f"UPDATE results SET {hostile} WHERE key LIKE '%{sha(2)}%'")
    with ModelStore.open(folder, write=False) as store, pytest.raises(StoreError, match="damaged"):
        _ = [store.outputs(record) for record in store.records(status="done")]
    check_repairs(folder)


@pytest.mark.parametrize("hostile", ["key = '{}'", "key = zeroblob(1000000)"])
def test_keys_are_those_of_the_files_whatever_a_row_says(folder, hostile):
    before = outputs_of(folder)
    change(folder, f"UPDATE results SET {hostile} WHERE key LIKE '%{sha(2)}%'")
    assert all(torch.equal(outputs, before[name]) for name, outputs in outputs_of(folder).items())
    check_repairs(folder)


def outputs_of(folder):
    with ModelStore.open(folder, write=False) as store:
        return {record.name: store.outputs(record) for record in store.records(status="done")}


def check_repairs(folder):
    assert not check_store(folder).clean
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean
    assert set(statuses(folder)) >= {"model-0001", "model-0003", "model-0004"}


@pytest.mark.parametrize(
    "hostile",
    [
        "name = x'ff00'",
        "status = 'wonderful'",
        "status = 'done', digest = NULL",
        "details = '[]'",
        "details = '{}'",
        "details = 'nonsense'",
        "details = '" + "[" * 50_000 + "'",
        "details = replace(details, '\"kwargs\":{}', '\"kwargs\":[]')",
        "details = replace(details, '\"tags\":[]', '\"tags\":5')",
        "details = CAST(zeroblob(3000000) AS TEXT)",
        "reason = zeroblob(10)",
        "message = x'41'",
        "probe_hash = '../../x'",
        "name = CAST(x'ff' AS TEXT)",
    ],
)
def test_hostile_models(folder, hostile):
    change(folder, f"UPDATE models SET {hostile} WHERE name = 'model-0002'")
    with ModelStore.open(folder, write=False) as store, pytest.raises(StoreError, match="damaged"):
        list(store.records())
    assert not check_store(folder).clean
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean
    assert set(statuses(folder)) >= {"model-0001", "model-0003", "model-0004"}


@pytest.mark.parametrize(
    "name", ["zoo.sqlite", "zoo.sqlite-wal", "zoo.sqlite-shm", "outputs", "incoming", "writer.lock"]
)
def test_links_in_the_store_are_not_followed(folder, name):
    path = folder / name
    target = folder.parent / "target"
    if path.is_dir():
        shutil.move(path, target)
    else:
        target.write_bytes(path.read_bytes() if path.exists() else b"")
        path.unlink(missing_ok=True)
    path.symlink_to(target)
    with pytest.raises(StoreError):
        ModelStore.open(folder, write=True)


@pytest.mark.parametrize("name", ["zoo.sqlite", "zoo.sqlite-wal", "zoo.sqlite-shm", "outputs", "writer.lock"])
def test_pipes_in_the_store_are_refused(folder, name):
    """Opened as files they would wait forever."""
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(StoreError):
        ModelStore.open(folder, write=True)
    with pytest.raises(StoreError):
        check_store(folder, repair=True)


def test_a_repair_does_not_write_through_a_lock_that_is_a_hard_link(folder):
    letter, lock = folder.parent / "letter", folder / "writer.lock"
    letter.write_bytes(b"a letter to mother, longer than any id\n")
    lock.unlink(missing_ok=True)
    os.link(letter, lock)
    with pytest.raises(StoreError, match="must be a file of its own"):
        check_store(folder, repair=True)
    assert letter.read_bytes() == b"a letter to mother, longer than any id\n"


def test_a_rollback_journal_is_refused(folder):
    """SQLite would play it back, and delete a file that it names, merely to read."""
    (folder / "zoo.sqlite-journal").write_bytes(b"x")
    with pytest.raises(StoreError, match="journal"):
        ModelStore.open(folder, write=False)


def test_files_of_outputs_are_distrusted():
    good = encode(*(result(1)[i] for i in (0, 2)))
    key, outputs = decode(good)
    assert key == result(1)[0]
    assert outputs.tolist() == result(1)[2].tolist()
    length = int.from_bytes(good[:8], "little")
    header, data = good[8 : 8 + length], good[8 + length :]

    def file(text: bytes, rest: bytes = data) -> bytes:
        return len(text).to_bytes(8, "little") + text + rest

    assert decode(file(header))[0] == key
    for bad in (
        b"",
        b"12345678",
        b"\xff" * 100,
        file(b"{}"),
        file(b"[" * 100_000),
        file(header, data[:-1]),
        file(header, data + b"1"),
        file(header.replace(b"F32", b"F64")),
        file(header.replace(b"F32", b"I32")),
        file(header.replace(b"[6,3]", b"[6,4]")),
        file(header.replace(b"[6,3]", b"[-6,-3]")),
        file(header.replace(b"[6,3]", b"[18]")),
        file(header.replace(b"[0,72]", b"[4,76]")),
        file(header.replace(b"zoo outputs", b"zoo_outputs")),
        file(header.replace(b"float32", b"float32\\")),
        safetensors.numpy.save({"outputs": outputs}),
    ):
        assert bad != good
        with pytest.raises(ValueError, match=r"header|shape|bytes"):
            decode(bad)


def test_an_error_that_quotes_bytes_of_the_file_is_a_damaged_store(folder):
    path = folder / "zoo.sqlite"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE models", b"CREAT\x9b TABLE models", 1))
    assert path.read_bytes() != data
    for options in ({"write": False}, {"write": True}):
        with pytest.raises(StoreError, match="damaged or cannot be read"):
            ModelStore.open(folder, **options)
