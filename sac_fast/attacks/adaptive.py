"""Adaptive theft: the thief knows the method and fine-tunes away from the fingerprint at little loss of accuracy."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError, require
from ..ops import correlation_distance
from .copies import ModelT, copied
from .extract import fit_to_source, pack, predictions, unpack
from .finetune import last_layer_name
from .training import RunOptions, TrainingConfig

_TUNING = TrainingConfig(epochs=6, learning_rate=0.02)
Metric = Literal["pearson", "cosine"]


def adaptive_correlation(
    model: ModelT,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    weight: float = 2.0,
    target: float | None = None,
    metric: Metric = "pearson",
    config: TrainingConfig = _TUNING,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Fine-tune a copy of a model away from its own correlation matrix on the thief's images.

    ``loss = CE(outputs, labels) − weight · min(target, gap)`` on every batch of two or more, with
    ``gap = correlation_distance(outputs, source's outputs)``. Without a target the copy ends farther away than any
    independent model, which is conspicuous; with a target as large as the independents' distance it is not.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1; None: the model's own predictions.
        weight: ≥ 0, of the gap; 0 is `finetune_all`.
        target: > 0, the gap beyond which nothing is gained; None: no bound.
        metric: of the correlation.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range, a wrong weight or metric.
        ModelError: the model's output is not (n, classes) finite logits, or the loss diverged.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = adaptive_correlation(model, images, labels, target=0.3, config=TrainingConfig(epochs=2))
        >>> torch.equal(stolen.weight, model.weight)
        False
    """
    require(0 <= weight < math.inf, "weight must be at least 0 and finite", weight)
    require(target is None or 0 < target < math.inf, "target must be positive and finite or None", target)
    require(metric in ("pearson", "cosine"), "metric must be 'pearson' or 'cosine'", metric)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        source_outputs, classes = unpack(targets)
        error = F.cross_entropy(outputs, classes)
        # A batch of one has no correlations; a loss that is not finite ends the training with an error of its own.
        if len(outputs) < 2 or not bool(torch.isfinite(error)):
            return error
        gap = correlation_distance(outputs, source_outputs, metric=metric)
        return error - weight * (gap if target is None else gap.clamp(max=target))

    description = "fine-tuning away from the source"
    return fit_to_source(
        model, copied(model), images, partial(pack, labels=labels), loss, config, description=description, **run
    )


def adaptive_removalnet(
    model: ModelT,
    images: Tensor,
    *,
    weight: float = 1.0,
    temperature: float = 4.0,
    alpha: float = 0.3,
    inner_steps: int = 10,
    config: TrainingConfig = _TUNING,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Train a copy of a model towards features and outputs that are far from its own and keep the label.

    Every step solves an inner and an outer problem, as RemovalNet does.

    * Inner, features: from a random start, sign-gradient steps on ``−log ‖z' − z‖`` and, where the head predicts
      another label than the source's, on the cross-entropy: z' is far from the features z and keeps the label.
    * Inner, outputs: each row of probabilities is mixed with the farthest one of the batch, with the smallest
      share β ∈ {0.2, 0.25, …, 0.95} of its own that keeps the label.
    * Outer: ``weight · MSE(z, z') + α T² KL(mixed ‖ outputs) + (1 − α) CE(outputs, source's labels)``, the
      probabilities softened by T.

    Kept of the method: both inner problems, the outer one, the source's labels in place of own ones, the source's
    weights as the start. Simplified: features are the inputs of the last layer (there: a late layer), the
    inner steps run on the whole batch at once and in training mode, rows that lose their label there keep their
    features, the constants are our own (accuracy falls with α > 0.3).

    Args:
        model: the stolen model; it is not changed. Its last layer must be linear on (n, d) features.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own, without labels.
        weight: ≥ 0, of the features' term.
        temperature: T > 0.
        alpha: 0 … 1, the share of the softened outputs.
        inner_steps: ≥ 1.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError: images of the wrong type or shape, a parameter out of range.
        ModelError: a last layer of another kind, outputs that are not (n, classes) finite logits, or a loss
            that diverged.

    Source: Yao et al., RemovalNet: DNN Fingerprint Removal Attacks, IEEE TDSC, arXiv 2308.12319.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = adaptive_removalnet(model, images, config=TrainingConfig(epochs=2))
        >>> torch.equal(stolen[0].weight, model[0].weight)
        False
    """
    require(0 <= weight < math.inf, "weight is out of range", weight)
    require(0 < temperature < math.inf, "temperature is out of range", temperature)
    require(0 <= alpha <= 1, "alpha is out of range", alpha)
    require(isinstance(inner_steps, int) and inner_steps >= 1, "inner_steps is out of range", inner_steps)
    stolen = copied(model)
    head = dict(stolen.named_modules())[last_layer_name(stolen)]
    if not isinstance(head, nn.Linear):
        raise ModelError(f"model must end in a linear layer, got {type(head).__name__}")
    features: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features[:] = [inputs[0]]

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        latent = features[0]
        if latent.ndim != 2:
            raise ModelError(f"the last layer must take (n, d) features, got {tuple(latent.shape)}")
        far = far_features(head, latent.detach(), labels, inner_steps)
        mixed = mix_with_farthest(torch.softmax(outputs.detach(), dim=1), labels)
        # softmax(log p / T) softens probabilities as softmax(logits / T) softens logits.
        softened = torch.softmax(mixed.clamp(min=1e-12).log() / temperature, dim=1)
        divergence = F.kl_div(torch.log_softmax(outputs / temperature, dim=1), softened, reduction="batchmean")
        distilled = alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(outputs, labels)
        return weight * F.mse_loss(latent, far) + distilled

    with head.register_forward_pre_hook(keep):
        return fit_to_source(
            model, stolen, images, predictions, loss, config, description="removing the fingerprint", **run
        )


def far_features(head: nn.Linear, latent: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Features far from ``latent`` for which the head still predicts ``labels``, from a random start.

    Rows whose prediction differs from the label after the last step keep the given features.

    Args:
        head: (d) to (classes); not changed.
        latent: (n, d), without a graph.
        labels: (n,) int64.
        steps: of the sign of the gradient, each a tenth of the batch's standard deviation long.

    Returns:
        (n, d), without a graph.
    """
    scale = latent.std(correction=0) + 1e-6
    step = 0.1 * scale
    # As spread as the features are, and not below 0 where they are the outputs of a ReLU.
    low = latent.amin() if bool((latent < 0).any()) else latent.new_zeros(())
    far = low + 2 * scale * torch.rand(latent.shape, dtype=latent.dtype).to(latent.device)
    # The gradients in closed form: of log ‖z' − z‖ and, through the linear head, of the cross-entropy.
    matrix = head.weight.detach()
    target = F.one_hot(labels, matrix.shape[0]).to(matrix.dtype)
    bias = None if head.bias is None else head.bias.detach()
    for _ in range(steps):
        logits = F.linear(far, matrix, bias)
        wrong = (logits.argmax(dim=1) != labels)[:, None]
        offset = far - latent
        away = offset / (offset * offset).sum(dim=1, keepdim=True).clamp(min=1e-12)
        far = far - step * (wrong * ((torch.softmax(logits, dim=1) - target) @ matrix) - away).sign()
    lost = F.linear(far, matrix, bias).argmax(dim=1) != labels
    return torch.where(lost[:, None], latent, far)


def mix_with_farthest(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Each row mixed with the batch's farthest row, with the smallest share of its own that keeps its label.

    Args:
        probabilities: (n, k).
        labels: (n,) int64.

    Returns:
        (n, k); rows that predict their label with no share stay as they are.
    """
    farthest = probabilities[torch.cdist(probabilities, probabilities).argmax(dim=1)]
    shares = torch.arange(4, 21, dtype=probabilities.dtype, device=probabilities.device)[:, None, None] / 20
    candidates = shares * probabilities + (1 - shares) * farthest
    keeps = candidates.argmax(dim=2) == labels
    keeps[-1] = True  # the share 1: the row itself
    smallest = keeps.to(torch.uint8).argmax(dim=0)  # the first that keeps the label
    return candidates[smallest, torch.arange(len(labels), device=labels.device)]
