"""Zest: the weights of LIME's local linear models, compared by their cosine.

Source: Jia, Chen, Guan, Shamsabadi, Papernot: A Zest of LIME: Towards Architecture-Independent Model Distances,
ICLR 2022;
LIME: Ribeiro, Singh, Guestrin: "Why Should I Trust You?", KDD 2016, arXiv 1602.04938.

Every reference image is cut into superpixels; masks z ∈ {0, 1}^S leave some of them as they are and paint the
others in their mean colour; a model's probabilities for the masked images are fitted by a linear function of z,
least squares weighted by LIME's kernel exp(−(1 − cos(z, 1))² / σ²), σ = 0.25. The weights of all images and
classes, one vector, are a model's signature; the distance of two models is one minus the cosine of their
signatures. All models get the same masks.

Hyper-parameters (paper → here): 128 reference images with 1,000 masks each, that is 128,000 queries → the budget,
in images of MASKS masks; LIME's quickshift, which finds one single superpixel in nearly all of the test bed's 32×32
patches → SLIC with 16 superpixels a patch. Models with other classes than the source are not compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .defender import OwnModels, Task, check_budget, logits_of

SUPERPIXELS = 16
MASKS = 100
KERNEL_WIDTH = 0.25
_RIDGE = 1e-8  # keeps the normal equations regular where two superpixels were always masked together
_CHUNK = 64  # reference images whose masked copies are in memory at once
SETTINGS = {
    "superpixels": SUPERPIXELS,
    "masks_per_image": MASKS,
    "kernel_width": KERNEL_WIDTH,
    "outputs": "probabilities",
    "distance": "cosine",
}


@dataclass(frozen=True, eq=False)
class Lime:
    """LIME's masked images and the solution of its least squares for one reference image.

    Attributes:
        images: (p, 3, H, W) masked images.
        solver: (S, p) float64; ``solver @ outputs`` are the weights of the S superpixels.
    """

    images: Tensor
    solver: Tensor


def lime(image: Tensor, segments: NDArray[np.int64], masks: Tensor) -> Lime:
    """Mask an image and solve LIME's weighted least squares once, for whatever outputs come.

    ``(w, b) = argmin Σ_m κ_m |f(z_m) − w·z_m − b|²``, ``κ = exp(−(1 − cos(z, 1))² / σ²)``

    Args:
        image: (3, H, W) pixels in 0..1.
        segments: (H, W) superpixel of every pixel, 0 … S − 1.
        masks: (p, S) bool, True where a superpixel stays.

    Returns:
        Masked images and solver.
    """
    where = torch.from_numpy(segments)
    count = masks.shape[1]
    one_hot = F.one_hot(where, count).to(image.dtype)  # (H, W, S)
    colours = torch.einsum("chw,hws->cs", image, one_hot) / one_hot.sum((0, 1))
    painted = colours[:, where]
    images = torch.where(masks[:, where][:, None], image, painted)
    kept = masks.double()
    cosine = (kept.mean(1)).sqrt()  # z·1 / (|z| |1|) of a 0/1 vector; 0 for the empty mask
    kernel = torch.exp(-((1 - cosine) ** 2) / KERNEL_WIDTH**2)
    design = torch.cat([kept, torch.ones(len(masks), 1, dtype=torch.float64)], 1)
    weighted = design * kernel[:, None]
    normal = weighted.T @ design + _RIDGE * torch.eye(count + 1, dtype=torch.float64)
    return Lime(images, torch.linalg.solve(normal, weighted.T)[:count])


def signature(model: nn.Module, limes: list[Lime], classes: int | None = None) -> Tensor:
    """All LIME weights of a model, one float64 vector.

    Args:
        model: pixels to logits.
        limes: of the reference images.
        classes: that the model must have; None: any.
    """
    weights = []
    for start in range(0, len(limes), _CHUNK):
        chunk = limes[start : start + _CHUNK]
        logits = logits_of(model, torch.cat([one.images for one in chunk]), classes)
        shares = torch.split(torch.softmax(logits.double(), 1), [len(one.images) for one in chunk])
        weights += [(one.solver @ outputs).flatten() for one, outputs in zip(chunk, shares, strict=True)]
    return torch.cat(weights)


@dataclass(frozen=True, eq=False)
class Zest:
    """LIME's questions and the source's signature."""

    limes: list[Lime]
    reference: Tensor
    classes: int

    @property
    def queries(self) -> int:
        """Questions to a suspect: all masked images."""
        return sum(len(one.images) for one in self.limes)

    def score(self, model: nn.Module) -> float:
        """One minus the cosine of the two signatures: 0 … 2."""
        return max(
            0.0, 1 - float(F.cosine_similarity(self.reference, signature(model, self.limes, self.classes), dim=0))
        )


def superpixels(image: Tensor) -> NDArray[np.int64]:
    """SLIC's superpixels of a (3, H, W) image, numbered from 0 without gaps."""
    from skimage.segmentation import slic

    found = slic(image.permute(1, 2, 0).numpy(), n_segments=SUPERPIXELS, start_label=0)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape).astype(np.int64)


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> Zest:
    """Choose reference images and masks.

    Args:
        source: pixels to logits.
        task: where the reference images are taken from.
        own: not used.
        budget: number of queries, at least 2 · (superpixels + 1), shared by so many reference images that each gets
            about MASKS.
        seed: of images and masks.

    Returns:
        The fingerprint.
    """
    check_budget(budget, least=2 * (SUPERPIXELS + 1))
    count = max(1, math.floor(budget / MASKS))
    chosen, _ = task.draw(count, seed)
    generator = torch.Generator().manual_seed(seed)
    limes = []
    for image in chosen:
        segments = superpixels(image)
        masks = torch.rand(budget // len(chosen), int(segments.max()) + 1, generator=generator) < 0.5
        masks[0] = True  # LIME's first sample is the image itself
        limes.append(lime(image, segments, masks))
    logits = logits_of(source, chosen[:1])
    return Zest(limes, signature(source, limes), logits.shape[1])
