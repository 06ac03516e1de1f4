"""The scripts' HDF5 files: readers, writers, JPEG and CutMix probes."""

import io
import os

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torch.utils.data import DataLoader, Subset

from sac_fast.compat import datasets
from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.probes import ProbeSet

FLOATS = (np.float16, np.float32, np.float64, ">f4", ">f2")


def images(n=5, channels=3, height=6, width=4, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).random((n, channels, height, width)).astype(dtype)


def store(path, data, label=None, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data, **options)
        if label is not False:
            file.create_dataset("label", data=np.arange(len(data)) if label is None else label)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with the scripts' folder `data` in it."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_the_script_reads(data, item, *, nhwc, mean=None, std=None):
    """uint8 of 255 x, an image at a time, and then what torchvision's ToPILImage and ToTensor make of it."""
    image = np.array(data[item] * 255, dtype="uint8")
    if nhwc:
        image = np.transpose(image, [2, 0, 1])
    image = torch.tensor(image).to(torch.float32).div(255)
    if mean is not None:
        image = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    return image


CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
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


# --- writing ---------------------------------------------------------------------------------------------


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
    np.testing.assert_array_equal(probes.images.transpose(0, 3, 1, 2), datasets.dataset_test("x.h5").pixels)


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


# --- JPEG probes -----------------------------------------------------------------------------------------


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


def as_the_script_augments(data, iteration):
    """Pillow at the quality of the severity, an image at a time; the swap of height and width at the end."""
    quality = [25, 18, 15, 10, 7][iteration // 2]
    made = []
    for image in data:
        pixels = np.floor(np.float32(255) * image).transpose(1, 2, 0).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        made.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).to(torch.float32).div(255))
    made = torch.stack(made)
    return made.transpose(2, 3) if iteration % 2 else made


@pytest.mark.parametrize("iteration", range(10))
def test_jpeg_probes(iteration):
    data = images(3, height=24, width=16)
    made = datasets.jpeg_compression(data, iteration)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, as_the_script_augments(data, iteration).numpy())


@pytest.mark.parametrize("iteration", [-1, 10, 0.5, True, None])
def test_iterations_that_are_none(iteration):
    with pytest.raises(ProbeError, match="iteration must be an integer from 0 to 9"):
        datasets.jpeg_compression(images(), iteration)


def test_augmented_files_lie_where_the_scripts_write_and_read(folder):
    data = images(5, height=16, width=8)
    datasets.write_hdf5("data/dataset_test.h5", data, np.arange(5))
    path = datasets.write_augmented(iteration=3)
    assert path == "data/data_augmented/jpeg_compression_augment_s=2_f=1.h5"
    read = datasets.dataset_test("data_augmented/" + datasets.augmented_name(3))
    expected = as_the_script_augments(data, 3)
    assert torch.equal(torch.stack([x for x, _ in read]), expected)
    assert read.labels.tolist() == [0, 1, 2, 3, 4]
    datasets.write_augmented(iteration=3, layout="NHWC", limit=2)
    older = datasets.dataset_SAC("data_augmented/" + datasets.augmented_name(3))
    assert torch.equal(torch.stack([x for x, _ in older]), expected[:2])
    with pytest.raises(ProbeError, match='layout must be "NCHW" or "NHWC", got '):
        datasets.write_augmented(iteration=3, layout="CHWN")


# --- CutMix ----------------------------------------------------------------------------------------------


def as_the_script_mixes(x, seed):
    """The script's draws from the global generators, which are put back afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        np.random.beta(1, 1)  # noqa: NPY002
        others = torch.randperm(len(x))
        w, h = x.shape[2:]
        while True:
            cx, cy = np.random.randint(w), np.random.randint(h)  # noqa: NPY002
            if not (1 / 6 * w < cx < 5 / 6 * w or 1 / 6 * h < cy < 5 / 6 * h):
                break
    np.random.set_state(before)  # noqa: NPY002
    cut_w, cut_h = int(w * 0.2), int(h * 0.2)
    x1, x2 = np.clip([cx - cut_w // 2, cx + cut_w // 2], 0, w)
    y1, y2 = np.clip([cy - cut_h // 2, cy + cut_h // 2], 0, h)
    mixed = x.clone()
    mixed[:, :, x1:x2, y1:y2] = x[others][:, :, x1:x2, y1:y2]
    return mixed.transpose(1, 3)


@pytest.mark.parametrize("shape", [(20, 3, 32, 32), (5, 3, 40, 24), (4, 1, 1, 1)])
@pytest.mark.parametrize("seed", [0, 3, 77])
def test_cutmix(shape, seed):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    before, state = x.clone(), torch.get_rng_state()
    mixed = datasets.cutmix(x, seed=seed)
    assert torch.equal(mixed, as_the_script_mixes(x, seed))
    assert mixed.is_contiguous()
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_cutmix_draws_with_the_scripts_seed():
    x = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(datasets.cutmix(x), as_the_script_mixes(x, 3))
    assert not torch.equal(datasets.cutmix(x).transpose(1, 3), x)


def test_cutmix_file_is_read_by_dataset1(folder):
    x = torch.rand(6, 3, 10, 10, generator=torch.Generator().manual_seed(1))
    datasets.write_hdf5("data/cut_mix_final.h5", datasets.cutmix(x), torch.arange(6))
    mixed = as_the_script_mixes(x, 3).numpy()
    expected = as_the_script_reads(mixed, 2, nhwc=True, **CIFAR)
    assert torch.equal(datasets.dataset1("cut_mix_final.h5", train=False)[2][0], expected)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 99))
def test_patches_lie_away_from_the_centre(width, height, seed):
    x1, y1, x2, y2 = datasets.rand_bbox((1, 3, width, height), 0.5, np.random.RandomState(seed))
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height
    assert x2 - x1 <= width // 5
    assert y2 - y1 <= height // 5
    # its centre lies in an outer sixth, so half a patch of a fifth reaches no further than sixth and tenth
    assert x2 <= width / 6 + width / 10 or x1 >= 5 / 6 * width - width / 10
    assert y2 <= height / 6 + height / 10 or y1 >= 5 / 6 * height - height / 10


def test_patches_from_the_global_generator():
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(5)  # noqa: NPY002
        drawn = datasets.rand_bbox((1, 3, 32, 32), 0.5)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    assert drawn == datasets.rand_bbox((1, 3, 32, 32), 0.5, np.random.RandomState(5))


def test_cutmix_arguments():
    with pytest.raises(ProbeError, match=r"images must have the shape \(n, C, H, W\)"):
        datasets.cutmix(torch.rand(3, 8, 8))
    with pytest.raises(ProbeError, match="sides of at least 1"):
        datasets.cutmix(torch.rand(2, 3, 0, 8))
