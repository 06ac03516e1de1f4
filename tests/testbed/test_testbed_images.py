"""Images from disk: CIFAR-10 without running a pickle's code, image folders, KDEF, HDF5; who gets which image."""

import os
import pickle
import pickletools

import h5py
import numpy as np
import pytest
from PIL import Image

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.labelled_zoo.images import Images
from sac_fast.testbed import cifar, disk, images, patches

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_photographs(monkeypatch):
    """The transferred models' task is not the point here, and cutting it takes its time."""
    few = patches.Counts(defender=2, attacker=2, test=2, pool=1, surrogate=1, transfer=1, transfer_test=1)
    monkeypatch.setattr(disk, "_PHOTOGRAPHS", few)


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


# ---- CIFAR-10


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


# ---- image folders


def picture(path, colour, size=(20, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_image_folders_with_train_and_test(tmp_path):
    for side in ("train", "test"):
        picture(tmp_path / side / "cat" / "1.png", (255, 0, 0))
        picture(tmp_path / side / "dog" / "1.png", (0, 255, 0))
    found = images.read_images(tmp_path, 16)
    assert (found.name, found.classes) == ("folders", ("cat", "dog"))
    for side in ("train", "test"):
        assert found.sides[side].pixels[:, 3, 3].tolist() == [[255, 0, 0], [0, 255, 0]]
        assert found.sides[side].labels.tolist() == [0, 1]
        assert found.sides[side].pixels.shape == (2, 16, 16, 3)
    picture(tmp_path / "test" / "bird" / "1.png", (0, 0, 255))
    with pytest.raises(ProbeError, match=r"class of .*bird.* must be one of those in .*train.*, got 'bird'"):
        images.read_images(tmp_path, 16)


def test_tiny_imagenet(tmp_path):
    for number, wnid in enumerate(("n01", "n02")):
        picture(tmp_path / "train" / wnid / "images" / f"{wnid}_0.JPEG", (90 * number, 0, 0), (64, 64))
    for name in ("val_0.JPEG", "val_1.JPEG", "val_2.JPEG"):
        picture(tmp_path / "val" / "images" / name, (0, 0, 0), (64, 64))
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n")
    with pytest.raises(ProbeError, match=r"class of .*val_2\.JPEG' must be one of"):
        images.read_images(tmp_path, 32)
    (tmp_path / "val" / "images" / "val_2.JPEG").unlink()
    found = images.read_images(tmp_path, 32)
    assert found.classes == ("n01", "n02")
    assert found.sides["test"].labels.tolist() == [1, 0]
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG n02\n")
    with pytest.raises(FileFormatError, match="must have lines of name, tab, class"):
        images.read_images(tmp_path, 32)


def test_kdef_is_read_by_its_names_and_no_person_is_on_two_sides(tmp_path):
    for person in ("F01", "F02", "F03", "F04", "M01", "M02", "M03", "M04"):
        for emotion in images.EMOTIONS:
            for session in "AB":
                shade = (int(person[1:]) * 20 + 5, 200 if person[0] == "M" else 20, 0)
                picture(tmp_path / f"{session}{person}" / f"{session}{person}{emotion}S.JPG", shade, (16, 16))
    found = images.read_images(tmp_path, 16)
    assert (found.name, found.classes) == ("kdef", ("AF", "AN", "DI", "HA", "NE", "SA", "SU"))
    assert np.bincount(found.sides["all"].labels).tolist() == [16] * 7
    assert np.bincount(found.groups).tolist() == [14] * 8
    task = disk.disk_task(tmp_path, size=16)
    people = []
    for side in ("defender", "attacker", "test", "pool"):
        colours = getattr(task, side).pixels[:, 8, 8].astype(int)
        people.append({(round(red / 20), green > 100) for red, green, _ in colours.tolist()})
    assert sum(len(of) for of in people) == len(set().union(*people)) == 8


def test_other_folders_and_files_are_refused(tmp_path):
    with pytest.raises(ProbeError, match="existing file or folder of images"):
        images.read_images(tmp_path / "nothing", 32)
    picture(tmp_path / "loose.png", (1, 2, 3))
    with pytest.raises(ProbeError, match=r"every image in a sub-folder, its class, got 'loose\.png'"):
        images.read_images(tmp_path, 32)
    with pytest.raises(FileFormatError):
        images.read_images(tmp_path / "loose.png", 32)


# ---- HDF5 of the reference scripts


def write_hdf5(path, count, labels=3):
    with h5py.File(path, "w") as file:
        file["data"] = RNG.random((count, 3, 16, 16), dtype=np.float32)
        file["label"] = np.arange(count) % labels


def test_the_scripts_sides_are_taken_as_they_are(tmp_path):
    (tmp_path / "data").mkdir()
    for name, count in zip(images.SCRIPT_FILES, (12, 9, 10), strict=True):
        write_hdf5(tmp_path / "data" / name, count)
    task = disk.disk_task(tmp_path, size=16)
    assert [len(getattr(task, side)) for side in ("defender", "attacker", "test", "pool")] == [12, 9, 4, 6]
    assert task.classes == ("0", "1", "2")
    with h5py.File(tmp_path / "data" / "dataset_defend.h5") as file:
        wanted = sorted(np.uint8(255 * image).transpose(1, 2, 0).tobytes() for image in file["data"][:])
    assert sorted(image.tobytes() for image in task.defender.pixels) == wanted


def test_one_hdf5_file_is_shared_out(tmp_path):
    write_hdf5(tmp_path / "all.h5", 60)
    task = disk.disk_task(tmp_path / "all.h5", size=16, per_class=5)
    assert [len(getattr(task, side)) for side in ("defender", "attacker", "test", "pool")] == [15, 15, 6, 12]
    assert np.bincount(task.defender.labels).tolist() == [5, 5, 5]
    # the other task of the transferred models: the photographs
    assert len(task.transfer_classes) == 13
    assert task.transfer.pixels.shape[1:] == task.surrogate.shape[1:] == (16, 16, 3)
    with h5py.File(tmp_path / "unlabelled.h5", "w") as file:
        file["data"] = np.zeros((2, 3, 16, 16), np.float32)
    with pytest.raises(ProbeError, match="must have the dataset /label"):
        disk.disk_task(tmp_path / "unlabelled.h5")


# ---- who gets which image


def numbered(count, labels):
    pixels = np.zeros((count, 16, 16, 3), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return Images(pixels, np.arange(count) % labels)


def numbers(side):
    return set((side.pixels[:, 0, 0, 0].astype(int) + 256 * side.pixels[:, 0, 0, 1].astype(int)).tolist())


def test_shares_are_disjoint_complete_and_of_every_class():
    sides = disk.share_out(numbered(400, 4), ("a", "b", "c"), (0.5, 0.3, 0.2), np.random.default_rng(0))
    assert {name: np.bincount(side.labels).tolist() for name, side in sides.items()} == {
        "a": [50] * 4, "b": [30] * 4, "c": [20] * 4,
    }  # fmt: skip
    sets = [numbers(side) for side in sides.values()]
    assert set.union(*sets) == set(range(400))
    assert sum(map(len, sets)) == 400
    again = disk.share_out(numbered(400, 4), ("a", "b", "c"), (0.5, 0.3, 0.2), np.random.default_rng(0))
    assert np.array_equal(again["b"].pixels, sides["b"].pixels)


def test_groups_stay_together():
    groups = np.arange(120) // 12
    sides = disk.share_out(numbered(120, 3), ("a", "b"), (0.6, 0.4), np.random.default_rng(1), groups)
    of = {name: {number // 12 for number in numbers(side)} for name, side in sides.items()}
    assert of["a"] & of["b"] == set()
    assert len(of["a"]) == 6
    assert len(of["b"]) == 4


def test_too_few_images_are_refused():
    with pytest.raises(ProbeError, match="enough for every side, got none for b out of 1"):
        disk.share_out(numbered(1, 1), ("a", "b"), (0.6, 0.4), np.random.default_rng(0))


@pytest.mark.parametrize("size", [8, 20])
def test_sizes_that_the_mixer_cannot_tile_are_refused(size, tmp_path):
    with pytest.raises(ValueError, match="size must be a multiple of 8 of at least 16"):
        disk.disk_task(tmp_path, size=size)


def test_larger_data_sets_get_epochs_enough():
    from sac_fast.testbed.plan import QUICK

    class Long:
        defender, attacker = range(25_000), range(20_000)

    assert disk.disk_size(QUICK, Long).images == 750_000
    Long.defender = Long.attacker = range(10)
    assert disk.disk_size(QUICK, Long).images == QUICK.images


def test_scaling_keeps_the_centre():
    pixels = np.zeros((1, 16, 48, 3), np.uint8)
    pixels[:, :, 16:32] = 200
    assert (images.scale(pixels, 16) == 200).all()
