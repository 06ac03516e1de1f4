"""Death at any moment, a full disk, a failing fsync: the old or the new state, and a clear message."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.store_folders import blobs
from support.store_models import model, result

from sac_fast.errors import StoreError
from sac_fast.store import ModelStore, additions, check_store

TESTS = Path(__file__).parents[1]


def kill_loop(folder: Path, kills: int, seed: int) -> dict[str, int]:
    # -P: the working folder, where the sources may lie without the compiled module, stays off the path.
    command = [sys.executable, "-P", "-m", "support.store_kill_loop", str(folder), str(kills), str(seed)]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, timeout=570, env=environment)
    assert done.returncode == 0, done.stderr
    assert (folder / "killed.csv").read_bytes() == (folder / "undisturbed.csv").read_bytes()
    trees = [blobs(folder / name) for name in ("killed", "undisturbed")]
    assert trees[0] == trees[1]
    assert trees[0]
    return json.loads(done.stdout)


def test_kills_lose_nothing_that_was_acknowledged(tmp_path):
    found = kill_loop(tmp_path, 30, 0)
    assert found["acknowledged"] > 0
    assert (found["lost"], found["unclean"]) == (0, 0)


@pytest.mark.slow
def test_many_kills(tmp_path):
    found = kill_loop(tmp_path, 400, 1)
    assert found["torn"] > 0  # some kills did hit between file and row, else the test shows little
    assert (found["lost"], found["unclean"]) == (0, 0)


@pytest.fixture
def folder(tmp_path):
    with ModelStore.open(tmp_path / "zoo", write=True, create=True) as store:
        store.add_results([result(1), result(2)])
    return tmp_path / "zoo"


def names(folder: Path) -> list[int]:
    with ModelStore.open(folder, write=False) as store:
        for record in store.records():
            assert store.outputs(record).shape == (6, 3)
        return [int(record.name[-4:]) for record in store.records()]


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("rename", errno.EIO)])
def test_each_failing_call_leaves_the_old_state(folder, monkeypatch, call, code, count, is_packed):
    if not is_packed:
        monkeypatch.setattr(additions, "_MAX_PACKED", 0)
    real = getattr(os, call)
    failures = 0
    for at in range(100):
        calls = iter(range(10**6))

        def failing(*arguments, at=at, calls=calls, **keywords):
            if next(calls) == at:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **keywords)

        with ModelStore.open(folder, write=True) as store:
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing)
                message = ""
                try:
                    store.add_results([result(10 + i) for i in range(count)])
                except StoreError as error:
                    message = str(error)
            if not message:
                break
            failures += 1
            assert os.strerror(code) in message
            assert "reported as done are kept" in message
            with pytest.raises(StoreError, match="must be opened again"):
                store.add_results([result(20)])
        assert names(folder) == [1, 2]
        assert check_store(folder).clean
    assert failures >= (1 if is_packed else count)
    assert names(folder) == [1, 2, *range(10, 10 + count)]
    assert check_store(folder).clean


def test_short_writes_are_continued(folder, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:7])))
    with ModelStore.open(folder, write=True) as store:
        store.add_results([result(3)])
    assert check_store(folder).clean


def test_full_database(folder):
    with ModelStore.open(folder, write=True) as store:
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match="full"):
            store.add_results([result(100 + i) for i in range(60)])
    assert names(folder) == [1, 2]
    with ModelStore.open(folder, write=True) as store:
        assert store.add_results([result(100 + i) for i in range(60)]) == 60
    assert check_store(folder).clean


def test_limit_of_the_file_size(folder):
    """A limit that the kernel enforces: SQLite's own writes fail, not those of a patched function."""
    acknowledged = 10
    with ModelStore.open(folder, write=True) as store:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        try:
            message = ""
            while not message:
                try:
                    store.add_results([result(i) for i in range(acknowledged, acknowledged + 10)])
                    acknowledged += 10
                except StoreError as error:
                    message = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write to the store" in message
    assert names(folder) == [1, 2, *range(10, acknowledged)]
    assert {found.kind for found in check_store(folder).findings} <= {"orphaned"}
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean


def test_error_in_the_middle_of_a_batch_keeps_none_of_it(folder):
    wrong = (*result(4)[:2], torch.full((6, 3), float("inf")))
    with ModelStore.open(folder, write=True) as store:
        with pytest.raises(ValueError, match="finite"):
            store.add_results([result(3), wrong])
        assert store.record_for("model-0003") is None
        missing = (model(9).key, 0.5)
        source = store.fingerprint(store.record_for("model-0001"))
        with pytest.raises(ValueError, match="must have outputs"):
            store.add_distances(source, "cosine", "l1", [(model(1).key, 0.0), missing])
        assert list(store.distances()) == []
    assert names(folder) == [1, 2]


def test_death_while_the_store_is_made(tmp_path):
    for name in ("zoo.sqlite.new", "zoo.sqlite.new-journal", "zoo.sqlite.new-wal", "writer.lock"):
        (tmp_path / name).write_bytes(b"half")
    with ModelStore.open(tmp_path, write=True, create=True) as store:
        store.add_results([result(1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "incoming",
        "outputs",
        "segments",
        "writer.lock",
        "zoo.sqlite",
    ]


def test_a_forked_child_neither_uses_the_store_nor_keeps_its_lock(folder):
    code = (
        "import os, sys, time\n"
        "from sac_fast.store import ModelStore\n"
        "from sac_fast.errors import StoreError\n"
        "store = ModelStore.open(sys.argv[1], write=True)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: list(store.records())\n"
        "    except StoreError as error: os.write(1, b'%r\\n' % ('open it here again' in str(error)))\n"
        "    time.sleep(60)\n"
        "os.write(1, b'%d\\n' % pid)\n"
        "sys.stdin.read()\n"
        "os._exit(9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = sorted(process.stdout.readline().strip() for _ in range(2))
        process.stdin.close()
        process.wait()
        try:
            assert said[1] == "True"
            os.kill(int(said[0]), 0)  # the child lives
            ModelStore.open(folder, write=True).close()
        finally:
            os.kill(int(said[0]), 9)


def test_journal_mode_and_synchronous(folder):
    with ModelStore.open(folder, write=True) as store:
        assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert not (folder / "zoo.sqlite-journal").exists()
    with ModelStore.open(folder, write=False) as store, pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.connection.execute("DELETE FROM models")


def test_failure_is_durable_too(folder):
    with ModelStore.open(folder, write=True) as store:
        store.add_failure(model(5), "refused", "no")
    with ModelStore.open(folder, write=False) as store:
        assert [record.name for record in store.records(status="failed")] == ["model-0005"]
