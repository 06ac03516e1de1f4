"""Labelled images from disk: as a task of a test bed.

* a folder with ``cifar-10-batches-bin`` or ``cifar-10-batches-py``: CIFAR-10, training and test images
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
from ..io.files import StrPath, open_regular
from ..probes import ProbeSet
from .cifar import CLASSES as CIFAR_CLASSES
from .cifar import find_cifar10, read_cifar10
from .task import Images

SCRIPT_FILES = ("dataset_defend.h5", "dataset_attack.h5", "dataset_test.h5")
# Session, gender and number of the person, emotion, angle; the data set's own naming (Lundqvist et al., 1998).
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
        raise ProbeError(f"task must be patches, faces, or an existing file or folder of images, got {str(path)!r}")
    if (batches := find_cifar10(path)) is not None:
        train, test = read_cifar10(batches)
        sides = {"train": train, "test": test}
        return Found("cifar10", CIFAR_CLASSES, {side: _scaled(images, size) for side, images in sides.items()})
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
        people = [match[1].upper() for match in kdef if match]
        emotions = [EMOTIONS.index(match[2].upper()) for match in kdef if match]
        return Found(
            "kdef", EMOTIONS, {"all": Images(pixels, np.array(emotions, np.int64))},
            np.unique(people, return_inverse=True)[1].astype(np.int64),
        )  # fmt: skip
    classes, labels = _by_folder(path, names)
    return Found("folder", classes, {"all": Images(pixels, labels)})


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


def _by_folder(root: Path, names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    loose = [name for name in names if "/" not in name]
    if loose:
        raise ProbeError(f"folder {str(root)!r} must have every image in a sub-folder, its class, got {loose[0]!r}")
    of_each = [name.split("/")[0] for name in names]
    classes = tuple(sorted(set(of_each)))
    return classes, np.array([classes.index(name) for name in of_each], np.int64)


def _two_folders(train: Path, test: Path, size: int) -> Found:
    names, pixels = _folder(train, size)
    classes, labels = _by_folder(train, names)
    test_names, test_pixels = _folder(test, size)
    annotations = test / "val_annotations.txt"
    if annotations.is_file():  # Tiny-ImageNet: all in one folder, "val_0.JPEG<tab>n03444034<tab>…" a line
        class_of = _annotations(annotations)
        test_of_each = [class_of.get(Path(name).name, "") for name in test_names]
    else:
        _by_folder(test, test_names)
        test_of_each = [name.split("/")[0] for name in test_names]
    for name, of in zip(test_names, test_of_each, strict=True):
        if of not in classes:
            raise ProbeError(f"class of {str(test / name)!r} must be one of those in {str(train)!r}, got {of!r}")
    test_labels = np.array([classes.index(of) for of in test_of_each], np.int64)
    return Found("folders", classes, {"train": Images(pixels, labels), "test": Images(test_pixels, test_labels)})


def _annotations(path: Path) -> dict[str, str]:
    with open_regular(path) as handle:
        content = handle.read(MAX_ANNOTATION_BYTES + 1)
    if len(content) > MAX_ANNOTATION_BYTES:
        raise FileFormatError(f"{str(path)!r} must have at most {MAX_ANNOTATION_BYTES:,} bytes, got more")
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
    return _scaled(Images(probes.images, probes.labels), size)


def _numbered(labels: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(str(label) for label in range(int(labels.max()) + 1))


def _scaled(images: Images, size: int) -> Images:
    height, width = images.pixels.shape[1:3]
    if (height, width) == (size, size):
        return images
    return Images(scale(images.pixels, size), images.labels)


def scale(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Images (n, H, W, 3) cut to a square at the centre and scaled to (n, size, size, 3)."""
    height, width = pixels.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    result = np.empty((len(pixels), size, size, 3), np.uint8)
    for index, image in enumerate(pixels):
        square = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
        result[index] = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return result
