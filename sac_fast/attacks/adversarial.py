"""Theft by extraction and adversarial training, which moves the student's decision boundaries from the source's."""

from __future__ import annotations

import math
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import require
from ..models import Preprocessing
from ..models.runner import evaluating
from .arguments import check_images
from .copies import ModelT, copied
from .extract import extract_labels, fit_to_source, predictions
from .training import SCRATCH, TUNING, Perturb, Progress, RunOptions, TrainingConfig, fit_labels, split_progress

EPSILON = 4 / 255
_DESCRIPTION = "training on adversarial images"


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = EPSILON,
    steps: int = 2,
    preprocessing: Preprocessing | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Images within ε of the given ones on which the cross-entropy is high (projected gradient ascent).

    ``x ← clip(x + 2.5 ε / steps · sign(∇ₓ CE(model(x), y)))``, clipped to ``|x − x₀| ≤ ε`` and to pixels 0 … 1.
    ε is in pixel units: channel c of a preprocessed image may move by ``ε / std_c``. The model runs in
    eval mode, so that its batch normalisation statistics stay; its modes are restored.

    Args:
        model: on the device of the images.
        images: (n, C, H, W) or (n, H, W, C) float, as the model sees them (after ``preprocessing``).
        labels: (n,) int64, the labels to move away from.
        epsilon: > 0, of pixels in 0 … 1.
        steps: ≥ 1; the step is 2.5 ε / steps, at most ε in effect, as Madry et al. choose it.
        preprocessing: where the images come from: its mean, std and layout; None: pixels 0 … 1, NCHW.
        start: (n, …) in −1 … 1, the first offset in units of ε; None: none.

    Returns:
        Images of the same shape, without a graph.

    Raises:
        ValueError: ε or steps out of range, or a number of channels that is not the preprocessing's.

    Source: Madry et al., ICLR 2018, arXiv 1706.06083.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> moved = pgd(model, images, labels, epsilon=0.1)
        >>> bool(((moved - images).abs() <= 0.1 + 1e-6).all())
        True
    """
    require(0 < epsilon < math.inf, "epsilon must be positive and finite", epsilon)
    require(isinstance(steps, int) and steps >= 1, "steps must be an integer of at least 1", steps)
    preprocessing = preprocessing or Preprocessing()
    mean, std = (_channels(values, images, preprocessing) for values in (preprocessing.mean, preprocessing.std))
    radius = epsilon / std
    low = torch.maximum(images - radius, (0 - mean) / std)
    high = torch.minimum(images + radius, (1 - mean) / std)
    with evaluating(model):
        x = images if start is None else torch.clamp(images + radius * start, low, high)
        for _ in range(steps):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels), x)
            x = torch.clamp(x.detach() + 2.5 / steps * radius * gradient.sign(), low, high)
    return x.detach()


def _channels(values: tuple[float, ...], images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """One value a channel, to broadcast over the images; one for all where they are equal and no images of channels."""
    column = torch.tensor(values, dtype=images.dtype, device=images.device)
    if bool((column == column[0]).all()):
        return column[0]
    axis = 1 if preprocessing.layout == "NCHW" else images.ndim - 1
    expected = f"images must have {len(values)} channels ({preprocessing.layout}) like preprocessing"
    require(images.ndim == 4 and images.shape[axis] == len(values), expected, tuple(images.shape))
    return column.reshape([-1 if dimension == axis else 1 for dimension in range(4)])


def extract_adversarial(
    source: nn.Module,
    student: ModelT,
    images: Tensor,
    *,
    epsilon: float = EPSILON,
    steps: int = 2,
    preprocessing: Preprocessing | None = None,
    config: TrainingConfig = SCRATCH,
    tuning: TrainingConfig = TUNING,
    seed: int = 0,
    progress: Progress = False,
) -> ModelT:
    """Extract a student by labels, then train it on the source's labels of clean and of adversarial images.

    The second training minimises ``½ CE(student(x), y) + ½ CE(student(pgd(x)), y)`` with y the source's label
    of the clean image: what the reference scripts do, with PGD of few steps and a random start.

    Args:
        source: the model that is queried, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, C, H, W) or (n, H, W, C) float, as both models see them: the thief's own, without labels.
        epsilon, steps, preprocessing: see `pgd`.
        config, tuning: of the extraction and of the adversarial training.
        seed, progress: see `RunOptions`.

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError, ModelError: as `extract_labels` and `pgd`.

    Source: Extract-Adv of Guan et al., NeurIPS 2022, arXiv 2210.15427; Madry et al., arXiv 1706.06083.

    Example:
        >>> import torch
        >>> source, student, images = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.rand(32, 4)
        >>> stolen = extract_adversarial(source, student, images, config=TrainingConfig(epochs=2))
        >>> stolen(images).shape
        torch.Size([32, 3])
    """
    check_images(images)
    first, second = split_progress(progress, [config, tuning], images.shape[0])
    stolen = extract_labels(source, student, images, config=config, seed=seed, progress=first)

    return fit_to_source(
        source, stolen, images, predictions, F.cross_entropy, tuning,
        seed=seed, perturb=_half_adversarial(epsilon, steps, preprocessing), progress=second, description=_DESCRIPTION,
    )  # fmt: skip


def finetune_adversarial(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = EPSILON,
    steps: int = 2,
    preprocessing: Preprocessing | None = None,
    config: TrainingConfig = TUNING,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Fine-tune all layers of a copy of a model on clean and on adversarial images: adversarial training.

    It minimises ``½ CE(model(x), y) + ½ CE(model(pgd(x)), y)``.

    Args:
        model: the stolen model; it is not changed.
        images: (n, C, H, W) or (n, H, W, C) float, as the model sees them: the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        epsilon, steps, preprocessing: see `pgd`.
        config: of the training.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError, ModelError: as `finetune_all` and `pgd`.

    Source: Madry et al., arXiv 1706.06083.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = finetune_adversarial(model, images, labels, config=TrainingConfig(epochs=2))
        >>> torch.equal(stolen.weight, model.weight)
        False
    """
    perturb = _half_adversarial(epsilon, steps, preprocessing)
    return fit_labels(copied(model), images, labels, config, perturb=perturb, description=_DESCRIPTION, **run)


def _half_adversarial(epsilon: float, steps: int, preprocessing: Preprocessing | None) -> Perturb:
    """Beside every batch its adversarial images, with the same labels."""

    def perturb(model: nn.Module, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        start = 2 * torch.rand(batch.shape, dtype=batch.dtype) - 1  # on the CPU: one seed, one result
        moved = pgd(
            model, batch, labels,
            epsilon=epsilon, steps=steps, preprocessing=preprocessing, start=start.to(batch.device),
        )  # fmt: skip
        return torch.cat([batch, moved]), torch.cat([labels, labels])

    return perturb
