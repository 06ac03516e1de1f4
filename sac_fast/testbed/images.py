"""Labelled images from disk: as a task of a test bed.

* a folder with ``cifar-10-batches-bin``, ``cifar-10-batches-py``, ``cifar-100-binary`` or ``cifar-100-python``:
  CIFAR-10 or CIFAR-100, training and test images
* a folder with ``dataset_defend.h5``, ``dataset_attack.h5`` and ``dataset_test.h5``, or in its ``data``: the reference
  scripts' sides
* ``*.h5`` with ``/data`` and ``/label``: images to be shared out
* a folder with ``train`` and ``val`` or ``test``: image folders, one a class; Tiny-ImageNet's ``val_annotations.txt``
  is heeded
* a folder with files named as KDEF's (``AF01ANS.JPG``): seven emotions; no person is on two sides
* any other folder: image folders, one a class, to be shared out
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import FileFormatError, ProbeError
from ..io.files import StrPath, read_regular
from ..labelled_zoo.images import Images
from ..probes import ProbeSet
from .cifar import find_cifar, read_cifar

SCRIPT_FILES = ("dataset_defend.h5", "dataset_attack.h5", "dataset_test.h5")
# Session, gender and number of the person, emotion, angle; the data set's own naming (Lundqvist et al., 1998).
_MAX_CLASSES = 100_000  # a label of 20 million would make as many names
_KDEF = re.compile(r"[AB]([FM]\d\d)(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)\.[^.]+", re.IGNORECASE)
EMOTIONS = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")
MAX_ANNOTATION_BYTES = 64 << 20


@dataclass(frozen=True)
class Found:
    """What a path holds.

    Attributes:
        name: what it was read as.
        classes: names in the order of the labels.
        sides: ``"all"``; ``"train"`` and ``"test"``; or ``"defender"``, ``"attacker"`` and ``"test"``.
        groups: of the images of ``"all"``, a number each (the person, say); a group stays on one side.
    """

    name: str
    classes: tuple[str, ...]
    sides: dict[str, Images]
    groups: NDArray[np.int64] | None = None


def read_images(path: StrPath, size: int) -> Found:
    """Read labelled images from disk, see the list above.

    Args:
        path: file or folder.
        size: height and width to which the images are brought (cut to a square at the centre, then scaled).

    Returns:
        Images by side.

    Raises:
        ProbeError: nothing of the kind is there, or images or labels that cannot be used.
        FileFormatError: a damaged file.
    """
    path = Path(path)
    if path.is_file():
        images = _hdf5(path, size)
        return Found("hdf5", _numbered(images.labels), {"all": images})
    if not path.is_dir():
        known = "patches, faces, fashion, backbone (of several sources), or an existing file or folder of images"
        raise ProbeError(f"task must be {known}, got {str(path)!r}")
    if (found := find_cifar(path)) is not None:
        data, batches = found
        train, test = read_cifar(data, batches)
        sides = {"train": train, "test": test}
        name = data.name.replace("-", "").lower()
        return Found(name, data.classes, {side: scaled(images, size) for side, images in sides.items()})
    for place in (path, path / "data"):
        if all((place / name).is_file() for name in SCRIPT_FILES):
            read = [_hdf5(place / name, size) for name in SCRIPT_FILES]
            classes = _numbered(np.concatenate([images.labels for images in read]))
            return Found("scripts", classes, dict(zip(("defender", "attacker", "test"), read, strict=True)))
    test_folder = next((path / name for name in ("val", "test") if (path / name).is_dir()), None)
    if (path / "train").is_dir() and test_folder is not None:
        return _two_folders(path / "train", test_folder, size)
    names, pixels = _folder(path, size)
    kdef = [_KDEF.fullmatch(Path(name).name) for name in names]
    if all(kdef):
        people = np.unique([match[1].upper() for match in kdef if match], return_inverse=True)[1].astype(np.int64)
        images = _labelled(pixels, [match[2].upper() for match in kdef if match], EMOTIONS)
        return Found("kdef", EMOTIONS, {"all": images}, people)
    of_each = _class_folders(path, names)
    classes = tuple(sorted(set(of_each)))
    return Found("folder", classes, {"all": _labelled(pixels, of_each, classes)})


def test_images(path: StrPath, size: int) -> tuple[Images, tuple[str, ...]]:
    """The test images of what is on disk, or all where there is but one set; and the classes' names.

    Args:
        path, size: see `read_images`.

    Raises:
        ProbeError, FileFormatError: see `read_images`.
    """
    found = read_images(path, size)
    return found.sides["test" if "test" in found.sides else "all"], found.classes


def _folder(path: Path, size: int) -> tuple[list[str], NDArray[np.uint8]]:
    probes = ProbeSet.from_folder(path, size=size)
    return [entry["name"] for entry in probes.entries(range(len(probes)))], probes.images


def _class_folders(root: Path, names: Sequence[str]) -> list[str]:
    """The first folder in the path of each image, which is its class."""
    loose = [name for name in names if "/" not in name]
    if loose:
        raise ProbeError(f"folder {str(root)!r} must have every image in a sub-folder, its class, got {loose[0]!r}")
    return [name.split("/")[0] for name in names]


def _labelled(pixels: NDArray[np.uint8], of_each: Sequence[str], classes: Sequence[str]) -> Images:
    return Images(pixels, np.array([classes.index(name) for name in of_each], np.int64))


def _two_folders(train: Path, test: Path, size: int) -> Found:
    names, pixels = _folder(train, size)
    of_each = _class_folders(train, names)
    classes = tuple(sorted(set(of_each)))
    test_names, test_pixels = _folder(test, size)
    annotations = test / "val_annotations.txt"
    if annotations.is_file():  # Tiny-ImageNet: all in one folder, "val_0.JPEG<tab>n03444034<tab>…" a line
        class_of = _annotations(annotations)
        test_of_each = [class_of.get(Path(name).name, "") for name in test_names]
    else:
        test_of_each = _class_folders(test, test_names)
    for name, of in zip(test_names, test_of_each, strict=True):
        if of not in classes:
            raise ProbeError(f"class of {str(test / name)!r} must be one of those in {str(train)!r}, got {of!r}")
    sides = {"train": _labelled(pixels, of_each, classes), "test": _labelled(test_pixels, test_of_each, classes)}
    return Found("folders", classes, sides)


def _annotations(path: Path) -> dict[str, str]:
    content = read_regular(path, MAX_ANNOTATION_BYTES)
    try:
        rows = [line.split("\t") for line in content.decode().splitlines() if line]
        return {row[0]: row[1] for row in rows}
    except (UnicodeDecodeError, IndexError) as error:
        raise FileFormatError(f"{str(path)!r} must have lines of name, tab, class, got {error}") from error


def _hdf5(path: Path, size: int) -> Images:
    probes = ProbeSet.from_hdf5(path)
    if probes.labels is None:
        raise ProbeError(f"HDF5 file {str(path)!r} must have the dataset /label")
    if probes.labels.min() < 0:
        raise ProbeError(f"/label of {str(path)!r} must be at least 0, got {probes.labels.min()}")
    return scaled(Images(probes.images, probes.labels), size)


def _numbered(labels: NDArray[np.int64]) -> tuple[str, ...]:
    if (largest := int(labels.max())) >= _MAX_CLASSES:
        raise ProbeError(f"labels must be below {_MAX_CLASSES:,}, got {largest:,}")
    return tuple(str(label) for label in range(largest + 1))


def scaled(images: Images, size: int) -> Images:
    """`scale` of labelled images."""
    return Images(scale(images.pixels, size), images.labels)


def scale(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Images (n, H, W, 3), cut to a square at the centre and scaled to (n, size, size, 3) where they are not."""
    height, width = pixels.shape[1:3]
    if (height, width) == (size, size):
        return pixels
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    result = np.empty((len(pixels), size, size, 3), np.uint8)
    for index, image in enumerate(pixels):
        square = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
        result[index] = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return result
