"""Theft by extraction: the thief only asks the source and trains a student on its answers."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from .copies import copied
from .training import Progress, Recipe, ask, check_images, check_labels, fit

_Model = TypeVar("_Model", bound=nn.Module)


def ask_both(source: nn.Module, student: nn.Module, images: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The source's logits for the images and, where the recipe mirrors, for the mirrored ones."""
    check_images(images)
    answers = ask(source, images)
    classes, outputs = answers.shape[1], ask(student, images[:1]).shape[1]
    if classes != outputs:
        raise ModelError(f"student must have {classes} outputs like source, got {outputs}")
    mirrored = ask(source, images.flip(-1)) if recipe.flips and images.ndim >= 3 else answers
    return answers.to(images.device), mirrored.to(images.device)


def pack(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Logits and labels (None: the logits' own) as one tensor of targets (n, k + 1), as `fit` takes it.

    It is float32 at least: bfloat16 has no labels above 256 but even ones, float16 none above 65,504.
    """
    column = logits.argmax(dim=1) if labels is None else labels
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.cat([logits.to(wide), column[:, None].to(wide)], dim=1)


def unpack(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `pack`: (n, k) logits and (n,) int64 labels."""
    return wanted[:, :-1], wanted[:, -1].to(torch.int64)


def extract_labels(
    source: nn.Module,
    student: _Model,
    images: Tensor,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> _Model:
    """Train a copy of a student on the labels that the source gives to images, with cross-entropy.

    Args:
        source: the model that is asked, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own, without labels.
        recipe: how; ``Recipe()`` by default. With ``flips`` the mirrored images are asked as well.
        seed: decides everything random; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all).

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape.
        ModelError: answers that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: the label-only extraction (Extract-L) of Guan et al., NeurIPS 2022, arXiv 2210.15427.
    """
    recipe = recipe or Recipe()
    answers, mirrored = ask_both(source, student, images, recipe)
    stolen = copied(student)
    fit(
        stolen, images, answers.argmax(dim=1), mirrored.argmax(dim=1), F.cross_entropy, recipe, seed,
        progress=progress, description="extracting by labels",
    )  # fmt: skip
    return stolen


def extract_probabilities(
    source: nn.Module,
    student: _Model,
    images: Tensor,
    *,
    temperature: float = 4.0,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> _Model:
    """Train a copy of a student on the source's softened probabilities (knowledge distillation).

    ``loss = T² KL(softmax(source / T) ‖ softmax(student / T))``. A service that tells probabilities p is
    enough, since ``softmax(log p / T) = softmax(logits / T)``: a row's additive constant is lost, which is
    why pearson, and not cosine, recognises such a student by its logits.

    Args:
        source: the model that is asked, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own, without labels.
        temperature: T > 0; a high one tells more of how the source ranks the wrong classes.
        recipe: how; ``Recipe()`` by default. With ``flips`` the mirrored images are asked as well.
        seed: decides everything random; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all).

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape, a temperature that is not positive.
        ModelError: answers that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531; the Extract-P of Guan et al., NeurIPS 2022.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}")
    recipe = recipe or Recipe()
    answers, mirrored = ask_both(source, student, images, recipe)
    softened = torch.softmax(answers / temperature, dim=1)
    softened_mirrored = torch.softmax(mirrored / temperature, dim=1)

    def distillation(outputs: Tensor, wanted: Tensor) -> Tensor:
        return temperature**2 * F.kl_div(torch.log_softmax(outputs / temperature, dim=1), wanted, reduction="batchmean")

    stolen = copied(student)
    fit(
        stolen, images, softened, softened_mirrored, distillation, recipe, seed,
        progress=progress, description="extracting by probabilities",
    )  # fmt: skip
    return stolen


def distillation_loss(outputs: Tensor, answers: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """``α T² mean_ij q_ij (log q_ij − log p_ij) + (1 − α) CE(outputs, labels)``.

    With ``q = softmax(answers / T)`` and ``p = softmax(outputs / T)``; the first mean is over all n·k entries,
    as torch's ``KLDivLoss()`` takes it, so that the term is k times smaller than the mean divergence of a row.

    Args:
        outputs: (n, k) the student's logits.
        answers: (n, k) the source's logits.
        labels: (n,) int64.
        temperature: T.
        alpha: α, the share of the first term.

    Returns:
        A scalar.
    """
    wanted = torch.softmax(answers / temperature, dim=1)
    rows = F.kl_div(torch.log_softmax(outputs / temperature, dim=1), wanted, reduction="batchmean")
    return alpha * temperature**2 * rows / outputs.shape[1] + (1 - alpha) * F.cross_entropy(outputs, labels)


def extract_distilled(
    source: nn.Module,
    student: _Model,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 20.0,
    alpha: float = 0.1,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> _Model:
    """Train a copy of a student on a mix of softened probabilities and labels: `distillation_loss`.

    Args:
        source: the model that is asked, in eval mode; it is not changed.
        student: where the stolen model starts, any architecture with as many outputs; it is not changed.
        images: (n, …) float, as both models see them (after preprocessing): the thief's own.
        labels: (n,) integers, the thief's own; None: the labels that the source gives, as in the reference
            scripts.
        temperature: T > 0; 20 in the reference scripts.
        alpha: 0 … 1, the share of the softened probabilities; 0.1 in the reference scripts.
        recipe: how; ``Recipe()`` by default. With ``flips`` the mirrored images are asked as well.
        seed: decides everything random; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all).

    Returns:
        A new model of the student's type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range, T or α out of range.
        ModelError: answers that are not (n, classes) finite logits, numbers of outputs that differ,
            or a loss that diverged.

    Source: the Extract-P of Guan et al., arXiv 2412.20768, with the constants of its published scripts.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in 0…1, got {alpha!r}")
    recipe = recipe or Recipe()
    answers, mirrored = ask_both(source, student, images, recipe)
    own = None if labels is None else check_labels(labels, images.shape[0], answers.shape[1]).to(images.device)

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        return distillation_loss(outputs, *unpack(wanted), temperature, alpha)

    stolen = copied(student)
    fit(
        stolen, images, pack(answers, own), pack(mirrored, own), loss, recipe, seed,
        progress=progress, description="extracting by distillation",
    )  # fmt: skip
    return stolen
