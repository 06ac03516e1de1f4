"""Theft by pruning whole filters: dormant ones (Fine-Pruning) or unimportant ones (Taylor)."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from .copies import copied
from .filters import Filters, find_filters
from .prune import TUNING, check_schedule, permanent
from .training import Progress, Recipe, ask, check_images, check_labels, device_of, fit_labels, stages

_Model = TypeVar("_Model", bound=nn.Module)
_BATCH = 128


def mean_activations(model: nn.Module, filters: Filters, images: Tensor) -> Tensor:
    """How much each filter answers: ``mean(max(0, output))`` over images and positions.

    Args:
        model: asked in eval mode.
        filters: a layer of it; the output is taken after its batch normalisation, where it has one.
        images: (n, …) float, as the model sees them.

    Returns:
        (filters,) float64 on the CPU.
    """
    total = torch.zeros(filters.count, dtype=torch.float64)
    seen = 0

    def look(_: nn.Module, __: object, output: Tensor) -> None:
        nonlocal seen
        # (n, filters, positions…) of a convolution, (n, …, filters) of a linear layer.
        axis = output.ndim - 1 if isinstance(filters.layer, nn.Linear) else 1
        positive = output.clamp(min=0).movedim(axis, 0).flatten(1).double()
        total.add_(positive.sum(dim=1).cpu())
        seen += positive.shape[1]

    handle = (filters.norm or filters.layer).register_forward_hook(look)
    try:
        ask(model, images)
    finally:
        handle.remove()
    if not seen:
        raise ModelError(f"layer {filters.name!r} must be used by the model, but it was never called")
    return total / seen


def fine_prune(
    model: _Model,
    images: Tensor,
    labels: Tensor,
    *,
    ratio: float = 0.3,
    rounds: int = 2,
    layer: str | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> _Model:
    """Remove the filters of the last convolution that answer least, in rounds with tuning after each.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        ratio: 0 … 1, both excluded: the share of the layer's filters that is removed, rounded; one is kept.
        rounds: ≥ 1; after round r of R, ``r / R`` of them are gone.
        layer: name of the layer; by default the last convolution, or, where that is the first layer (a
            transformer's or mixer's patches), the last linear layer before the head.
        recipe: of the tuning after one round; 2 epochs at a peak learning rate of 0.01 by default.
        seed: decides everything random; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all).

    Returns:
        A new model of the same type and shape, in eval mode; the removed filters are 0, and so is the batch
        normalisation's weight and bias behind them.

    Raises:
        TypeError, ValueError: a ratio or number of rounds out of range, images or labels of the wrong kind.
        ModelError: no such layer, answers that are not (n, classes) finite logits, or a loss that diverged.

    Source: Liu, Dolan-Gavitt, Garg, RAID 2018, arXiv 1805.12185.
    """
    check_schedule(ratio, rounds)
    check_images(images)
    recipe = recipe or TUNING
    working = copied(model)
    chosen = _layer(find_filters(working, images), layer)
    wanted = min(round(ratio * chosen.count), chosen.count - 1)
    gone: set[int] = set()
    for index, told in enumerate(stages(progress, [recipe] * rounds, len(images))):
        order = torch.argsort(mean_activations(working, chosen, images), stable=True).tolist()
        left = [number for number in order if number not in gone]
        gone.update(left[: round(wanted * (index + 1) / rounds) - len(gone)])
        chosen.mask(gone)
        fit_labels(working, images, labels, recipe, seed + index, progress=told, description="fine-pruning")
    return permanent(working, model)


def _layer(filters: list[Filters], name: str | None) -> Filters:
    if name is not None:
        for candidate in filters:
            if candidate.name == name:
                return candidate
        raise ModelError(f"layer must name a linear or convolutional layer before the last one, got {name!r}")
    convolutions = [candidate for candidate in filters if not isinstance(candidate.layer, nn.Linear)]
    return convolutions[-1] if convolutions and convolutions[-1] is not filters[0] else filters[-1]


def taylor_scores(model: nn.Module, filters: list[Filters], images: Tensor, labels: Tensor) -> list[Tensor]:
    """How much the loss depends on each filter: ``mean over batches of (Σ_s g_s w_s)²``.

    The sum runs over a filter's own parameters, g are the gradients of the batch's cross-entropy: by the chain
    rule it is the derivative by a gate on the filter's output. Where batch normalisation follows, the gate
    is behind it and the sum runs over its weight and bias.

    Args:
        model: asked in eval mode; its gradients are left alone.
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
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for batch, wanted in batches:
            loss = F.cross_entropy(model(batch.to(device)), wanted.to(device))
            # Only after the forward pass: masked parameters are computed anew by each.
            values = [[getattr(module, name) for module, name in layer.gates] for layer in filters]
            flat = [value for group in values for value in group]
            gradients = iter(torch.autograd.grad(loss, flat, allow_unused=True))
            for total, group in zip(totals, values, strict=True):
                change = torch.zeros_like(total)
                for value, gradient in zip(group, gradients, strict=False):
                    if gradient is not None:
                        change += (
                            (value.detach() * gradient)
                            .flatten(1 if value.ndim > 1 else 0)
                            .reshape(len(total), -1)
                            .double()
                            .sum(dim=1)
                            .cpu()
                        )
                total += change**2
    finally:
        for module, mode in modes:
            module.training = mode
    return [total / len(batches) for total in totals]


def prune_taylor(
    model: _Model,
    images: Tensor,
    labels: Tensor,
    *,
    ratio: float = 0.2,
    rounds: int = 2,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> _Model:
    """Remove the filters on which the loss depends least, over all layers, in rounds with tuning after each.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        ratio: 0 … 1, both excluded: the share of all filters that is removed, rounded. Every layer keeps one.
        rounds: ≥ 1; after round r of R, ``r / R`` of them are gone.
        recipe: of the tuning after one round; 2 epochs at a peak learning rate of 0.01 by default.
        seed: decides everything random; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all).

    Returns:
        A new model of the same type and shape, in eval mode; the removed filters are 0.

    Raises:
        TypeError, ValueError: a ratio or number of rounds out of range, images or labels of the wrong kind.
        ModelError: nothing to prune, answers that are not (n, classes) finite logits, or a loss that diverged.

    Source: Molchanov et al., CVPR 2019, arXiv 1906.10771; see `taylor_scores`.
    """
    check_schedule(ratio, rounds)
    check_images(images)
    recipe = recipe or TUNING
    working = copied(model)
    filters = find_filters(working, images)
    classes = ask(working, images[:1]).shape[1]
    targets = check_labels(labels, len(images), classes)
    wanted = round(ratio * sum(layer.count for layer in filters))
    gone: list[set[int]] = [set() for _ in filters]
    for index, told in enumerate(stages(progress, [recipe] * rounds, len(images))):
        scores = taylor_scores(working, filters, images, targets)
        _choose(scores, gone, round(wanted * (index + 1) / rounds))
        for layer, numbers in zip(filters, gone, strict=True):
            if numbers:
                layer.mask(numbers)
        fit_labels(working, images, labels, recipe, seed + index, progress=told, description="pruning by Taylor scores")
    return permanent(working, model)


def _choose(scores: list[Tensor], gone: list[set[int]], wanted: int) -> None:
    """Add the filters of the lowest scores to ``gone`` until it holds ``wanted``, one of each layer left."""
    ranked = sorted(
        (score, layer, number)
        for layer, values in enumerate(scores)
        for number, score in enumerate(values.tolist())
        if number not in gone[layer]
    )
    missing = wanted - sum(len(numbers) for numbers in gone)
    for _, layer, number in ranked:
        if missing <= 0:
            return
        if len(gone[layer]) < len(scores[layer]) - 1:
            gone[layer].add(number)
            missing -= 1
