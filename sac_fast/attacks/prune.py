"""Theft by magnitude pruning: the smallest weights of the stolen model are removed, the others are fine-tuned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from ..errors import ModelError, require
from .copies import ModelT, copied
from .filters import prunable
from .finetune import Layer
from .training import Progress, RunOptions, TrainingConfig, fit_labels, split_progress

ROUND = TrainingConfig(epochs=2, learning_rate=0.01)  # of the fine-tuning after one round

_NOTHING = "model must have a linear or convolutional layer to prune, got none"


def prune_magnitude(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    ratio: float = 0.5,
    rounds: int = 2,
    config: TrainingConfig = ROUND,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Remove the smallest weights of a copy of a model, in rounds with fine-tuning after each.

    After round r of R the ``round(ratio · r / R · N)`` weights of the smallest absolute value are 0, chosen
    over all N weights of the linear and convolutional layers together; they stay 0 in the fine-tuning.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        ratio: 0 … 1, both excluded: the share of the weights that is 0 in the end.
        rounds: ≥ 1.
        config: of the fine-tuning after one round.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode; an ordinary one, without masks.

    Raises:
        TypeError, ValueError: a ratio or number of rounds out of range, images or labels of the wrong kind.
        ModelError: nothing to prune, outputs that are not (n, classes) finite logits, or a loss that diverged.

    Source: Zhu and Gupta, 2017, arXiv 1710.01878.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = prune_magnitude(model, images, labels, ratio=0.5)
        >>> int((stolen.weight == 0).sum())
        6
    """
    check_schedule(ratio, rounds)
    working = copied(model)
    layers = [module for _, module in prunable(working)]
    if not layers:
        raise ModelError(_NOTHING)
    total = sum(layer.weight.numel() for layer in layers)

    def remove(done: int) -> None:
        _mask_smallest(layers, round(ratio * done / rounds * total))

    description = "pruning by magnitude"
    return prune_in_rounds(model, working, images, labels, remove, rounds, config, description=description, **run)


def prune_only(model: ModelT, *, ratio: float = 0.3) -> ModelT:
    """Remove the smallest weights of a copy of a model at once, and train nothing.

    Args:
        model: the stolen model; it is not changed.
        ratio: 0 … 1, both excluded: the share of the weights of all linear and convolutional layers that is 0.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        ValueError: a ratio out of range.
        ModelError: nothing to prune.

    Example:
        >>> import torch
        >>> int((prune_only(torch.nn.Linear(4, 3), ratio=0.5).weight == 0).sum())
        6
    """
    check_schedule(ratio, 1)
    working = copied(model)
    layers = [module for _, module in prunable(working)]
    if not layers:
        raise ModelError(_NOTHING)
    _mask_smallest(layers, round(ratio * sum(layer.weight.numel() for layer in layers)))
    return _without_masks(working, model)


def prune_in_rounds(
    model: ModelT,
    working: nn.Module,
    images: Tensor,
    labels: Tensor,
    remove: Callable[[int], None],
    rounds: int,
    config: TrainingConfig,
    *,
    description: str,
    seed: int = 0,
    progress: Progress = False,
) -> ModelT:
    """Remove and fine-tune in turn: before the fine-tuning of round r, from 1 on, ``remove(r)`` sets the masks.

    Returns:
        A copy of ``model`` with the values of ``working``, whose masks become zeros; the layout is the model's.
    """
    for index, part in enumerate(split_progress(progress, [config] * rounds, len(images))):
        remove(index + 1)
        fit_labels(working, images, labels, config, seed=seed + index, progress=part, description=description)
    return _without_masks(working, model)


def _without_masks(working: nn.Module, model: ModelT) -> ModelT:
    """A copy of a model with the values of ``working``, whose masks become zeros; the layout is the model's."""
    for module in working.modules():
        for name in [key.removesuffix("_mask") for key, _ in module.named_buffers(recurse=False) if "_mask" in key]:
            if hasattr(module, f"{name}_orig"):
                prune.remove(module, name)  # type: ignore[no-untyped-call]
    stolen = copied(model)
    stolen.load_state_dict(working.state_dict())
    return stolen.eval()


def _mask_smallest(layers: list[Layer], count: int) -> None:
    """Mask this number of weights, the smallest over all layers; those that are masked already come first.

    torch's ``global_unstructured`` does the same, but fails on weights with the channels last.
    """
    # A masked weight is 0, and so may another be: -1, below all sizes, tells them apart and rounds none of these.
    sizes = []
    for layer in layers:
        size, mask = layer.weight.detach().abs(), getattr(layer, "weight_mask", None)
        sizes.append(size if mask is None else size.masked_fill(mask == 0, -1))
    smallest = torch.argsort(torch.cat([size.flatten() for size in sizes]), stable=True)[:count]
    flat = torch.ones(sum(size.numel() for size in sizes), dtype=sizes[0].dtype, device=sizes[0].device)
    flat[smallest] = 0
    for layer, mask in zip(layers, torch.split(flat, [size.numel() for size in sizes]), strict=True):
        prune.custom_from_mask(layer, "weight", mask.reshape(layer.weight.shape))  # type: ignore[no-untyped-call]


def check_schedule(ratio: float, rounds: int) -> None:
    """Refuse a ratio outside 0 … 1, and fewer than one round."""
    require(0 < ratio < 1, "ratio must be above 0 and below 1", ratio)
    require(isinstance(rounds, int) and rounds >= 1, "rounds must be an integer of at least 1", rounds)
