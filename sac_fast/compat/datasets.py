"""Readers and writers of the scripts' HDF5 files, with the scripts' names where they have one.

A file holds ``/data``, float 0..1, and ``/label``. The readers truncate ``255 x`` to uint8 when the file is read, as
the scripts do per image, and keep the bytes instead of the floats: a quarter of the memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import ProbeError
from ..io.files import StrPath, atomic_write
from ..probes import jpeg_compress
from ..probes.arrays import Layout, read_hdf5, to_numpy, to_pixels
from ..probes.jpeg import resolve_quality
from .cutmix import cutmix, rand_bbox

__all__ = [
    "Hdf5Images",
    "augmented_name",
    "cutmix",
    "dataset1",
    "dataset_SAC",
    "dataset_SAC_num",
    "dataset_none",
    "dataset_test",
    "jpeg_compression",
    "rand_bbox",
    "write_augmented",
    "write_hdf5",
]

_FOLDER = "data"  # the scripts' readers join every name to it
_AUGMENTED = "data_augmented"
_MAX_PROBES = 800  # of dataset_augmented.py
_BLOCK_BYTES = 32 << 20
_FLOATS = (np.float16, np.float32, np.float64)


class Hdf5Images(Dataset[list[Tensor]]):
    """Images and labels of one of the scripts' HDF5 files, as returned by their dataset classes.

    image = uint8(255 x) / 255, truncated, (C, H, W); then (image − mean) / std, if the class has them

    Args:
        name: file, relative to the folder ``data`` as in the scripts, or an absolute path.
        limit: largest number of images, the first ones.

    Attributes:
        name: the argument.
        labels: (n,) as stored.
        pixels: (n, C, H, W) uint8, read-only.

    Raises:
        FileFormatError: not a readable HDF5 file.
        ProbeError: no ``/data`` or ``/label``, a link, not floats in 0..1, or not 1 or 3 channels in the layout.

    Source: KDEF_dataset.py of SAC_JC, dataset.py of SAC.
    """

    layout: ClassVar[Layout]
    mean: ClassVar[tuple[float, ...] | None] = None
    std: ClassVar[tuple[float, ...] | None] = None

    def __init__(self, name: StrPath, *, limit: int | None = None) -> None:
        self.name = name
        self._limit = limit
        values, self.labels = _read(self._path, self.layout, limit)
        self.pixels = _truncated(values, self.layout, f"/data of {os.fspath(name)!r}")
        self.pixels.flags.writeable = False

    @property
    def _path(self) -> str:
        return os.path.join(_FOLDER, os.fspath(self.name))

    @property
    def images(self) -> npt.NDArray[np.floating[Any]]:
        """The floats as stored, read from the file at each access: only the pixels are kept in memory."""
        return _read(self._path, self.layout, self._limit)[0]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: int) -> list[Tensor]:
        """The image (C, H, W), in PyTorch's default dtype (float32), and its label (0-d), as a list."""
        return [self._floats(self.pixels[item]), torch.tensor(self.labels[item])]

    def __getitems__(self, items: Sequence[int]) -> list[list[Tensor]]:
        """The same for a batch, used by `DataLoader`."""
        floats = self._floats(self.pixels[list(items)])
        return [list(pair) for pair in zip(floats, torch.from_numpy(self.labels[list(items)]), strict=True)]

    def _floats(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        floats = torch.tensor(pixels, dtype=torch.get_default_dtype()).div_(255)
        if self.mean is None or self.std is None:
            return floats
        mean, std = (torch.tensor(values, dtype=floats.dtype)[:, None, None] for values in (self.mean, self.std))
        return floats.sub_(mean).div_(std)


class dataset_test(Hdf5Images):  # noqa: N801 - the script's name
    """``/data`` in NCHW, as SAC_JC's `dataset_test` reads it; see `Hdf5Images`."""

    layout = "NCHW"


class dataset_none(dataset_test):  # noqa: N801 - the script's name
    """The same as `dataset_test`: SAC_JC's two classes differ only in name."""


class dataset_SAC(Hdf5Images):  # noqa: N801 - the script's name
    """``/data`` in NHWC, as SAC_JC's `dataset_SAC` reads it; see `Hdf5Images`."""

    layout = "NHWC"


class dataset_SAC_num(dataset_SAC):  # noqa: N801 - the script's name
    """The first `num` images of a `dataset_SAC` file; see `Hdf5Images`."""

    def __init__(self, name: StrPath, num: int) -> None:
        super().__init__(name, limit=num)


class dataset1(Hdf5Images):  # noqa: N801 - the script's name
    """``/data`` in NHWC, normalised with CIFAR-10's mean and deviation, as SAC's `dataset1`; see `Hdf5Images`."""

    layout = "NHWC"
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2023, 0.1994, 0.2010)

    def __init__(self, name: StrPath, train: bool = False) -> None:
        super().__init__(name)


def write_hdf5(path: StrPath, images: Any, labels: Any) -> None:
    """Write ``/data`` and ``/label`` as the scripts do, atomically.

    Args:
        path: the file; its folder must exist.
        images: (n, C, H, W) or (n, H, W, C), float in 0..1, C = 1 or 3; array or tensor.
        labels: (n,) numbers.

    Raises:
        ProbeError: other shapes, dtypes or values.
        OSError: the folder does not exist or cannot be written to.
    """
    import h5py  # imported late: slow to import

    values, numbers = to_numpy(images, "images"), to_numpy(labels, "labels")
    _check_floats(values, "images")
    channels = values.shape[3] if values.ndim == 4 else 0
    to_pixels(values, "NHWC" if channels in (1, 3) else "NCHW", "images")  # checks shape and range
    if numbers.shape != values.shape[:1]:
        raise ProbeError(f"labels must have the shape ({len(values)},), one label an image, got {numbers.shape}")
    with atomic_write(path) as handle, h5py.File(handle, "w") as file:
        file.create_dataset("data", data=values)
        file.create_dataset("label", data=numbers)


def augmented_name(iteration: int, augment_name: str = "jpeg_compression") -> str:
    """File name of SAC_JC for an iteration: severity ⌊i / 2⌋ + 1, flipped if i is odd.

    Args:
        iteration: 0..9.
        augment_name: name of the corruption.

    Returns:
        ``"jpeg_compression_augment_s=1_f=0.h5"`` for iteration 0.

    Raises:
        ProbeError: another iteration.
    """
    severity, flip = _severity_and_flip(iteration)
    return f"{augment_name}_augment_s={severity}_f={flip}.h5"


def jpeg_compression(images: Any, iteration: int) -> npt.NDArray[np.float32]:
    """SAC-JC probes of an iteration, as made by dataset_augmented.py.

    y = JPEG(⌊255 x⌋) / 255 at severity ⌊i / 2⌋ + 1, 4:2:0; height and width swapped if i is odd

    Args:
        images: (n, C, H, W) float in 0..1, C = 3; array or tensor.
        iteration: 0..9.

    Returns:
        (n, C, H, W) float32, (n, C, W, H) where `iteration` is odd.

    Raises:
        ProbeError: other shapes, dtypes, values or iterations.

    Source: dataset_augmented.py of SAC_JC; the corruption is that of `imagecorruptions` (Hendrycks & Dietterich 2019).
    """
    severity, flip = _severity_and_flip(iteration)
    values = to_numpy(images, "images")
    _check_floats(values, "images")
    pixels, _ = to_pixels(values, "NCHW", "images", truncate=True)
    compressed = jpeg_compress(pixels, resolve_quality(None, severity))
    channels_first = compressed.transpose(0, 3, 2, 1) if flip else compressed.transpose(0, 3, 1, 2)
    result: npt.NDArray[np.float32] = np.divide(channels_first, np.float32(255), dtype=np.float32, order="C")
    return result


def write_augmented(
    source: StrPath = "dataset_test.h5",
    iteration: int = 0,
    *,
    folder: StrPath = _FOLDER,
    layout: Layout = "NCHW",
    limit: int | None = _MAX_PROBES,
) -> str:
    """Write the probe file of an iteration to ``data/data_augmented``, where the scripts expect it.

    Args:
        source: HDF5 file with NCHW images, relative to `folder`.
        iteration: 0..9, see `jpeg_compression`.
        folder: the scripts' folder ``data``; ``data_augmented`` in it is created if missing.
        layout: "NCHW" for the present SAC_JC and `dataset_test`, "NHWC" for earlier versions and `dataset_SAC`.
        limit: largest number of images, the first ones.

    Returns:
        The file's path.

    Raises:
        FileFormatError, ProbeError: an unreadable source, or a wrong argument.
        OSError: the folder cannot be written to.
    """
    if layout not in ("NCHW", "NHWC"):
        raise ProbeError(f'layout must be "NCHW" or "NHWC", got {layout!r}')
    name = augmented_name(iteration)
    images, labels = _read(os.path.join(folder, os.fspath(source)), "NCHW", limit)
    probes = jpeg_compression(images, iteration)
    target = os.path.join(folder, _AUGMENTED)
    os.makedirs(target, exist_ok=True)
    path = os.path.join(target, name)
    write_hdf5(path, probes if layout == "NCHW" else probes.transpose(0, 2, 3, 1), labels)
    return path


def _severity_and_flip(iteration: int) -> tuple[int, int]:
    if isinstance(iteration, bool) or not isinstance(iteration, (int, np.integer)) or not 0 <= iteration <= 9:
        raise ProbeError(f"iteration must be an integer from 0 to 9, got {iteration!r}")
    return int(iteration) // 2 + 1, int(iteration) % 2


def _read(path: str, layout: Layout, limit: int | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    values, labels, _ = read_hdf5(path, layout, limit)
    _check_floats(values, f"/data of {path!r}")
    if labels is None:
        raise ProbeError(f"HDF5 file {path!r} must have the dataset /label")
    if labels.dtype.itemsize > 8:
        raise ProbeError(f"/label of {path!r} must be numbers that PyTorch has, got {labels.dtype}")
    native: np.ndarray[Any, Any] = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    return values, native


def _truncated(values: np.ndarray[Any, Any], layout: Layout, name: str) -> npt.NDArray[np.uint8]:
    """uint8(255 x), (n, C, H, W), computed in blocks to avoid a second copy of all floats."""
    values = values if layout == "NHWC" else values.transpose(0, 2, 3, 1)
    count, height, width, channels = values.shape
    result = np.empty((count, channels, height, width), np.uint8)
    step = max(1, _BLOCK_BYTES // values[0].nbytes)
    for start in range(0, len(values), step):
        block = values[start : start + step]
        try:
            pixels, _ = to_pixels(block, "NHWC", name, truncate=True)
        except ProbeError:
            to_pixels(values, "NHWC", name)  # raises with the index of the image in the file
            raise
        if values.dtype.newbyteorder("=") == np.float16:  # to_pixels multiplies in float32, the scripts in float16
            pixels = (block * np.float16(255)).astype(np.uint8)
        result[start : start + step] = pixels[..., :channels].transpose(0, 3, 1, 2)
    return result


def _check_floats(values: np.ndarray[Any, Any], name: str) -> None:
    # uint8 would overflow in the multiplication by 255.
    if values.dtype.newbyteorder("=") not in _FLOATS:
        raise ProbeError(f"{name} must be float16, float32 or float64 in 0..1, got {values.dtype}")
