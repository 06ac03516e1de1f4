"""Checks of the arguments of `jpeg_roundtrip`, shared by the reference and the fast path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from ..io.choices import Subsampling
from .arguments import check_dense, check_not_masked

SUBSAMPLINGS: tuple[Subsampling, ...] = get_args(Subsampling)
# libjpeg's own limit of a side, in pixels
MAX_SIDE = 65_500

Quality: TypeAlias = int | Sequence[int] | np.ndarray | Tensor


def images_tensor(images: Any) -> Tensor:
    """Return `images` as a checked uint8 tensor.

    NumPy arrays are shared where torch can, copied where it cannot (read-only, or with strides that torch does not
    have).
    """
    check_not_masked("images", images)
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8:
            raise TypeError(f"images must be uint8, got {images.dtype}")
        sharable = images.flags.writeable and all(stride >= 0 for stride in images.strides)
        images = torch.from_numpy(images if sharable else images.copy())
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch tensor or a NumPy array, got {type(images).__name__}")
    check_images(images)
    return images


def check_images(images: Tensor) -> None:
    """Raise unless `images` is dense uint8 (n, H, W, 1), (n, H, W, 3) or (n, H, W), sides of 1 … 65,500 pixels."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    check_dense("images", images)
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise ValueError(f"images must have shape (n, H, W, 3), (n, H, W, 1) or (n, H, W), got {shape}")
    if not all(1 <= side <= MAX_SIDE for side in shape[1:3]):
        raise ValueError(f"images must have sides of 1 to {MAX_SIDE} pixels, got {shape}")


def check_quality(quality: Tensor, count: int) -> None:
    """Raise unless `quality` is a dense uint8 tensor of shape (1,), or of one for each of `count` images."""
    if quality.dtype != torch.uint8:
        raise TypeError(f"quality must be uint8, got {quality.dtype}")
    check_dense("quality", quality)
    if tuple(quality.shape) not in ((1,), (count,)):
        raise ValueError(f"quality must have shape (1,) or ({count},) like images, got {tuple(quality.shape)}")


def check_quality_values(quality: Tensor) -> None:
    """Raise for a checked quality outside 1 … 100: the kernels divide by it."""
    _check_range(quality.tolist())


def _check_range(values: list[int]) -> None:
    if values and not 1 <= min(values) <= max(values) <= 100:
        wrong = next(i for i, value in enumerate(values) if not 1 <= value <= 100)
        raise ValueError(f"quality must be 1 to 100, got {values[wrong]} for image {wrong}")


def quality_tensor(quality: Any, count: int) -> Tensor:
    """Return `quality` as a uint8 tensor on the CPU, of shape (1,) for one number, else (count,)."""
    if isinstance(quality, (bool, np.bool_)):
        raise TypeError("quality must be an integer or one for each image, got bool")
    if isinstance(quality, (int, np.integer)):
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be 1 to 100, got {quality}")
        # named: torch.set_default_device may say another one
        return torch.tensor([int(quality)], dtype=torch.uint8, device="cpu")
    check_not_masked("quality", quality)
    if isinstance(quality, Tensor):
        check_dense("quality", quality)
        if quality.dtype.is_floating_point or quality.dtype.is_complex:
            raise TypeError(f"quality must be an integer or one for each image, got {quality.dtype}")
        values = quality.cpu().numpy()
    else:
        try:
            values = np.asarray(quality)
        except ValueError as error:  # lists of different lengths
            raise ValueError(f"quality must be one number or have shape ({count},) like images: {error}") from None
    if values.size == 0 and count == 0:
        values = values.astype(np.int64)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"quality must be an integer or one for each image, got {values.dtype}")
    if values.shape not in ((), (count,)):
        raise ValueError(f"quality must be one number or have shape ({count},) like images, got {values.shape}")
    values = values.reshape(-1)
    _check_range(values.tolist())
    return torch.from_numpy(values.astype(np.uint8))
