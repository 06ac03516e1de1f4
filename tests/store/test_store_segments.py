"""Segments: small outputs many in a file; additions that were stopped, removed records, damage, and earlier stores."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from support.store_folders import blobs, change, statuses
from support.store_models import model, result

from sac_fast.errors import StoreError
from sac_fast.store import ModelStore, additions, check_store, segments


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").iterdir())


def outputs(folder: Path) -> dict[str, list[list[float]]]:
    with ModelStore.open(folder, write=False) as store:
        records = list(store.records(status="done"))
        return {one.name: array.tolist() for one, array in zip(records, store.output_arrays(records), strict=True)}


def expected(*numbers: int) -> dict[str, list[list[float]]]:
    return {f"model-{number:04}": result(number)[2].tolist() for number in numbers}


def test_many_batches_are_one_file_and_large_outputs_are_their_own(store):
    for start in range(0, 60, 20):
        store.add_results([result(number) for number in range(start, start + 20)])
    large = torch.arange(100_000, dtype=torch.float32).reshape(1000, 100)
    store.add_results([(model(99).key, model(99), large), result(98)])
    assert files(store.folder) == ["00000001.seg"]
    assert len(list((store.folder / "outputs").rglob("*.safetensors"))) == 1
    assert len(blobs(store.folder)) == 62
    assert torch.equal(store.outputs(store.record_for("model-0099")), large)
    assert outputs(store.folder).items() >= expected(*range(60), 98).items()
    assert check_store(store).clean
    assert not (store.folder / "incoming" / "addition.json").exists()


def test_full_segments_get_no_more(store, monkeypatch):
    monkeypatch.setattr(segments, "_FULL", 4000)
    for number in range(12):
        store.add_results([result(number)])
    assert len(files(store.folder)) > 1
    assert outputs(store.folder) == expected(*range(12))


def stop_before_the_commit(folder: Path, packed: list[int], large: int | None = None) -> None:
    """What a writer leaves behind that is killed between its bytes and its rows."""
    pid = os.fork()
    if pid == 0:
        try:
            with ModelStore.open(folder, write=True) as store, store.writing():
                some = [additions_of(number) for number in packed]
                store.add_blobs(some if large is None else [*some, large_blob(large)])
                os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 9


def additions_of(number: int) -> bytes:
    from sac_fast.store.codec import encode

    return encode(model(number).key, result(number)[2].numpy())


def large_blob(number: int) -> bytes:
    from sac_fast.store.codec import encode

    return encode(model(number).key, np.ones((1000, 100), np.float32))


@pytest.mark.parametrize("packed", [[11, 12], []])
def test_the_next_writer_takes_back_what_was_not_committed(folder, packed):
    before = blobs(folder)
    size = (folder / "segments" / "00000001.seg").stat().st_size
    stop_before_the_commit(folder, packed, 13)
    assert len(blobs(folder)) == len(before) + len(packed) + 1
    assert {found.kind for found in check_store(folder).findings} == {"left-over", "orphaned"}
    ModelStore.open(folder, write=True).close()
    assert blobs(folder) == before
    assert (folder / "segments" / "00000001.seg").stat().st_size == size
    assert check_store(folder).clean
    with ModelStore.open(folder, write=True) as store:
        store.add_results([result(number) for number in (11, 12, 13)])
    assert outputs(folder) == expected(1, 2, 3, 11, 12, 13)


def test_what_was_committed_stays_where_only_the_note_of_it_was_left(folder):
    note = b'{"parts":[[1,0,["' + b"a" * 64 + b'"]],[7,0,["../x"]],[true,-1,[]],5]}'
    for content in (note, note[:30], b"[]", b"\xff"):
        (folder / "incoming" / "addition.json").write_bytes(content)
        ModelStore.open(folder, write=True).close()
        assert outputs(folder) == expected(1, 2, 3)
        assert check_store(folder).clean


def test_a_repair_takes_back_too_but_with_a_lost_database_takes_up(folder):
    stop_before_the_commit(folder, [11])
    assert check_store(folder, repair=True).sound
    assert len(blobs(folder)) == 3
    stop_before_the_commit(folder, [11])
    (folder / "zoo.sqlite").unlink()
    report = check_store(folder, repair=True)
    assert [found.kind for found in report.findings] == ["database", *["orphaned"] * 4]
    assert check_store(folder).clean
    with ModelStore.open(folder, write=True) as store:
        assert all(store.has_result(model(number).key) for number in (1, 2, 3, 11))


def test_removed_outputs_are_no_orphans_and_leave_no_file(folder, monkeypatch):
    with ModelStore.open(folder, write=True) as store:
        store.remove("model-0002")
    assert len(blobs(folder)) == 2
    assert check_store(folder).clean
    with ModelStore.open(folder, write=True) as store:
        store.remove("model-0001")
        store.remove("model-0003")
    assert files(folder) == []
    assert check_store(folder).clean


def test_sparse_segments_are_written_anew(store, monkeypatch):
    monkeypatch.setattr(segments, "_FULL", 2000)
    store.add_results([result(number) for number in range(8)])
    store.add_results([result(number) for number in range(8, 10)])
    assert files(store.folder) == ["00000001.seg", "00000002.seg"]
    for number in range(6):
        store.remove(f"model-{number:04}")
    assert files(store.folder) == ["00000002.seg"]
    assert outputs(store.folder) == expected(6, 7, 8, 9)
    assert check_store(store).clean


@pytest.mark.parametrize("damage", ["bit", "header", "short", "missing", "link", "pipe", "tail"])
def test_damaged_segments_lose_what_is_damaged_and_nothing_else(folder, damage):
    path = folder / "segments" / "00000001.seg"
    data = bytearray(path.read_bytes())
    step = len(data) // 3  # three records of one length
    at = {"bit": 2 * step - 1, "header": step}.get(damage)
    if damage == "tail":
        path.write_bytes(data + b"x" * 100)
    elif damage == "short":
        path.write_bytes(data[: 2 * step + 60])
    elif at is not None:
        data[at - 8 if damage == "bit" else at] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
        if damage == "link":
            (folder.parent / "secret").write_bytes(data)
            path.symlink_to(folder.parent / "secret")
        elif damage == "pipe":
            os.mkfifo(path)
    lost = {"bit": 1, "short": 1, "missing": 3, "link": 3, "pipe": 3}.get(damage, 0)
    assert not check_store(folder).clean
    report = check_store(folder, repair=True)
    assert report.sound
    assert check_store(folder).clean
    assert sum(status == "redo" for status in statuses(folder).values()) == lost
    with ModelStore.open(folder, write=True) as store:
        store.add_results([result(number) for number in (1, 2, 3)])
    assert outputs(folder) == expected(1, 2, 3)
    if damage == "link":
        assert (folder.parent / "secret").read_bytes() == data


@pytest.mark.parametrize("value", ["segment = '../1'", "segment = -1", "start = 0", "length = 1 << 40", "start = 1.5"])
def test_hostile_places_are_refused(folder, value):
    change(folder, f"UPDATE segments SET {value} WHERE start = 48")
    with ModelStore.open(folder, write=False) as store, pytest.raises(StoreError, match="missing or damaged"):
        list(store.output_arrays(store.records(status="done")))
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean


def test_foreign_files_and_places_without_results(folder):
    (folder / "segments" / "note.txt").write_text("?")
    change(folder, f"INSERT INTO segments VALUES ('{'a' * 64}', 1, 48, 9)")
    assert sorted(found.kind for found in check_store(folder).findings) == ["foreign", "row"]
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean


def make_earlier(folder: Path) -> None:
    """A store as the first version wrote it."""
    change(folder, "DROP INDEX segments_in_order", "DROP TABLE segments", "PRAGMA user_version=1")
    (folder / "segments").rmdir()


def test_stores_of_the_first_version_are_read_as_they_are_and_grow(tmp_path, monkeypatch):
    folder = tmp_path / "zoo"
    with monkeypatch.context() as patch:
        patch.setattr(additions, "_MAX_PACKED", 0)
        with ModelStore.open(folder, write=True, create=True) as store:
            store.add_results([result(1), result(2)])
    make_earlier(folder)
    assert outputs(folder) == expected(1, 2)
    assert check_store(folder).clean
    assert not (folder / "segments").exists()
    with ModelStore.open(folder, write=True) as store:
        store.add_results([result(3)])
        store.remove("model-0001")
    assert outputs(folder) == expected(2, 3)
    assert check_store(folder).clean
    assert sqlite3.connect(folder / "zoo.sqlite").execute("PRAGMA user_version").fetchone() == (2,)
    assert files(folder) == ["00000001.seg"]


def test_repair_keeps_outputs_whose_record_states_another_length(tmp_path):
    """The place of a result is in the database too: what lies behind a damaged length is not cut off."""
    place = tmp_path / "store"
    with ModelStore.open(place, write=True, create=True) as store:
        store.add_results([result(1)])
    (path,) = (place / "segments").iterdir()
    content = bytearray(path.read_bytes())
    content[8:16] = (1).to_bytes(8, "little")
    path.write_bytes(content)
    assert not check_store(place).clean
    check_store(place, repair=True)
    assert check_store(place).clean
    with ModelStore.open(place, write=False) as store:
        (record,) = store.records()
        assert torch.equal(store.outputs(record), result(1)[2])
