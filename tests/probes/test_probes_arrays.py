"""Probes from arrays and HDF5 files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.probes import ProbeSet

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


# --- arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_arrays(layout: str, make: Any) -> None:
    pixels = noise(4, 6, 5, 3)
    given = pixels if layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    probes = ProbeSet.from_arrays(make(given), make(np.arange(4, dtype=np.int32)), name="mine")
    np.testing.assert_array_equal(probes.images, pixels)
    assert probes.images.flags.c_contiguous
    assert probes.labels is not None
    assert probes.labels.dtype == np.int64
    assert probes.labels.tolist() == [0, 1, 2, 3]
    source = probes.provenance["source"]
    assert (source["type"], source["name"], source["layout"]) == ("arrays", "mine", layout)
    assert [image["sha256"] for image in source["images"]] == [
        "sha256:" + hashlib.sha256(image.tobytes()).hexdigest() for image in given
    ]


def test_arrays_are_read_only_and_our_own() -> None:
    pixels, labels = noise(2, 4, 4, 3), np.array([1, 2])
    for probes in (ProbeSet.from_arrays(pixels, labels), ProbeSet(pixels, labels, {})):
        before = probes.images.copy()
        pixels += 1
        labels += 1
        np.testing.assert_array_equal(probes.images, before)
        with pytest.raises(ValueError, match="read-only"):
            probes.images[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            probes.labels[0] = 0  # type: ignore[index]


def test_half_precision_tensors() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        images = torch.tensor([0.0, 0.5, 1.0], dtype=dtype).reshape(1, 1, 1, 3)
        probes = ProbeSet.from_arrays(images, layout="NHWC")
        assert probes.images.ravel().tolist() == [0, 128, 255]


def test_one_channel_is_repeated() -> None:
    grey = noise(2, 4, 5, 1)
    np.testing.assert_array_equal(ProbeSet.from_arrays(grey).images, grey.repeat(3, axis=3))


def test_unclear_layout() -> None:
    both = noise(2, 3, 7, 3)
    with pytest.raises(ProbeError, match=r"\(2, 3, 7, 3\) could be NHWC or NCHW; pass layout="):
        ProbeSet.from_arrays(both)
    assert ProbeSet.from_arrays(both, layout="NHWC").images.shape == (2, 3, 7, 3)
    assert ProbeSet.from_arrays(both, layout="NCHW").images.shape == (2, 7, 3, 3)
    with pytest.raises(ProbeError, match="neither NHWC nor NCHW"):
        ProbeSet.from_arrays(noise(2, 4, 4, 4))
    with pytest.raises(ProbeError, match="must have 1 or 3 channels in layout NCHW"):
        ProbeSet.from_arrays(noise(2, 4, 4, 3), layout="NCHW")
    with pytest.raises(ProbeError, match="layout must be"):
        ProbeSet.from_arrays(noise(2, 4, 4, 3), layout="CHWN")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.nan, "nan"), (np.inf, "inf"), (-0.001, "-0.001"), (1.001, "1.001"), (255.0, "255.0")],
)
def test_values_outside_0_to_1(value: float, shown: str) -> None:
    images = np.zeros((4, 5, 5, 3))
    images[2, 1, 1, 1] = value
    with pytest.raises(ProbeError, match=rf"images must be floats in 0\.\.1, got {shown} in image 2"):
        ProbeSet.from_arrays(images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "four dimensions"),
        (np.zeros((0, 4, 4, 3), np.uint8), "none of them 0"),
        (np.zeros((1, 4, 4, 3), np.int64), "must be uint8 or float in 0..1, got int64"),
        (np.zeros((1, 4, 4, 3), bool), "must be an array of numbers, got dtype bool"),
        (np.zeros((1, 4, 4, 3), complex), "must be an array of numbers"),
        (np.full((1, 4, 4, 3), "a"), "must be an array of numbers"),
        ([[1, 2], [3]], "must be an array of numbers"),
    ],
)
def test_arrays_that_are_no_images(images: Any, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_arrays(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r"must have the shape \(2,\), one label an image, got \(1,\)"),
        ([[0], [1]], r"got \(2, 1\)"),
        ([0.5, 1.0], "must be whole numbers"),
        ([np.nan, 1.0], "must be whole numbers"),
        (np.array([2**64 - 1, 0], np.uint64), "fit into int64"),
        (["a", "b"], "must be an array of numbers"),
    ],
)
def test_labels_that_do_not_fit(labels: Any, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_arrays(noise(2, 4, 4, 3), labels)


def test_constructor_checks() -> None:
    with pytest.raises(ProbeError, match=r"images must be uint8 \(n, H, W, 3\).*float64"):
        ProbeSet(np.zeros((1, 2, 2, 3)), None, {})  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match=r"labels must be int64 \(1,\), got int32"):
        ProbeSet(noise(1, 2, 2, 3), np.zeros(1, np.int32), {})  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="provenance must be what JSON can hold"):
        ProbeSet(noise(1, 2, 2, 3), None, {"x": object()})


# --- HDF5 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_hdf5(tmp_path: Path, layout: str, dtype: str) -> None:
    pixels = noise(5, 8, 6, 3)
    given = pixels if dtype == "u1" else (pixels / 255).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = given if layout == "NHWC" else given.transpose(0, 3, 1, 2)
        file["label"] = np.arange(5.0)
    probes = ProbeSet.from_hdf5(tmp_path / "a.h5")
    np.testing.assert_array_equal(probes.images, pixels)
    assert probes.labels is not None
    assert probes.labels.tolist() == [0, 1, 2, 3, 4]
    source = probes.provenance["source"]
    assert (source["type"], source["name"], source["sha256"]) == ("hdf5", "a.h5", sha256(tmp_path / "a.h5"))
    assert len(source["images"]) == 5
    some = ProbeSet.from_hdf5(tmp_path / "a.h5", limit=2)
    np.testing.assert_array_equal(some.images, pixels[:2])
    assert some.labels is not None
    assert some.labels.tolist() == [0, 1]


def hdf5_no_data(file: h5py.File, folder: Path) -> None:
    file["images"] = noise(1, 4, 4, 3)


def hdf5_external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["data"] = noise(1, 4, 4, 3)
    file["data"] = h5py.ExternalLink(str(folder / "other.h5"), "/data")


def hdf5_soft_link(file: h5py.File, folder: Path) -> None:
    file["real"] = noise(1, 4, 4, 3)
    file["data"] = h5py.SoftLink("/real")


def hdf5_broken_link(file: h5py.File, folder: Path) -> None:
    file["data"] = h5py.SoftLink("/none")


def hdf5_external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(bytes(48))
    file.create_dataset("data", (1, 4, 4, 3), "u1", external=[(str(folder / "raw"), 0, 48)])


def hdf5_virtual(file: h5py.File, folder: Path) -> None:
    hdf5_external_link(file, folder)
    del file["data"]
    layout = h5py.VirtualLayout((1, 4, 4, 3), "u1")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "data", (1, 4, 4, 3))
    file.create_virtual_dataset("data", layout)


def hdf5_group(file: h5py.File, folder: Path) -> None:
    file.create_group("data")


def hdf5_unwritten(file: h5py.File, folder: Path) -> None:
    file.create_dataset("data", (10**9, 32, 32, 3), "f8", chunks=(1, 32, 32, 3))


def hdf5_rank(file: h5py.File, folder: Path) -> None:
    file["data"] = noise(4, 4, 3)


def hdf5_text(file: h5py.File, folder: Path) -> None:
    file.create_dataset("data", data=np.full((1, 4, 4, 3), b"x"))


def hdf5_int64(file: h5py.File, folder: Path) -> None:
    file["data"] = noise(1, 4, 4, 3).astype(np.int64)


def hdf5_range(file: h5py.File, folder: Path) -> None:
    file["data"] = np.full((2, 4, 4, 3), 255.0)


def hdf5_nan(file: h5py.File, folder: Path) -> None:
    file["data"] = np.full((2, 4, 4, 3), np.nan)


def hdf5_labels(file: h5py.File, folder: Path) -> None:
    file["data"] = noise(2, 4, 4, 3)
    file["label"] = np.zeros(3, np.int64)


def hdf5_label_link(file: h5py.File, folder: Path) -> None:
    file["data"] = noise(2, 4, 4, 3)
    file["label"] = h5py.ExternalLink(str(folder / "other.h5"), "/label")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (hdf5_no_data, r"must have the dataset /data, got \['images'\]"),
        (hdf5_external_link, "/data of .*got a soft or external link"),
        (hdf5_soft_link, "/data of .*got a soft or external link"),
        (hdf5_broken_link, "/data of .*got a soft or external link"),
        (hdf5_external_storage, "values lie in other files"),
        (hdf5_virtual, "values lie in other files"),
        (hdf5_group, "/data of .*must be a dataset, got Group"),
        (
            hdf5_unwritten,
            "must store what it declares .*, got 24,576,000,000,000 bytes out of 0 stored",
        ),
        (hdf5_rank, r"four dimensions.*got \(4, 4, 3\)"),
        (hdf5_text, "/data of .*must be numbers"),
        (hdf5_int64, "/data must be uint8 or float in 0..1, got int64"),
        (hdf5_range, r"/data must be floats in 0\.\.1, got 255\.0 in image 0"),
        (hdf5_nan, r"/data must be floats in 0\.\.1, got nan in image 0"),
        (hdf5_labels, r"/label of .*must have the shape \(2,\), got \(3,\)"),
        (hdf5_label_link, "/label of .*got a soft or external link"),
    ],
)
def test_hdf5_hostile(tmp_path: Path, build: Any, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        build(file, tmp_path)
    with pytest.raises(ProbeError, match=message):
        ProbeSet.from_hdf5(tmp_path / "a.h5")


def test_hdf5_that_is_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = noise(4, 16, 16, 3)
    good = (tmp_path / "a.h5").read_bytes()
    for content in (b"", b"text", good[:100], good[:-1000]):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(FileFormatError, match=r"a\.h5' must be a sound HDF5 file"):
            ProbeSet.from_hdf5(tmp_path / "a.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(FileFormatError, match="must be a regular file"):
        ProbeSet.from_hdf5(tmp_path / "pipe.h5")
    with pytest.raises(FileFormatError, match="No such file"):
        ProbeSet.from_hdf5(tmp_path / "none.h5")
    with pytest.raises(ProbeError, match="limit must be an integer of at least 1"):
        ProbeSet.from_hdf5(tmp_path / "a.h5", limit=0)
    with pytest.raises(ProbeError, match=r"limit must be an integer of at least 1, got 1\.5"):
        ProbeSet.from_hdf5(tmp_path / "a.h5", limit=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("filter", ["gzip", "lzf", "fletcher32"])
@pytest.mark.parametrize("raw", [b"\xff" * 40, b"\x78\x9c" + bytes(90), b"\x01"], ids=["ones", "deflate", "one"])
def test_hdf5_with_a_damaged_chunk(tmp_path: Path, filter: str, raw: bytes) -> None:
    options: dict[str, Any] = {"fletcher32": True} if filter == "fletcher32" else {"compression": filter}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=noise(2, 4, 4, 3), chunks=(1, 4, 4, 3), **options)
        file["data"].id.write_direct_chunk((1, 0, 0, 0), raw)
    with pytest.raises(FileFormatError, match=r"a\.h5'"):
        ProbeSet.from_hdf5(tmp_path / "a.h5")


def test_masked_and_sparse_arrays_are_refused() -> None:
    pixels = noise(2, 4, 4, 3)
    with pytest.raises(ProbeError, match="images must be a plain NumPy array, got a masked one; leave out or fill in"):
        ProbeSet.from_arrays(np.ma.array(pixels, mask=pixels > 200))
    with pytest.raises(ProbeError, match="labels must be a plain NumPy array, got a masked one"):
        ProbeSet.from_arrays(pixels, np.ma.array([1, 2], mask=[0, 1]))
    with pytest.raises(ProbeError, match=r"images must be a dense tensor, got layout torch\.sparse_coo"):
        ProbeSet.from_arrays(torch.from_numpy(pixels).to_sparse())
