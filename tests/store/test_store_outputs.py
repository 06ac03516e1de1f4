"""Outputs in a store: their files, how they are read, and which are refused."""

from __future__ import annotations

import hashlib
import os
import resource
import threading

import numpy as np
import pytest
import safetensors.numpy
import torch
from support.bounded import bounded
from support.store_models import model, result

from sac_fast import correlation_distance
from sac_fast.errors import StoreError
from sac_fast.store import own_memory

pytestmark = pytest.mark.usefixtures("files_of_their_own")


def test_large_outputs_keep_no_descriptors(store):
    count, large = 24, torch.arange(512 * 513, dtype=torch.float32).reshape(512, 513)  # just over 1 MiB
    for number in range(count):
        key, record, _ = result(number)
        store.add_results([(key, record, large + number)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
    try:
        held = [store.outputs(record) for record in store.records()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(held) == count
    for number, outputs in enumerate(held):
        assert torch.equal(outputs, large + number)
    held[0][0, 0] = -1.0  # the reader's own
    assert store.outputs(next(store.records()))[0, 0] == 0.0


@pytest.mark.parametrize("plain", [True, False])
def test_outputs_that_are_shortened_after_their_check_stay_as_they_were(store, plain, monkeypatch):
    key, record, _ = result(1)
    large = torch.rand(2048, 513, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    store.add_results([(key, record, large)])
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    if not plain:
        monkeypatch.setattr(own_memory.held, "_left", 0)
    left = own_memory.held._left
    found = store.outputs(store.record_for("model-0001"))
    assert own_memory.held._left == left - (path.stat().st_size if plain else 0)
    # In the middle of a computation: a mapping of the file would end the process by SIGBUS.
    shortened = threading.Timer(0.01, os.truncate, (path, 100))
    shortened.start()
    distance = float(correlation_distance(found, large))
    shortened.join()
    assert distance == 0.0
    assert torch.equal(found, large)
    assert path.stat().st_size == 100
    del found
    assert own_memory.held._left == left
    with pytest.raises(StoreError, match="damaged"):
        store.outputs(store.record_for("model-0001"))


def test_a_file_that_is_shortened_while_it_is_read_is_damaged(store, monkeypatch):
    key, record, _ = result(1)
    store.add_results([(key, record, torch.ones(512, 513, dtype=torch.float64))])
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    read = os.preadv

    def shorten(descriptor, buffers, offset):
        count = read(descriptor, [buffers[0][: 1 << 20]], offset)
        os.truncate(path, 1 << 20)
        return count

    monkeypatch.setattr(os, "preadv", shorten)
    with pytest.raises(StoreError, match=r"must have 2,10\d,\d+ bytes, got 1,048,576"):
        store.outputs(store.record_for("model-0001"))


@pytest.mark.parametrize("grow", [1 << 40, 3 << 20])
def test_outputs_of_holes_are_refused_before_they_are_read(store, grow):
    store.add_results([result(1)])
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    os.truncate(path, grow)
    with bounded(seconds=1), pytest.raises(StoreError):
        store.outputs(store.record_for("model-0001"))


@pytest.mark.parametrize(
    ("place", "name"), [(torch, "from_file"), (os, "posix_fallocate"), (own_memory, "_unnamed_file")]
)
def test_large_outputs_are_read_where_no_file_without_a_name_can_be_mapped(store, monkeypatch, place, name):
    key, record, _ = result(1)
    large = torch.arange(512 * 513, dtype=torch.float64).reshape(512, 513)
    store.add_results([(key, record, large)])

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place, name, full)
    monkeypatch.setattr(own_memory.held, "_left", 0)
    assert torch.equal(store.outputs(store.record_for("model-0001")), large)


def test_a_read_only_store_is_read_by_a_file_elsewhere(store, monkeypatch):
    key, record, _ = result(1)
    large = torch.arange(512 * 513, dtype=torch.float64).reshape(512, 513)
    store.add_results([(key, record, large)])
    opened = os.open

    def read_only(path, flags, *more, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(own_memory.held, "_left", 0)
    assert torch.equal(store.outputs(store.record_for("model-0001")), large)


def test_file_is_plain_safetensors_named_by_its_hash(store):
    store.add_results([result(3)])
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert path.parent.name == path.stem[:2]
    arrays = safetensors.numpy.load_file(path)
    assert list(arrays) == ["outputs"]
    np.testing.assert_array_equal(arrays["outputs"], np.arange(18, dtype=np.float32).reshape(6, 3) + 3)


@pytest.mark.parametrize(
    ("outputs", "match"),
    [
        (torch.ones(3), "float32 or float64"),
        (torch.ones(3, 0), "float32 or float64"),
        (torch.ones(3, 2).half(), "float32 or float64"),
        (torch.tensor([[1.0, float("nan")]]), "finite"),
    ],
)
def test_wrong_outputs_leave_the_store_usable(store, outputs, match):
    key, record, good = result(1)
    with pytest.raises(ValueError, match=match):
        store.add_results([(key, record, outputs)])
    store.add_results([(key, record, good)])


def test_large_outputs_are_the_readers_own(store):
    record = model(1)
    outputs = torch.arange(400_000, dtype=torch.float64).reshape(4000, 100)
    store.add_results([(record.key, record, outputs)])
    found = store.outputs(store.record_for(record.name))
    assert torch.equal(found, outputs)
    found[0, 0] = 5.0  # the reader's own copy
    assert torch.equal(store.outputs(store.record_for(record.name)), outputs)
