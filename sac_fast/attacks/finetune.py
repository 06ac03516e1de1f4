"""Theft by fine-tuning: the thief has the source's weights and continues their training."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from ..errors import ModelError
from .copies import ModelT, copied
from .training import TUNING, RunOptions, TrainingConfig, fit_labels

#: A layer that makes linear combinations: of features or of channels.
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def finetune_all(
    model: ModelT, images: Tensor, labels: Tensor, *, config: TrainingConfig = TUNING, **run: Unpack[RunOptions]
) -> ModelT:
    """Fine-tune all layers of a copy of a model (FT-A of Guan et al., NeurIPS 2022, arXiv 2210.15427).

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range.
        ModelError: the model's output is not (n, classes) finite logits, or the loss diverged.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = finetune_all(model, images, labels, config=TrainingConfig(epochs=2), seed=7)
        >>> torch.equal(stolen.weight, model.weight)
        False
    """
    return fit_labels(copied(model), images, labels, config, description="fine-tuning all layers", **run)


def last_layer_name(model: nn.Module) -> str:
    """The name of the last linear or convolutional layer, in the order the layers are registered.

    Args:
        model: any module.

    Returns:
        Its name as in ``model.named_modules()``; empty where the model itself is that layer.

    Raises:
        ModelError: there is none.

    Example:
        >>> import torch
        >>> last_layer_name(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
        '0'
    """
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, Layer)]
    if not names:
        raise ModelError(
            f"model must hold a linear or convolutional layer, got {type(model).__name__} with none: "
            "name the layer to train with layer="
        )
    return names[-1]


def finetune_last(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    layer: str | None = None,
    config: TrainingConfig = TUNING,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Fine-tune the last layer of a copy of a model (FT-L of Guan et al., NeurIPS 2022, arXiv 2210.15427).

    All other parameters and the batch normalisation statistics stay as they are, bit for bit.

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … classes - 1.
        layer: name of the layer as in ``model.named_modules()``; by default ``last_layer_name(model)``.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range.
        ModelError: no such layer, the model's output is not (n, classes) finite logits, or the loss diverged.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = finetune_last(model, images, labels, config=TrainingConfig(epochs=2))
        >>> torch.equal(stolen[0].weight, model[0].weight), torch.equal(stolen[2].weight, model[2].weight)
        (True, False)
    """
    name = last_layer_name(model) if layer is None else layer
    stolen = copied(model)
    modules = dict(stolen.named_modules())
    if name not in modules:
        raise ModelError(f"layer must name a module of the model, got {name!r}")
    requires_grad = {parameter: parameter.requires_grad for parameter in stolen.parameters()}
    trained = set(modules[name].parameters())
    for parameter in requires_grad:
        # Frozen parameters need no gradient, which spares the backward pass below the last layer.
        parameter.requires_grad_(parameter in trained)
    description = f"fine-tuning {name or 'the layer'}"
    fit_labels(stolen, images, labels, config, trained=modules[name], description=description, **run)
    for parameter, before in requires_grad.items():
        parameter.requires_grad_(before)
    return stolen
