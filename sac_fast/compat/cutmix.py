"""CutMix probes of SAC's `cut_mix.py`, on current NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError

_SIDE = 0.2  # relative side of the patch, whatever λ was drawn


def rand_bbox(size: Sequence[int], lam: float, rng: np.random.RandomState | None = None) -> tuple[int, int, int, int]:
    """A patch of a fifth of each side, centred where neither coordinate is in the middle two thirds.

    Args:
        size: (n, C, W, H), as the script names the sides.
        lam: not used; the script computes it and then fixes the ratio.
        rng: random generator. Default: NumPy's global generator, as in the script.

    Returns:
        x1, y1, x2, y2, clipped at the edges: rows x1 … x2 − 1, columns y1 … y2 − 1.

    Raises:
        ProbeError: a side of 0.

    Source: cut_mix.py of SAC.
    """
    width, height = int(size[2]), int(size[3])
    if width < 1 or height < 1:
        raise ProbeError(f"size must be (n, C, W, H) with sides of at least 1, got {tuple(size)}")
    draw: Any = np.random if rng is None else rng
    half_w, half_h = int(width * _SIDE) // 2, int(height * _SIDE) // 2
    while True:
        x, y = int(draw.randint(width)), int(draw.randint(height))
        if not (width / 6 < x < 5 / 6 * width or height / 6 < y < 5 / 6 * height):
            break
    return max(x - half_w, 0), max(y - half_h, 0), min(x + half_w, width), min(y + half_h, height)


def cutmix(images: Tensor, *, seed: int = 3) -> Tensor:
    """The probes SAC-m of one batch: a patch of each image is pasted from another image of the batch.

    y_i = x_i, but x_π(i) within the patch; then height and width are swapped

    The random numbers are those of the script, in its order (NumPy's and PyTorch's generators with the same seed). The
    global generators are not used.

    Args:
        images: (n, C, H, W), any dtype; the script takes the first 100 test images of CIFAR-10.
        seed: the script's `random_seed`.

    Returns:
        (n, W, H, C): height and width swapped and channels last, as the script writes it and `dataset1` reads it.

    Raises:
        ProbeError: not four dimensions.

    Source: cut_mix.py of SAC (Guan et al., NeurIPS 2022, arXiv 2210.15427, section 4).
    """
    if images.dim() != 4:
        raise ProbeError(f"images must have the shape (n, C, H, W), got {tuple(images.shape)}")
    rng = np.random.RandomState(seed)  # the generator of the script
    lam = rng.beta(1, 1)  # not used, but later random numbers depend on the draw
    others = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
    x1, y1, x2, y2 = rand_bbox(images.shape, lam, rng)
    mixed = images.detach().clone()
    mixed[:, :, x1:x2, y1:y2] = images.detach()[others, :, x1:x2, y1:y2]
    return mixed.transpose(1, 3).contiguous()
