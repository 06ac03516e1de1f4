"""Theft by filter pruning: filters of low activation (Fine-Pruning) or low importance (Taylor)."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from ..models.runner import evaluating
from .arguments import check_images, check_labels
from .copies import ModelT, copied
from .filters import Filters, find_filters
from .prune import ROUND, check_schedule, prune_in_rounds
from .training import RunOptions, TrainingConfig, compute_logits, device_of

_BATCH = 128


def mean_activations(model: nn.Module, filters: Filters, images: Tensor) -> Tensor:
    """The mean activation of each filter: ``mean(max(0, output))`` over images and positions.

    Args:
        model: run in eval mode.
        filters: a layer of it; the output is taken after its batch normalisation, where it has one.
        images: (n, …) float, as the model sees them.

    Returns:
        (filters,) float64 on the CPU.
    """
    total = torch.zeros(filters.count, dtype=torch.float64)
    seen = 0

    def record(_: nn.Module, __: object, output: Tensor) -> None:
        nonlocal seen
        # (n, filters, positions…) of a convolution, (n, …, filters) of a linear layer.
        axis = output.ndim - 1 if isinstance(filters.layer, nn.Linear) else 1
        positive = output.clamp(min=0).movedim(axis, 0).flatten(1).double()
        total.add_(positive.sum(dim=1).cpu())
        seen += positive.shape[1]

    with (filters.norm or filters.layer).register_forward_hook(record):
        compute_logits(model, images)
    if not seen:
        raise ModelError(f"layer {filters.name!r} must be used by the model, but it was never called")
    return total / seen


def fine_prune(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    ratio: float = 0.3,
    rounds: int = 2,
    layer: str | None = None,
    config: TrainingConfig = ROUND,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Remove the filters of the last convolution with the smallest mean activation, in rounds with fine-tuning.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        ratio: 0 … 1, both excluded: the share of the layer's filters that is removed, rounded; one is kept.
        rounds: ≥ 1; after round r of R, ``r / R`` of them are removed.
        layer: name of the layer; by default the last convolution, or, where that is the first layer (a
            transformer's or mixer's patches), the last linear layer before the head.
        config: of the fine-tuning after one round.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type and shape, in eval mode; the removed filters are 0, and so is the batch
        normalisation's weight and bias behind them.

    Raises:
        TypeError, ValueError: a ratio or number of rounds out of range, images or labels of the wrong kind.
        ModelError: no such layer, outputs that are not (n, classes) finite logits, or a loss that diverged.

    Source: Liu, Dolan-Gavitt, Garg, RAID 2018, arXiv 1805.12185.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = fine_prune(model, images, labels, ratio=0.3)
        >>> int((stolen[0].weight == 0).all(dim=1).sum())
        3
    """
    check_schedule(ratio, rounds)
    check_images(images)
    working = copied(model)
    chosen = _layer(find_filters(working, images), layer)
    count = min(round(ratio * chosen.count), chosen.count - 1)
    removed: set[int] = set()

    def remove(done: int) -> None:
        order = torch.argsort(mean_activations(working, chosen, images), stable=True).tolist()
        left = [number for number in order if number not in removed]
        removed.update(left[: round(count * done / rounds) - len(removed)])
        chosen.mask(removed)

    description = "fine-pruning"
    return prune_in_rounds(model, working, images, labels, remove, rounds, config, description=description, **run)


def _layer(filters: list[Filters], name: str | None) -> Filters:
    if name is not None:
        for candidate in filters:
            if candidate.name == name:
                return candidate
        raise ModelError(f"layer must name a linear or convolutional layer before the last one, got {name!r}")
    convolutions = [candidate for candidate in filters if not isinstance(candidate.layer, nn.Linear)]
    return convolutions[-1] if convolutions and convolutions[-1] is not filters[0] else filters[-1]


def taylor_scores(model: nn.Module, filters: list[Filters], images: Tensor, labels: Tensor) -> list[Tensor]:
    """The importance of each filter for the loss: ``mean over batches of (Σ_s g_s w_s)²``.

    The sum runs over a filter's own parameters, g are the gradients of the batch's cross-entropy: by the chain
    rule it is the derivative by a gate on the filter's output. Where batch normalisation follows, the gate
    is behind it and the sum runs over its weight and bias.

    Args:
        model: run in eval mode; its gradients are left alone.
        filters: layers of it.
        images: (n, …) float, as the model sees them.
        labels: (n,) int64.

    Returns:
        One float64 (filters,) a layer, on the CPU.

    Source: Molchanov, Mallya, Tyree, Frosio, Kautz, CVPR 2019, arXiv 1906.10771 (Taylor-FO, gate and BN forms).
    """
    device = device_of(model)
    totals = [torch.zeros(layer.count, dtype=torch.float64) for layer in filters]
    batches = list(zip(torch.split(images, _BATCH), torch.split(labels, _BATCH), strict=True))
    with evaluating(model):
        for batch, target in batches:
            loss = F.cross_entropy(model(batch.to(device)), target.to(device))
            # Only after the forward pass: masked parameters are computed anew by each.
            values = [[getattr(module, name) for module, name in layer.gates] for layer in filters]
            flat = [value for group in values for value in group]
            gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True))
            for total, group in zip(totals, values, strict=True):
                change = torch.zeros_like(total)
                for value, gradient in zip(group, gradients, strict=False):
                    if gradient is not None:
                        products = (value.detach() * gradient).flatten(1 if value.ndim > 1 else 0)
                        change += products.reshape(len(total), -1).double().sum(dim=1).cpu()
                total += change**2
    return [total / len(batches) for total in totals]


def prune_taylor(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    ratio: float = 0.2,
    rounds: int = 2,
    config: TrainingConfig = ROUND,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Remove the filters on which the loss depends least, over all layers, in rounds with fine-tuning after each.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        ratio: 0 … 1, both excluded: the share of all filters that is removed, rounded. Every layer keeps one.
        rounds: ≥ 1; after round r of R, ``r / R`` of them are removed.
        config: of the fine-tuning after one round.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type and shape, in eval mode; the removed filters are 0.

    Raises:
        TypeError, ValueError: a ratio or number of rounds out of range, images or labels of the wrong kind.
        ModelError: nothing to prune, outputs that are not (n, classes) finite logits, or a loss that diverged.

    Source: Molchanov et al., CVPR 2019, arXiv 1906.10771; see `taylor_scores`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = prune_taylor(model, images, labels, ratio=0.2)
        >>> int((stolen[0].weight == 0).all(dim=1).sum())
        2
    """
    check_schedule(ratio, rounds)
    check_images(images)
    working = copied(model)
    filters = find_filters(working, images)
    classes = compute_logits(working, images[:1]).shape[1]
    targets = check_labels(labels, len(images), classes)
    count = round(ratio * sum(layer.count for layer in filters))
    removed: list[set[int]] = [set() for _ in filters]

    def remove(done: int) -> None:
        scores = taylor_scores(working, filters, images, targets)
        _choose(scores, removed, round(count * done / rounds))
        for layer, numbers in zip(filters, removed, strict=True):
            if numbers:
                layer.mask(numbers)

    description = "pruning by Taylor scores"
    return prune_in_rounds(model, working, images, labels, remove, rounds, config, description=description, **run)


def _choose(scores: list[Tensor], removed: list[set[int]], count: int) -> None:
    """Add the filters of the lowest scores to ``removed`` until it holds ``count``; every layer keeps one."""
    ranked = sorted(
        (score, layer, number)
        for layer, values in enumerate(scores)
        for number, score in enumerate(values.tolist())
        if number not in removed[layer]
    )
    missing = count - sum(len(numbers) for numbers in removed)
    for _, layer, number in ranked:
        if missing <= 0:
            return
        if len(removed[layer]) < len(scores[layer]) - 1:
            removed[layer].add(number)
            missing -= 1
