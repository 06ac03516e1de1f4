"""Writers of the scripts' HDF5 files."""

import os

import h5py
import numpy as np
import pytest
import torch
from support.script_files import as_the_script_reads, images

from sac_fast.compat import datasets
from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet


def test_written_files_are_the_scripts(tmp_path):
    data = images()
    for values in (data, torch.from_numpy(data), data.transpose(0, 2, 3, 1)):
        datasets.write_hdf5(tmp_path / "x.h5", values, [5, 4, 3, 2, 1])
        with h5py.File(tmp_path / "x.h5") as file:
            assert sorted(file) == ["data", "label"]
            np.testing.assert_array_equal(file["data"], np.asarray(values))
            assert file["data"].dtype == np.float32
            assert list(file["label"]) == [5, 4, 3, 2, 1]
    assert os.listdir(tmp_path) == ["x.h5"]


def test_written_files_are_read(folder):
    data = images()
    datasets.write_hdf5("data/x.h5", data, np.arange(5))
    assert torch.equal(datasets.dataset_test("x.h5")[3][0], as_the_script_reads(data, 3, nhwc=False))
    probes = ProbeSet.from_hdf5("data/x.h5", layout="NCHW")
    # probes are rounded, the scripts round towards 0
    np.testing.assert_array_equal(probes.images.transpose(0, 3, 1, 2), np.rint(255 * data).astype(np.uint8))
    np.testing.assert_array_equal(datasets.dataset_test("x.h5").pixels, (255 * data).astype(np.uint8))


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (images().astype(np.uint8), range(5), "images must be float16, float32 or float64"),
        (images() + 1, range(5), r"images must be floats in 0\.\.1"),
        (images(channels=2), range(5), "1 or 3 channels"),
        (images()[0], range(5), "four dimensions"),
        (images(), range(4), r"labels must have the shape \(5,\)"),
        (images(), ["a"] * 5, "labels must be an array of numbers"),
    ],
)
def test_what_cannot_be_written(tmp_path, values, labels, message):
    (tmp_path / "x.h5").write_bytes(b"before")
    with pytest.raises(ProbeError, match=message):
        datasets.write_hdf5(tmp_path / "x.h5", values, list(labels))
    assert (tmp_path / "x.h5").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("iteration", "name"),
    [
        (0, "jpeg_compression_augment_s=1_f=0.h5"),
        (1, "jpeg_compression_augment_s=1_f=1.h5"),
        (4, "jpeg_compression_augment_s=3_f=0.h5"),
        (9, "jpeg_compression_augment_s=5_f=1.h5"),
    ],
)
def test_names(iteration, name):
    assert datasets.augmented_name(iteration) == name
    assert datasets.augmented_name(iteration, "fog") == name.replace("jpeg_compression", "fog")
