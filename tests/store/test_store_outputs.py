"""Outputs in a store: their files, how they are read and mapped, and which are refused."""

from __future__ import annotations

import hashlib
import os
import resource

import numpy as np
import pytest
import safetensors.numpy
import torch
from support.bounded import bounded
from support.store_models import model, result

from sac_fast.errors import StoreError
from sac_fast.store import output_files

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
    held[0][0, 0] = -1.0  # copy on write
    assert store.outputs(next(store.records()))[0, 0] == 0.0


def test_outputs_that_are_shortened_after_their_check_stay_as_they_were(store):
    key, record, _ = result(1)
    large = torch.arange(512 * 513, dtype=torch.float64).reshape(512, 513)
    store.add_results([(key, record, large)])
    left = output_files._held._left
    found = store.outputs(store.record_for("model-0001"))
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    assert output_files._held._left == left - path.stat().st_size
    os.truncate(path, 100)  # a mapping of the file would end the process by SIGBUS now
    assert torch.equal(found, large)
    del found
    assert output_files._held._left == left


@pytest.mark.parametrize("grow", [1 << 40, 3 << 20])
def test_outputs_of_holes_are_refused_before_they_are_read(store, grow):
    store.add_results([result(1)])
    (path,) = (store.folder / "outputs").rglob("*.safetensors")
    os.truncate(path, grow)
    with bounded(seconds=1), pytest.raises(StoreError):
        store.outputs(store.record_for("model-0001"))


def test_large_outputs_are_read_where_they_cannot_be_mapped(store, monkeypatch):
    key, record, _ = result(1)
    large = torch.arange(512 * 513, dtype=torch.float64).reshape(512, 513)
    store.add_results([(key, record, large)])

    def full(*arguments, **options):
        raise RuntimeError("unable to mmap 1050753 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "from_file", full)
    monkeypatch.setattr(output_files._held, "_left", 0)
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


def test_large_outputs_are_mapped_and_checked(store):
    record = model(1)
    outputs = torch.arange(400_000, dtype=torch.float64).reshape(4000, 100)
    store.add_results([(record.key, record, outputs)])
    found = store.outputs(store.record_for(record.name))
    assert torch.equal(found, outputs)
    found[0, 0] = 5.0  # the reader's own copy
    assert torch.equal(store.outputs(store.record_for(record.name)), outputs)
