"""Theft by extraction: the thief only queries the source and trains a student on its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError, require
from .arguments import check_images, check_labels
from .copies import ModelT, copied
from .training import SCRATCH, Loss, RunOptions, TrainingConfig, compute_logits, fit


def fit_to_source(
    source: nn.Module,
    student: ModelT,
    images: Tensor,
    targets: Callable[[Tensor], Tensor],
    loss: Loss,
    config: TrainingConfig,
    **options: Any,
) -> ModelT:
    """Check images and outputs, then `fit` a student in place to what the source gives for the images.

    Args:
        source: the model that is queried, in eval mode; it is not changed. With ``config.flips`` it is queried for the
            flipped images too.
        student: changed in place; with as many outputs as the source.
        images: (n, …) float, as both models see them.
        targets: (n, k) logits of the source -> (n, …) the second argument of ``loss``.
        loss, config, options: as `fit`.

    Returns:
        The student, in eval mode.

    Raises:
        ModelError: source and student have different numbers of outputs.
    """
    check_images(images)
    logits = compute_logits(source, images)
    classes, outputs = logits.shape[1], compute_logits(student, images[:1]).shape[1]
    require(classes == outputs, f"student must have {classes} outputs like source", outputs, ModelError)
    mirrored = compute_logits(source, images.flip(-1)) if config.flips and images.ndim >= 3 else logits
    straight, flipped = (targets(each.to(images.device)) for each in (logits, mirrored))
    fit(student, images, straight, flipped, loss, config, **options)
    return student


def predictions(logits: Tensor) -> Tensor:
    """The label of the largest logit in each row, (n,) int64."""
    return logits.argmax(dim=1)


def pack(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Logits and labels (None: the largest logit's) as one tensor of targets (n, k + 1), as `fit` takes it.

    It is float32 at least: bfloat16 has no labels above 256 but even ones, float16 none above 65,504.

    Raises:
        TypeError, ValueError: labels of the wrong type, shape or range.
    """
    column = predictions(logits) if labels is None else check_labels(labels, *logits.shape).to(logits.device)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.cat([logits.to(wide), column[:, None].to(wide)], dim=1)


def unpack(targets: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `pack`: (n, k) logits and (n,) int64 labels."""
    return targets[:, :-1], targets[:, -1].to(torch.int64)


def extract_labels(
    source: nn.Module, student: ModelT, images: Tensor, *, config: TrainingConfig = SCRATCH, **run: Unpack[RunOptions]
) -> ModelT:
    """Train a copy of a student on the labels that the source gives to images, with cross-entropy.

    Args:
        source: the model that is queried, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own, without labels.
        config: see `TrainingConfig`. With ``flips`` the source is queried for the flipped images too.
        **run: see `RunOptions`.

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape.
        ModelError: outputs that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: the label-only extraction (Extract-L) of Guan et al., NeurIPS 2022, arXiv 2210.15427.

    Example:
        >>> import torch
        >>> source, student, images = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.rand(32, 4)
        >>> stolen = extract_labels(source, student, images, config=TrainingConfig(epochs=2))
        >>> stolen(images).shape
        torch.Size([32, 3])
    """
    return fit_to_source(
        source, copied(student), images, predictions, F.cross_entropy, config, description="extracting by labels", **run
    )


def extract_probabilities(
    source: nn.Module,
    student: ModelT,
    images: Tensor,
    *,
    temperature: float = 4.0,
    config: TrainingConfig = SCRATCH,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Train a copy of a student on the source's softened probabilities (knowledge distillation).

    ``loss = T² KL(softmax(source / T) ‖ softmax(student / T))``. A service that returns probabilities p is
    enough, since ``softmax(log p / T) = softmax(logits / T)``: a row's additive constant is lost, which is
    why pearson recognises such a student by its logits and cosine does not.

    Args:
        source: the model that is queried, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own, without labels.
        temperature: T > 0; a high one weights the ranking of the wrong classes more.
        config: see `TrainingConfig`. With ``flips`` the source is queried for the flipped images too.
        **run: see `RunOptions`.

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape, a temperature that is not positive.
        ModelError: outputs that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531; the Extract-P of Guan et al., NeurIPS 2022.

    Example:
        >>> import torch
        >>> source, student, images = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.rand(32, 4)
        >>> stolen = extract_probabilities(source, student, images, temperature=1.0, config=TrainingConfig(epochs=2))
        >>> stolen(images).shape
        torch.Size([32, 3])
    """
    require(0 < temperature < math.inf, "temperature must be positive and finite", temperature)

    def soften(logits: Tensor) -> Tensor:
        return torch.softmax(logits / temperature, dim=1)

    def distillation(outputs: Tensor, target: Tensor) -> Tensor:
        return temperature**2 * F.kl_div(torch.log_softmax(outputs / temperature, dim=1), target, reduction="batchmean")

    description = "extracting by probabilities"
    return fit_to_source(source, copied(student), images, soften, distillation, config, description=description, **run)


def distillation_loss(outputs: Tensor, logits: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """``α T² mean_ij q_ij (log q_ij − log p_ij) + (1 − α) CE(outputs, labels)``.

    With ``q = softmax(logits / T)`` and ``p = softmax(outputs / T)``; the first mean is over all n·k entries,
    as torch's ``KLDivLoss()`` takes it, so that the term is k times smaller than the mean divergence of a row.

    Args:
        outputs: (n, k) the student's logits.
        logits: (n, k) the source's.
        labels: (n,) int64.
        temperature: T.
        alpha: α, the share of the first term.

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> student, source = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
        >>> loss = distillation_loss(student, source, torch.tensor([1]), temperature=2.0, alpha=0.3)
        >>> round(loss.item(), 4)
        1.5056
    """
    target = torch.softmax(logits / temperature, dim=1)
    rows = F.kl_div(torch.log_softmax(outputs / temperature, dim=1), target, reduction="batchmean")
    return alpha * temperature**2 * rows / outputs.shape[1] + (1 - alpha) * F.cross_entropy(outputs, labels)


def extract_distilled(
    source: nn.Module,
    student: ModelT,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 20.0,
    alpha: float = 0.1,
    config: TrainingConfig = SCRATCH,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Train a copy of a student on a mix of softened probabilities and labels: `distillation_loss`.

    Args:
        source: the model that is queried, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own.
        labels: (n,) integers, the thief's own; None: the source's, as in the reference scripts.
        temperature: T > 0; 20 in the reference scripts.
        alpha: 0 … 1, the share of the softened probabilities; 0.1 in the reference scripts.
        config: see `TrainingConfig`. With ``flips`` the source is queried for the flipped images too.
        **run: see `RunOptions`.

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range, T or α out of range.
        ModelError: outputs that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: the Extract-P of Guan et al., arXiv 2412.20768, with the constants of its published scripts.

    Example:
        >>> import torch
        >>> source, student, images = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.rand(32, 4)
        >>> stolen = extract_distilled(source, student, images, config=TrainingConfig(epochs=2))
        >>> stolen(images).shape
        torch.Size([32, 3])
    """
    require(0 < temperature < math.inf, "temperature must be positive and finite", temperature)
    require(0 <= alpha <= 1, "alpha must lie in 0…1", alpha)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return distillation_loss(outputs, *unpack(targets), temperature, alpha)

    targets = partial(pack, labels=labels)
    description = "extracting by distillation"
    return fit_to_source(source, copied(student), images, targets, loss, config, description=description, **run)
