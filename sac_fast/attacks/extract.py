"""Theft by extraction: the thief only asks the source and trains a student on its answers."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from .training import Progress, Recipe, ask, check_images, fit

_Model = TypeVar("_Model", bound=nn.Module)


def _ask_both(source: nn.Module, student: nn.Module, images: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The source's logits for the images and, where the recipe mirrors, for the mirrored ones."""
    check_images(images)
    answers = ask(source, images)
    classes, outputs = answers.shape[1], ask(student, images[:1]).shape[1]
    if classes != outputs:
        raise ModelError(f"student must have {classes} outputs like source, got {outputs}")
    mirrored = ask(source, images.flip(-1)) if recipe.flips and images.ndim >= 3 else answers
    return answers.to(images.device), mirrored.to(images.device)


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
    answers, mirrored = _ask_both(source, student, images, recipe)
    stolen = copy.deepcopy(student)
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
    answers, mirrored = _ask_both(source, student, images, recipe)
    softened = torch.softmax(answers / temperature, dim=1)
    softened_mirrored = torch.softmax(mirrored / temperature, dim=1)

    def distillation(outputs: Tensor, wanted: Tensor) -> Tensor:
        return temperature**2 * F.kl_div(torch.log_softmax(outputs / temperature, dim=1), wanted, reduction="batchmean")

    stolen = copy.deepcopy(student)
    fit(
        stolen, images, softened, softened_mirrored, distillation, recipe, seed,
        progress=progress, description="extracting by probabilities",
    )  # fmt: skip
    return stolen
