"""Images from disk: image folders, KDEF, HDF5; who gets which image."""

import h5py
import numpy as np
import pytest
from PIL import Image

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.labelled_zoo.images import Images
from sac_fast.testbed import disk, images, patches

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_photographs(monkeypatch):
    """The transferred models' task is not the point here, and cutting it takes its time."""
    few = patches.Counts(defender=2, attacker=2, test=2, pool=1, surrogate=1, transfer=1, transfer_test=1)
    monkeypatch.setattr(disk, "_PHOTOGRAPHS", few)


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
        wanted = sorted(np.uint8(np.rint(255 * image)).transpose(1, 2, 0).tobytes() for image in file["data"][:])
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
