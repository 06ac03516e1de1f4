"""Checks of the images and labels that a model is trained on."""

from __future__ import annotations

import torch
from torch import Tensor


def check_images(images: Tensor) -> None:
    """Refuse what is not a non-empty float tensor with one row an image."""
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor, got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point as the model sees them (apply the preprocessing first), got {images.dtype}"
        )
    if images.ndim < 2 or images.shape[0] == 0:
        raise ValueError(f"images must have at least one row and two dimensions, got {tuple(images.shape)}")


def check_labels(labels: Tensor, rows: int, classes: int) -> Tensor:
    """Return the labels as int64, one an image, 0 … classes - 1; refuse anything else."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != (rows,):
        raise ValueError(f"labels must have shape ({rows},), one row an image, got {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must lie in 0…{classes - 1}, as the model has {classes} outputs, got {low}…{high}")
    return labels.to(torch.int64)
