"""Readers of the scripts' HDF5 files."""

import os

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.script_files import CIFAR, as_the_script_reads, images
from torch.utils.data import DataLoader, Subset

from sac_fast.compat import datasets
from sac_fast.errors import FileFormatError, ProbeError

FLOATS = (np.float16, np.float32, np.float64, ">f4", ">f2")


def store(path, data, label=None, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data, **options)
        if label is not False:
            file.create_dataset("label", data=np.arange(len(data)) if label is None else label)


READERS = {
    "dataset_test": (datasets.dataset_test, (), {"nhwc": False}),
    "dataset_none": (datasets.dataset_none, (), {"nhwc": False}),
    "dataset_SAC": (datasets.dataset_SAC, (), {"nhwc": True}),
    "dataset_SAC_num": (datasets.dataset_SAC_num, (5,), {"nhwc": True}),
    "dataset1": (datasets.dataset1, (), {"nhwc": True, **CIFAR}),
}
every_reader = pytest.mark.parametrize(("reader", "more", "how"), READERS.values(), ids=READERS)


@every_reader
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_readers(folder, reader, more, how, dtype):
    data = images(dtype=dtype)
    if how["nhwc"]:
        data = np.ascontiguousarray(data.transpose(0, 2, 3, 1))
    store("data/x.h5", data, np.array([3, 1, 4, 1, 5]))
    dataset = reader("x.h5", *more)
    assert len(dataset) == 5
    assert dataset.name == "x.h5"
    for item, label in enumerate([3, 1, 4, 1, 5]):
        entry = dataset[item]
        assert isinstance(entry, list)
        expected = as_the_script_reads(data, item, **how)
        torch.testing.assert_close(entry[0], expected, rtol=0, atol=0)
        assert entry[1].shape == ()
        assert entry[1].dtype == torch.int64
        assert entry[1] == label
    np.testing.assert_array_equal(dataset.images, data)
    assert dataset.labels.tolist() == [3, 1, 4, 1, 5]
    assert dataset.pixels.dtype == np.uint8
    assert not dataset.pixels.flags.writeable


@given(hnp.arrays(np.float32, (2, 3, 4, 5), elements=st.floats(0, 1, width=32)))
def test_truncation_property(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("x") / "x.h5"
    store(path, data)
    expected = torch.stack([as_the_script_reads(data, item, nhwc=False) for item in range(2)])
    assert torch.equal(torch.stack([image for image, _ in datasets.dataset_test(path)]), expected)


def test_every_pixel_value_survives(folder):
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 3, 16, 16)
    store("data/x.h5", (every / 255).astype(np.float32))
    np.testing.assert_array_equal(datasets.dataset_test("x.h5").pixels, every)


def test_blocks(folder, monkeypatch):
    monkeypatch.setattr(datasets, "_BLOCK_BYTES", 700)  # two images of 288 bytes
    for dtype in (np.float16, np.float32, np.float64):
        data = images(5, dtype=dtype)
        store("data/x.h5", data)
        expected = (data * data.dtype.type(255)).astype(np.uint8)
        np.testing.assert_array_equal(datasets.dataset_test("x.h5").pixels, expected)
    data[4, 0, 0, 0] = 2
    store("data/x.h5", data)
    with pytest.raises(ProbeError, match=r"got 2\.0 in image 4"):
        datasets.dataset_test("x.h5")


def test_batches_are_those_of_single_items(folder):
    store("data/x.h5", images(11))
    dataset = datasets.dataset_test("x.h5")
    singles = [dataset[item] for item in range(11)]
    for source in (dataset, Subset(dataset, range(11))):
        batches = list(DataLoader(source, batch_size=4, shuffle=False))
        assert [len(x) for x, _ in batches] == [4, 4, 3]
        assert torch.equal(torch.cat([x for x, _ in batches]), torch.stack([x for x, _ in singles]))
        assert torch.equal(torch.cat([y for _, y in batches]), torch.stack([y for _, y in singles]))
    batches[0][0].zero_()
    assert torch.equal(dataset[0][0], singles[0][0])


def test_workers_of_a_loader(folder):
    store("data/x.h5", images(5))
    dataset = datasets.dataset_test("x.h5")
    (batch, _), *_ = DataLoader(dataset, batch_size=5, num_workers=1)
    assert torch.equal(batch, torch.stack([x for x, _ in dataset]))


def test_one_channel_stays_one(folder):
    data = images(channels=1)
    store("data/x.h5", data)
    assert torch.equal(datasets.dataset_test("x.h5")[2][0], as_the_script_reads(data, 2, nhwc=False))
    store("data/y.h5", data.transpose(0, 2, 3, 1))
    assert datasets.dataset_SAC("y.h5")[2][0].shape == (1, 6, 4)


def test_only_so_many(folder):
    store("data/x.h5", images().transpose(0, 2, 3, 1))
    assert len(datasets.dataset_SAC_num("x.h5", 2)) == 2
    assert len(datasets.dataset_SAC_num("x.h5", 99)) == 5
    with pytest.raises(ProbeError, match="limit must be an integer of at least 1, got 0"):
        datasets.dataset_SAC_num("x.h5", 0)


def test_labels_keep_their_dtype(folder):
    for dtype in (np.int32, np.uint8, np.float32, ">i8"):
        store("data/x.h5", images(), np.arange(5).astype(dtype))
        labels = [label for _, label in datasets.dataset_test("x.h5")]
        native = torch.from_numpy(np.zeros(1, np.dtype(dtype).newbyteorder("="))).dtype
        assert {label.dtype for label in labels} == {native}
        assert [int(label) for label in labels] == [0, 1, 2, 3, 4]


def test_paths(folder, tmp_path):
    store("data/x.h5", images())
    absolute = folder / "elsewhere.h5"
    store(absolute, images(2))
    assert len(datasets.dataset_test(str(absolute))) == 2
    assert len(datasets.dataset_test(absolute)) == 2
    with pytest.raises(FileFormatError, match=r"cannot read 'data/y\.h5'"):
        datasets.dataset_test("y.h5")


def link_label(path):
    store(path, images(), label=False)
    with h5py.File(path, "a") as file:
        file["label"] = h5py.ExternalLink("other.h5", "/label")


def promise(path):
    """A million images, none of them stored."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", shape=(10**6, 3, 64, 64), dtype="f4", chunks=(1, 3, 64, 64))
        file.create_dataset("label", shape=(10**6,), dtype="i8")


HOSTILE = {
    "not hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), FileFormatError, "must be a sound HDF5"),
    "folder": (lambda p: p.mkdir(), FileFormatError, "must be a regular file"),
    "pipe": (os.mkfifo, FileFormatError, "must be a regular file"),
    "no label": (lambda p: store(p, images(), label=False), ProbeError, "must have the dataset /label"),
    "label link": (link_label, ProbeError, "/label of .* must be stored in the file"),
    "labels short": (lambda p: store(p, images(), np.arange(4)), ProbeError, r"must have the shape \(5,\)"),
    "labels matrix": (lambda p: store(p, images(), np.zeros((5, 1))), ProbeError, r"must have the shape \(5,\)"),
    "labels text": (lambda p: store(p, images(), np.array([b"a"] * 5)), ProbeError, "must be numbers"),
    "labels wide": (lambda p: store(p, images(), np.zeros(5, np.longdouble)), ProbeError, "numbers that PyTorch has"),
    "uint8": (lambda p: store(p, np.zeros((5, 3, 4, 4), np.uint8)), ProbeError, "must be float16, float32 or float64"),
    "wide": (lambda p: store(p, images().astype(np.longdouble)), ProbeError, "must be float16, float32 or float64"),
    "nan": (lambda p: store(p, images() * np.nan), ProbeError, r"must be floats in 0\.\.1, got nan in image 0"),
    "above one": (lambda p: store(p, images() + 1), ProbeError, r"must be floats in 0\.\.1"),
    "negative": (lambda p: store(p, -images()), ProbeError, r"must be floats in 0\.\.1"),
    "three dimensions": (lambda p: store(p, images()[0]), ProbeError, "must have four dimensions"),
    "no image": (lambda p: store(p, images()[:0]), ProbeError, "none of them 0"),
    "layout": (lambda p: store(p, images().transpose(0, 2, 3, 1)), ProbeError, "1 or 3 channels in layout NCHW"),
    "empty promise": (promise, ProbeError, "must store what it declares"),
}


@pytest.mark.parametrize(("make", "error", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(folder, make, error, message):
    make(folder / "data" / "x.h5")
    with pytest.raises(error, match=message):
        datasets.dataset_test("x.h5")
