"""CIFAR-10 and CIFAR-100 from disk, as torchvision and their authors lay them out: no code of the file is run.

The files that most people have (``cifar-10-batches-py``, ``cifar-100-python``, what torchvision unpacks) are Python
pickles, and a pickle can run anything. They are read all the same, since that is where the images are, by an unpickler
that knows the names of an array's parts only, and even for these builds passive stand-ins: NumPy's own unpickling is
not called on untrusted bytes, and the pixels are taken from the stand-in once its shape and type are checked. The
binary version (``cifar-10-batches-bin``, ``cifar-100-binary``) is preferred where both are there. Of CIFAR-100 the
fine labels are read.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, and the page of the data set.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..io.files import read_regular
from ..labelled_zoo.images import Images

_PIXELS = 3 * 32 * 32
_MAX_STEPS = 1_000_000  # of a pickle; each of its 50,000 images has a name and two labels
MAX_BYTES = 200_000_000  # the training images of CIFAR-100 have 154 MB


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes:
        name: for messages.
        classes: names in the order of the labels.
        folders: of the binary and of the pickled version.
        train, test: files, without the ``.bin`` of the binary version.
        labels: the key of the labels in a pickle.
        skipped: bytes before the label in a binary record (the coarse label).
    """

    name: str
    classes: tuple[str, ...]
    folders: tuple[str, str]
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    skipped: int


CIFAR10 = Cifar(
    "CIFAR-10",
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ("cifar-10-batches-bin", "cifar-10-batches-py"),
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    "labels",
    0,
)
CIFAR100 = Cifar(
    "CIFAR-100", tuple(str(label) for label in range(100)), ("cifar-100-binary", "cifar-100-python"), ("train",),
    ("test",), "fine_labels", 1,
)  # fmt: skip


class _Stand:
    """What stands for an array or its type: it keeps what the pickle says of it, and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _array(*arguments: Any) -> _Stand:
    return _Stand("array", *arguments)


def _dtype(*arguments: Any) -> _Stand:
    return _Stand("dtype", *arguments)


def _encode(text: Any, codec: Any) -> bytes:
    """How Python 3 writes bytes into a pickle for Python 2."""
    if not isinstance(text, str) or codec != "latin1":
        raise pickle.UnpicklingError("it encodes what is no text in latin1")
    return text.encode("latin1")


# Python 2 and NumPy 1 wrote the first module's name, NumPy 2 writes the second one's.
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _array,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file needs")
        return _KNOWN[module, name]


def _pixels(stand: Any) -> NDArray[np.uint8]:
    """The pixels that a stand-in holds, if it is of a C-ordered uint8 array (n, 3072)."""
    if not isinstance(stand, _Stand) or not isinstance(stand.state, tuple) or len(stand.state) != 5:
        raise ValueError("b'data' is no array")
    _, shape, dtype, fortran, raw = stand.state
    if not isinstance(dtype, _Stand) or dtype.arguments[:2] not in (("dtype", "u1"), ("dtype", b"u1")):
        raise ValueError("b'data' is not uint8")
    if isinstance(raw, str):  # Python 2 wrote bytes as text
        raw = raw.encode("latin1")
    sides = shape if isinstance(shape, tuple) else ()
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides) or sides[1] != _PIXELS or fortran:
        raise ValueError(f"b'data' has the shape {shape!r} instead of (n, {_PIXELS})")
    if not isinstance(raw, bytes) or len(raw) != sides[0] * _PIXELS:
        raise ValueError(f"b'data' has another number of bytes than {sides[0]} × {_PIXELS}")
    return np.frombuffer(raw, np.uint8).reshape(sides)


def _check_memo(content: bytes) -> None:
    """Refuse places in the memo beyond the number of steps: the unpickler makes room for all below them."""
    for step, (opcode, value, _) in enumerate(pickletools.genops(content)):
        if step > _MAX_STEPS or ("PUT" in opcode.name and isinstance(value, int) and value > step):
            raise pickle.UnpicklingError("it takes too many steps, or places in the memo that it has no use for")


def read_pickled_batch(path: Path, data: Cifar = CIFAR10) -> Images:
    """Read one file of the pickled version.

    Args:
        path: the file.
        data: which of the two data sets.

    Returns:
        Its images, (n, 32, 32, 3).

    Raises:
        FileFormatError: it cannot be read, is no batch of the data set, or names code.
    """
    content = read_regular(path, MAX_BYTES, f"as a batch of {data.name}")
    try:
        _check_memo(content)
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise ValueError(f"it holds a {type(batch).__name__}")
        # Files written by Python 3 have text for keys.
        named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels, labels = _pixels(named["data"]), named[data.labels]
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise ValueError(f"b'{data.labels}' is no list of integers")
    except Exception as error:  # unpickling a damaged file raises almost anything
        raise FileFormatError(
            f"{str(path)!r} must be a batch of {data.name}, got {type(error).__name__}: {error}"
        ) from error
    return _images(pixels, np.array(labels, dtype=np.int64), path, data)


def read_binary_batch(path: Path, data: Cifar = CIFAR10) -> Images:
    """Read one file of the binary version: a byte for the label, 3,072 for the pixels, again and again.

    A record of CIFAR-100 begins with the coarse label, which is not used.

    Args:
        path: the file.
        data: which of the two data sets.

    Returns:
        Its images, (n, 32, 32, 3).

    Raises:
        FileFormatError: it cannot be read or is no batch of the data set.
    """
    content, record = read_regular(path, MAX_BYTES, f"as a batch of {data.name}"), data.skipped + 1 + _PIXELS
    if not content or len(content) % record:
        raise FileFormatError(
            f"{str(path)!r} must hold records of {record} bytes, as a batch of {data.name}, got {len(content)} bytes"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)[:, data.skipped :]
    return _images(rows[:, 1:], rows[:, 0].astype(np.int64), path, data)


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.int64], path: Path, data: Cifar) -> Images:
    count = len(data.classes)
    if len(pixels) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= count:
        raise FileFormatError(
            f"{str(path)!r} must have a label 0…{count - 1} for each of its images, got {len(labels)} labels "
            f"for {len(pixels)} images"
        )
    return Images(np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels)


def find_cifar(folder: Path) -> tuple[Cifar, Path] | None:
    """Which of the two is in the given folder or in one of their usual ones in it, and where; None: neither."""
    for data in (CIFAR10, CIFAR100):
        for inside, ending in zip(data.folders, (".bin", ""), strict=True):
            for place in (folder, folder / inside):
                if all((place / f"{name}{ending}").is_file() for name in (*data.train, *data.test)):
                    return data, place
    return None


def read_cifar(data: Cifar, folder: Path) -> tuple[Images, Images]:
    """Read one of them.

    Args:
        data, folder: of `find_cifar`.

    Returns:
        Training and test images.

    Raises:
        FileFormatError: a file that is no batch of the data set.
    """
    binary = (folder / f"{data.test[0]}.bin").is_file()
    sides = []
    for names in (data.train, data.test):
        parts = [
            read_binary_batch(folder / f"{name}.bin", data) if binary else read_pickled_batch(folder / name, data)
            for name in names
        ]
        sides.append(Images(np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts])))
    return sides[0], sides[1]
