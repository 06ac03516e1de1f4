"""One writer at a time: other writers, readers, processes and threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from support.store_models import result

from sac_fast.errors import StoreError, StoreLockedError
from sac_fast.store import (
    ModelStore,
    check_store,
    writer_of,
)


def test_second_writer_is_refused_at_once_and_readers_are_not(store):
    store.add_results([result(1)])
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()} writes") as caught:
        ModelStore.open(store.folder, write=True)
    assert caught.value.pid == os.getpid()
    with ModelStore.open(store.folder, write=False) as reader:
        store.add_results([result(2)])
        assert len(list(reader.records())) == 2
        with pytest.raises(StoreError, match="write=True"):
            reader.add_results([result(3)])
    assert writer_of(store.folder) == os.getpid()
    store.close()
    assert writer_of(store.folder) is None
    ModelStore.open(store.folder, write=True).close()


def test_another_process_is_refused_too(store):
    code = (
        "import fcntl, sys\n"
        "with open(sys.argv[1]) as f:\n"
        "    try: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError: print(f.read().strip())"
    )
    command = [sys.executable, "-c", code, str(store.folder / "writer.lock")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{os.getpid()}\n"


def test_threads_share_a_store(store):
    threads = [
        threading.Thread(target=lambda i=i: store.add_results([result(j) for j in range(i, 60, 6)])) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.records())) == 60
    assert check_store(store).clean


def test_closed_and_missing_stores(tmp_path, store):
    store.close()
    with pytest.raises(StoreError, match="closed"):
        list(store.records())
    with pytest.raises(StoreError, match="no such folder"):
        ModelStore.open(tmp_path / "none", write=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"empty folder.*thesis"):
        ModelStore.open(tmp_path / "other", write=True, create=True)
    with pytest.raises(ValueError, match="create must come with write"):
        ModelStore.open(tmp_path / "new", write=False, create=True)


@pytest.mark.parametrize("content", [b"a letter to mother, longer than any id\n", b"short\n"])
def test_a_lock_that_is_another_file_is_not_written_to(tmp_path, content):
    ModelStore.open(tmp_path / "store", write=True, create=True).close()
    other, lock = tmp_path / "other", tmp_path / "store" / "writer.lock"
    other.write_bytes(content)
    lock.unlink()
    os.link(other, lock)
    with pytest.raises(StoreError, match="must be a file of its own"):
        ModelStore.open(tmp_path / "store", write=True)
    assert other.read_bytes() == content
