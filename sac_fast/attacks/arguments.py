"""Checks of the images and labels that a model is trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import require


def check_images(images: Tensor) -> None:
    """Refuse what is not a non-empty float tensor with one row an image."""
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor, got {type(images).__name__}")
    expected = "images must be floating point as the model sees them (apply the preprocessing first)"
    require(images.is_floating_point(), expected, images.dtype, TypeError)
    expected = "images must have at least one row and two dimensions"
    require(images.ndim >= 2 and images.shape[0] > 0, expected, tuple(images.shape))


def check_labels(labels: Tensor, rows: int, classes: int) -> Tensor:
    """Return the labels as int64, one an image, 0 … classes - 1; refuse anything else."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}")
    integers = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    require(integers, "labels must be integers", labels.dtype, TypeError)
    require(labels.shape == (rows,), f"labels must have shape ({rows},), one row an image", tuple(labels.shape))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must lie in 0…{classes - 1}, as the model has {classes} outputs, got {low}…{high}")
    return labels.to(torch.int64)
