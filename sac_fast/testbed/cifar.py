"""CIFAR-10 from disk, in the layout of torchvision and of its authors: no code of the file is run.

The files that most people have (``cifar-10-batches-py``, what torchvision unpacks) are Python pickles, and a pickle can
run anything. They are read all the same, since that is where the images are, by an unpickler that knows the names of
an array's parts only, and even for these builds passive stand-ins: NumPy's own unpickling is not called on
untrusted bytes, and the pixels are taken from the stand-in once its shape and type are checked. The binary
version (``cifar-10-batches-bin``) is preferred where both are there.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, and the page of the data set.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..io.files import read_regular
from ..labelled_zoo.images import Images

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32
MAX_BYTES = 100_000_000  # a batch has 31 MB
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)


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
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR-10 file needs")
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


def read_pickled_batch(path: Path) -> Images:
    """Read one file of ``cifar-10-batches-py``.

    Args:
        path: the file.

    Returns:
        Its images, (n, 32, 32, 3).

    Raises:
        FileFormatError: it cannot be read, is no batch of CIFAR-10, or names code.
    """
    content = read_regular(path, MAX_BYTES, "as a batch of CIFAR-10")
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise ValueError(f"it holds a {type(batch).__name__}")
        # Files written by Python 3 have text for keys.
        named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels, labels = _pixels(named["data"]), named["labels"]
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise ValueError("b'labels' is no list of integers")
    except Exception as error:  # unpickling a damaged file raises almost anything
        raise FileFormatError(
            f"{str(path)!r} must be a batch of CIFAR-10, got {type(error).__name__}: {error}"
        ) from error
    return _images(pixels, np.array(labels, dtype=np.int64), path)


def read_binary_batch(path: Path) -> Images:
    """Read one file of ``cifar-10-batches-bin``: a byte for the label, 3,072 for the pixels, again and again.

    Args:
        path: the file.

    Returns:
        Its images, (n, 32, 32, 3).

    Raises:
        FileFormatError: it cannot be read or is no batch of CIFAR-10.
    """
    content = read_regular(path, MAX_BYTES, "as a batch of CIFAR-10")
    if not content or len(content) % (_PIXELS + 1):
        raise FileFormatError(
            f"{str(path)!r} must hold records of {_PIXELS + 1} bytes, as a batch of CIFAR-10, got {len(content)} bytes"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, _PIXELS + 1)
    return _images(rows[:, 1:], rows[:, 0].astype(np.int64), path)


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.int64], path: Path) -> Images:
    if len(pixels) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= len(CLASSES):
        raise FileFormatError(
            f"{str(path)!r} must have a label 0…{len(CLASSES) - 1} for each of its images, got {len(labels)} labels "
            f"for {len(pixels)} images"
        )
    return Images(np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels)


def find_cifar10(folder: Path) -> Path | None:
    """The folder with the batches: the given one, or one of the two usual ones in it; None: it is not CIFAR-10."""
    for inside, ending in (("cifar-10-batches-bin", ".bin"), ("cifar-10-batches-py", "")):
        for place in (folder, folder / inside):
            if all((place / f"{name}{ending}").is_file() for name in (*TRAIN, *TEST)):
                return place
    return None


def read_cifar10(folder: Path) -> tuple[Images, Images]:
    """Read CIFAR-10.

    Args:
        folder: of `find_cifar10`.

    Returns:
        Training and test images.

    Raises:
        FileFormatError: a file that is no batch of CIFAR-10.
    """
    binary = (folder / f"{TEST[0]}.bin").is_file()
    sides = []
    for names in (TRAIN, TEST):
        parts = [
            read_binary_batch(folder / f"{name}.bin") if binary else read_pickled_batch(folder / name) for name in names
        ]
        sides.append(Images(np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts])))
    return sides[0], sides[1]
