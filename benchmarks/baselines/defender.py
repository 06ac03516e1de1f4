"""What the defender has: the source, images of its own, and models that take pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sac_fast.attacks.training import compute_logits
from sac_fast.errors import ModelError
from sac_fast.models import Preprocessing

_LUMA = (0.299, 0.587, 0.114)  # as in sac_fast.models.preprocessing


class PixelModel(nn.Module):
    """A network with its preprocessing in front: (n, 3, H, W) RGB pixels in 0..1 to logits.

    The methods perturb pixels, so a gradient must pass through the preprocessing, which `Preprocessing` itself, made
    for uint8 images, does not offer. Both give the same inputs for the same image.

    Args:
        network: from the network's inputs to (n, k) logits.
        preprocessing: `Preprocessing`, or its ``to_dict()``; None: pixels as they are.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if not isinstance(preprocessing, Preprocessing):
            preprocessing = Preprocessing.from_dict(preprocessing or {})
        self.network = network
        self.preprocessing = preprocessing
        # Not saved: they belong to the task, not to the weights.
        self.register_buffer("mean", torch.tensor(preprocessing.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor(_LUMA).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, k) of (n, 3, H, W) pixels in 0..1."""
        x, how = pixels, self.preprocessing
        if how.colour_order == "BGR":
            x = x.flip(1)
        elif how.colour_order == "GRAY":
            x = (x * self.luma).sum(1, keepdim=True)
        if how.size is not None and tuple(x.shape[2:]) != how.size:
            x = F.interpolate(x, how.size, mode="bilinear", antialias=True)
        x = (x - self.mean) / self.std
        answer: Tensor = self.network(x.permute(0, 2, 3, 1) if how.layout == "NHWC" else x)
        return answer


def to_pixels(images: Any) -> Tensor:
    """(n, H, W, 3) uint8 images as (n, 3, H, W) float32 pixels in 0..1."""
    return torch.tensor(images).permute(0, 3, 1, 2).to(torch.float32).div(255).contiguous()


@dataclass(frozen=True, eq=False)
class Task:
    """The defender's own images; no thief and no independent model of another owner was trained on them.

    Attributes:
        images: (n, 3, H, W) float32 pixels in 0..1, that the source was trained on.
        labels: (n,) int64.
        held_out: (h, 3, H, W) pixels of the same kind that the source was not trained on; None where there are none.
        held_out_labels: (h,) int64.
        errors: (m, 3, H, W) pixels that the source classifies wrongly, of a pool that nobody was trained on; None
            where there are none.
        error_labels: (m,) int64, their true labels.

    Raises:
        ValueError: shapes that do not fit, or no image.
    """

    images: Tensor
    labels: Tensor
    held_out: Tensor | None = None
    held_out_labels: Tensor | None = None
    errors: Tensor | None = None
    error_labels: Tensor | None = None

    def __post_init__(self) -> None:
        pairs = {"labels": (self.images, self.labels)}
        more = {
            "held_out_labels": (self.held_out, self.held_out_labels),
            "error_labels": (self.errors, self.error_labels),
        }
        for name, (some, of_them) in more.items():
            if (some is None) != (of_them is None):
                raise ValueError(f"images and {name} must be given together, got one of them")
            if some is not None and of_them is not None:
                pairs[name] = (some, of_them)
        for name, (images, labels) in pairs.items():
            if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or not len(images):
                raise ValueError(
                    f"images of {name} must be float (n, 3, H, W), n > 0, got {images.dtype} {tuple(images.shape)}"
                )
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise ValueError(f"{name} must be int64 ({len(images)},), got {labels.dtype} {tuple(labels.shape)}")

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """At most so many different images with their labels, in random order: held out first, then the
        training's."""
        chosen: list[tuple[Tensor, Tensor]] = []
        if self.held_out is not None and self.held_out_labels is not None:
            rows = draw(len(self.held_out), count, seed)
            chosen.append((self.held_out[rows], self.held_out_labels[rows]))
            count -= len(rows)
        if count:
            rows = draw(len(self.images), count, seed)
            chosen.append((self.images[rows], self.labels[rows]))
        images, labels = zip(*chosen, strict=True)
        return torch.cat(images), torch.cat(labels)


@dataclass(frozen=True, eq=False)
class OwnModels:
    """Models that the defender trained to design or calibrate a fingerprint; none of them is in the evaluated zoo.

    Attributes:
        stolen: copies that the defender extracted from its own source.
        independent: models trained without the source.
        seconds: that their training took.
    """

    stolen: tuple[nn.Module, ...] = ()
    independent: tuple[nn.Module, ...] = ()
    seconds: float = 0.0


def check_budget(budget: int, least: int = 1) -> None:
    """Refuse a number of queries with which the method can do nothing."""
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < least:
        raise ValueError(f"budget must be an integer of at least {least}, got {budget!r}")


def logits_of(model: nn.Module, images: Tensor, classes: int | None = None) -> Tensor:
    """The model's logits, (n, k), in eval mode and without gradients.

    Raises:
        ModelError: another number of classes than asked for, or answers that are no finite logits.
    """
    logits = compute_logits(model, images)
    if classes is not None and logits.shape[1] != classes:
        raise ModelError(f"model must answer with {classes} classes like the source, got {logits.shape[1]}")
    return logits


@dataclass(frozen=True, eq=False)
class LabelledQueries:
    """Queries and the source's labels for them: a fingerprint that looks at a suspect's labels alone.

    Attributes:
        images: (n, 3, H, W) pixels.
        labels: (n,) the source's.
        classes: of source and suspects.
    """

    images: Tensor
    labels: Tensor
    classes: int

    @property
    def queries(self) -> int:
        """Questions to a suspect."""
        return len(self.images)

    def score(self, model: nn.Module) -> float:
        """The share of queries to which the model gives another label than the source: 0 … 1."""
        labels = logits_of(model, self.images, self.classes).argmax(1)
        return float((labels != self.labels).double().mean())


def draw(count: int, wanted: int, seed: int) -> Tensor:
    """min(count, wanted) different indices below count, in random order."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]
