"""The task fashion from small IDX files of its form, and the public models' images."""

import gzip
import struct

import numpy as np
import pytest

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.testbed import backbones, fashion, tasks

RNG = np.random.default_rng(0)
COUNTS = fashion.FashionCounts(
    defender=20, attacker=25, test=10, pool=30, surrogate=12, transfer=2, transfer_test=2
)  # fmt: skip


def write(folder, name, values, pack=bytes):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    (folder / name).write_bytes(pack(header + values.tobytes()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    for stem, count in (("train", 60), ("t10k", 40)):
        # The first two pixels of an image are its number.
        pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        pixels[:, 0, 0], pixels[:, 0, 1] = np.arange(count), stem == "t10k"
        write(folder, f"{stem}-images-idx3-ubyte.gz", pixels, gzip.compress)
        write(folder, f"{stem}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return folder


def numbers(images):
    assert (images.pixels == images.pixels[..., :1]).all()
    return images.pixels[:, 0, 0, 0].tolist()


def test_images_and_labels_are_those_of_the_files(folder):
    train, tested = fashion.read_fashion(folder)
    assert (train.pixels.shape, tested.pixels.shape) == ((60, 28, 28, 3), (40, 28, 28, 3))
    assert numbers(train) == list(range(60))
    assert tested.labels.tolist() == [n % 10 for n in range(40)]


def test_halves_are_disjoint_and_labels_stay_with_their_images(folder):
    task = fashion.make_fashion(0, COUNTS, folder)
    a, b = task.on_half("a"), task.on_half("b")
    for one in (a, b):
        assert [len(getattr(one, side)) for side in ("defender", "attacker", "test", "pool")] == [20, 25, 10, 30]
        for side in (one.defender, one.attacker, one.test, one.pool):
            assert side.labels.tolist() == [number % 10 for number in numbers(side)]
        assert not set(numbers(one.defender)) & set(numbers(one.attacker))
        assert not set(numbers(one.test)) & set(numbers(one.pool))
        assert one.surrogate.shape == (12, 28, 28, 3)
    assert not set(numbers(a.defender)) & set(numbers(b.defender))
    assert set(numbers(a.defender)) < set(numbers(b.attacker))
    assert task.describe() == fashion.make_fashion(0, COUNTS, folder).describe()
    assert a.describe()["hash"] != b.describe()["hash"]


def test_collages_are_made_of_two_images():
    """Of a black and of a white image: the pasted window of the other shows in each."""
    pixels = np.stack([np.full((28, 28, 3), value, np.uint8) for value in (0, 255)])
    made = fashion.collages(pixels, 200, np.random.default_rng(1))
    means = made[..., 0].mean(axis=(1, 2)) / 255
    assert (made == made[..., :1]).all()
    # Both black or both white in half of the cases; a window of 4 … 16 % in the others.
    assert 0.15 < (means == 0).mean() < 0.35
    mixed = (means > 0.02) & (means < 0.2)
    assert mixed.mean() > 0.1


def test_what_is_not_the_data_set_is_refused(folder, tmp_path):
    with pytest.raises(ProbeError, match=r"folder of fashion must hold.*apt install dataset-fashion-mnist"):
        tasks.make_task(f"fashion:{tmp_path}/nowhere")
    with pytest.raises(FileFormatError, match="must hold train-images-idx3-ubyte or"):
        tasks.make_sources_task(f"fashion:{tmp_path}")
    with pytest.raises(ProbeError, match="images must be enough for 16000 of defender, got 30"):
        fashion.make_fashion(0, None, folder)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        write(tmp_path, name, np.zeros((3, 28, 28), np.uint8))
    write(tmp_path, "t10k-labels-idx1-ubyte", np.zeros(3, np.uint8))
    for labels in ([0, 1], [0, 1, 10]):
        write(tmp_path, "train-labels-idx1-ubyte", np.array(labels, np.uint8))
        with pytest.raises(ProbeError, match=r"train images of .* must be \(n, 28, 28\) with n labels 0…9"):
            fashion.read_fashion(tmp_path)


def test_exemplars_of_a_cell_have_its_label(monkeypatch):
    rows, columns = np.meshgrid(np.arange(96), np.arange(144), indexing="ij")
    tile = (40 * (rows // 48 * 3 + columns // 48)).astype(np.uint8)  # six cells, each of one gray
    monkeypatch.setattr(backbones, "read_photograph", lambda name: np.stack([tile] * 3, axis=2))
    made = backbones.exemplars(("x", "y"), 48, 28, gray=True)
    assert made.pixels.shape == (48, 28, 28, 3)
    assert np.bincount(made.labels).tolist() == [4] * 12
    assert (made.pixels == made.pixels[..., :1]).all()
    middle = made.pixels[:, 14, 14, 0].astype(float)
    by_cell = [middle[made.labels % 6 == cell].mean() for cell in range(6)]
    assert np.all(np.diff(by_cell) > 10)
    assert len(backbones.exemplars(("x",), 10_000, 28, gray=False)) == 6 * 60
