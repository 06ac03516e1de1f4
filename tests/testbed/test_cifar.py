"""CIFAR-10 and CIFAR-100 from disk, without running a pickle's code."""

import os
import pickle
import pickletools

import numpy as np
import pytest

from sac_fast.errors import FileFormatError
from sac_fast.testbed import cifar, images


def batch(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), (np.arange(count) % 10).tolist()


def write_pickled(path, pixels, labels, **more):
    path.write_bytes(pickle.dumps({b"data": pixels, b"labels": labels, b"batch_label": b"x", **more}, protocol=2))


def write_binary(path, pixels, labels):
    path.write_bytes(b"".join(bytes([label]) + row.tobytes() for row, label in zip(pixels, labels, strict=True)))


def cifar_folder(root, kind):
    folder = root / f"cifar-10-batches-{kind}"
    folder.mkdir(parents=True)
    for seed, name in enumerate((*cifar.CIFAR10.train, *cifar.CIFAR10.test)):
        if kind == "py":
            write_pickled(folder / name, *batch(10, seed))
        else:
            write_binary(folder / f"{name}.bin", *batch(10, seed))
    return folder


def test_both_forms_of_cifar_are_the_same_images(tmp_path):
    cifar_folder(tmp_path / "a", "py")
    cifar_folder(tmp_path / "b", "bin")
    one, two = images.read_images(tmp_path / "a", 32), images.read_images(tmp_path / "b", 32)
    assert one.name == two.name == "cifar10"
    assert one.classes[3] == "cat"
    for side, count in (("train", 50), ("test", 10)):
        assert np.array_equal(one.sides[side].pixels, two.sides[side].pixels)
        assert np.array_equal(one.sides[side].labels, np.tile(np.arange(10), count // 10))
    # red of the first row, then green, then blue: the data set's order
    pixels, _ = batch(10, 0)
    assert one.sides["train"].pixels[2, 5, 7].tolist() == [pixels[2, plane * 1024 + 5 * 32 + 7] for plane in range(3)]


def test_pickles_of_python_2_and_of_old_numpy_are_read(tmp_path):
    """The authors' files: text for keys and bytes, numpy.core for the module."""
    pixels, labels = batch(2)
    raw = pixels.tobytes()
    ops = [
        b"\x80\x02}",
        b"U\x04data",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy\nndarray\n",
        b"K\x00\x85U\x01b\x87R",
    ]
    ops += [
        b"(K\x01K\x02M\x00\x0c\x86",
        b"cnumpy\ndtype\n",
        b"U\x02u1K\x00K\x01\x87R",
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
    ]
    ops += [b"\x89T" + len(raw).to_bytes(4, "little") + raw, b"tb", b"s", b"U\x06labels", b"]K\x00aK\x01a", b"s."]
    content = b"".join(ops)
    assert sum(1 for _ in pickletools.genops(content)) > 20  # it is a pickle
    (tmp_path / "data_batch_1").write_bytes(content)
    read = cifar.read_pickled_batch(tmp_path / "data_batch_1")
    assert np.array_equal(read.pixels.transpose(0, 3, 1, 2).reshape(2, -1), pixels)
    assert read.labels.tolist() == labels


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_no_code_of_a_pickle_is_run(tmp_path):
    pixels, labels = batch()
    write_pickled(tmp_path / "evil", pixels, labels, **{"extra": Evil(tmp_path / "made")})
    with pytest.raises(FileFormatError, match=r"names (posix|nt)\.mkdir, which no CIFAR file needs"):
        cifar.read_pickled_batch(tmp_path / "evil")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.zeros((4, 3072), np.float32), "labels": [0] * 4},
        {"data": np.zeros((4, 3071), np.uint8), "labels": [0] * 4},
        {"data": np.zeros((2, 3072), object), "labels": [0] * 2},
        {"data": np.asfortranarray(np.zeros((4, 3072), np.uint8)), "labels": [0] * 4},
        {"data": np.zeros((4, 3072), np.uint8), "labels": [0] * 3},
        {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 10]},
        {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, True]},
        {"data": np.zeros((4, 3072), np.uint8)},
        {"data": [1, 2], "labels": [0]},
        [1, 2],
        np.zeros(3),
    ],
)
def test_other_pickles_are_refused(tmp_path, content):
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(FileFormatError, match=r"must (be a batch of CIFAR-10|have a label)"):
        cifar.read_pickled_batch(tmp_path / "batch")


def test_damaged_pickles_are_refused_whatever_the_damage(tmp_path):
    pixels, labels = batch(1)
    sound = pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2)
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(sound[: rng.integers(1, len(sound) + 1)])
        for _ in range(3):
            damaged[rng.integers(min(len(damaged), 300))] = rng.integers(256)
        (tmp_path / "batch").write_bytes(bytes(damaged))
        try:
            read = cifar.read_pickled_batch(tmp_path / "batch")
        except FileFormatError:
            continue
        assert read.pixels.shape == (1, 32, 32, 3)  # the damage hit pixels or what is not used


@pytest.mark.parametrize("content", [b"", b"x" * 3072, b"\x0a" + b"x" * 3072])
def test_binary_batches_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(FileFormatError, match="must h"):
        cifar.read_binary_batch(tmp_path / "data_batch_1.bin")


@pytest.mark.parametrize("kind", ["python", "binary"])
def test_cifar_100_is_read_by_its_fine_labels(tmp_path, kind):
    folder = tmp_path / f"cifar-100-{kind}"
    folder.mkdir()
    fine, coarse = [99, 0, 57], [1, 2, 3]
    for seed, name in enumerate(("train", "test")):
        pixels, _ = batch(3, seed)
        if kind == "python":
            content = {b"data": pixels, b"fine_labels": fine, b"coarse_labels": coarse, b"filenames": [b"x"] * 3}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        else:
            rows = zip(coarse, fine, pixels, strict=True)
            (folder / f"{name}.bin").write_bytes(b"".join(bytes([c, f]) + row.tobytes() for c, f, row in rows))
    found = images.read_images(tmp_path, 32)
    assert (found.name, len(found.classes)) == ("cifar100", 100)
    for seed, name in enumerate(("train", "test")):
        assert found.sides[name].labels.tolist() == fine
        assert np.array_equal(found.sides[name].pixels.transpose(0, 3, 1, 2).reshape(3, -1), batch(3, seed)[0])
