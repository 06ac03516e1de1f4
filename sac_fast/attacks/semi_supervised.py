"""Theft by few queries: a student on the source's probabilities of some images and on its own guesses of the others."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import require
from .arguments import check_images
from .copies import ModelT
from .extract import extract_probabilities
from .training import SCRATCH, Progress, TrainingConfig, compute_logits, device_of, fit, split_progress


def extract_semi_supervised(
    source: nn.Module,
    student: ModelT,
    images: Tensor,
    *,
    share: float = 0.25,
    temperature: float = 0.5,
    mix: float = 0.75,
    config: TrainingConfig = SCRATCH,
    seed: int = 0,
    progress: Progress = False,
) -> ModelT:
    """Train a copy of a student on the source's probabilities of few images, and on guesses for all others.

    1. The source is queried for ``share · n`` images; the student learns their probabilities in half of the steps.
    2. The student guesses the other images: ``q ∝ p^(1/T)``, p its mean probabilities of an image and its mirror
       image. It goes on with all images in pairs, mixed: ``λ x + (1 − λ) x'`` with targets ``λ q + (1 − λ) q'``,
       ``λ ~ max(β, 1 − β), β ~ Beta(mix, mix)``.

    Simplified from MixMatch: the guesses are made once, of two views.

    Args:
        source: the model that is queried, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own, without labels.
        share: 0 … 1, both excluded: of the images for which the source is queried.
        temperature: T > 0; below 1 the guesses are sharpened.
        mix: > 0, of the Beta distribution.
        config: of the training on all images.
        seed, progress: see `RunOptions`.

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape, a parameter out of range.
        ModelError: as `extract_probabilities`.

    Source: Jagielski et al., USENIX Security 2020, arXiv 1909.01838 (extraction by semi-supervised learning); Berthelot
    et al., MixMatch, arXiv 1905.02249.

    Example:
        >>> import torch
        >>> source, student, images = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.rand(32, 4)
        >>> stolen = extract_semi_supervised(source, student, images, config=TrainingConfig(epochs=2))
        >>> stolen(images).shape
        torch.Size([32, 3])
    """
    require(0 < share < 1, "share must be above 0 and below 1", share)
    require(0 < temperature < math.inf, "temperature must be positive and finite", temperature)
    require(0 < mix < math.inf, "mix must be positive and finite", mix)
    check_images(images)
    count = max(1, round(share * len(images)))
    generator = torch.Generator().manual_seed(seed)
    shares = np.random.default_rng(seed)
    queried = torch.randperm(len(images), generator=generator)[:count]
    few = dataclasses.replace(config, epochs=max(1, round(config.epochs / (2 * share))))
    first, second = split_progress(progress, [few, config], [count, len(images)])
    stolen = extract_probabilities(
        source, student, images[queried], temperature=1.0, config=few, seed=seed, progress=first
    )
    targets, mirrored = (
        _targets(source, stolen, views, images, queried, temperature) for views in (images, _mirror(images))
    )

    def mixed(_: nn.Module, batch: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        beta = shares.beta(mix, mix)
        kept = max(beta, 1 - beta)
        order = torch.randperm(len(batch), generator=generator)
        return torch.lerp(batch[order], batch, kept), torch.lerp(target[order], target, kept)

    fit(
        stolen, images, targets, mirrored, F.cross_entropy, config, seed,
        perturb=mixed, progress=second, description="extracting by guesses",
    )  # fmt: skip
    return stolen


def _targets(
    source: nn.Module, student: nn.Module, views: Tensor, images: Tensor, queried: Tensor, temperature: float
) -> Tensor:
    """The source's probabilities of the queried images, sharpened guesses of the student for the others."""
    both = [torch.softmax(compute_logits(student, each), dim=1) for each in (images, _mirror(images))]
    guesses = ((both[0] + both[1]) / 2) ** (1 / temperature)
    guesses /= guesses.sum(dim=1, keepdim=True)
    queried = queried.to(device_of(student))
    guesses[queried] = torch.softmax(compute_logits(source, views[queried.to(views.device)]), dim=1).to(guesses)
    return guesses.to(images.device)


def _mirror(images: Tensor) -> Tensor:
    return images.flip(-1) if images.ndim >= 3 else images
