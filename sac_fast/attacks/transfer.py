"""Theft by transfer learning: the stolen weights under a new head, for another set of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from torch import Tensor, nn

from ..errors import ModelError, require
from ..models import load_model
from .copies import ModelT, copied
from .finetune import Layer, finetune_all, finetune_last, last_layer_name
from .training import SCRATCH, TUNING, RunOptions, TrainingConfig, device_of, seeded


def replace_head(model: ModelT, outputs: int, *, seed: int = 0, layer: str | None = None) -> ModelT:
    """A copy of a model whose last layer is a new one with another number of outputs.

    Args:
        model: it is not changed.
        outputs: ≥ 1, the new number.
        seed: of the new layer's weights; the global random state is left alone.
        layer: name of the layer as in ``model.named_modules()``; by default ``last_layer_name(model)``.

    Returns:
        A new model of the same type; all other weights are the given ones.

    Raises:
        ValueError: outputs below 1.
        ModelError: no such layer, or one that is neither linear nor convolutional.

    Example:
        >>> import torch
        >>> replace_head(torch.nn.Sequential(torch.nn.Linear(4, 3)), 7)[0]
        Linear(in_features=4, out_features=7, bias=True)
    """
    require(isinstance(outputs, int) and outputs >= 1, "outputs must be an integer of at least 1", outputs)
    name = last_layer_name(model) if layer is None else layer
    new = copied(model)
    old = dict(new.named_modules()).get(name)
    if not name or not isinstance(old, Layer):
        raise ModelError(
            f"layer must name a linear or convolutional layer inside the model, got {name!r} ({type(old).__name__})"
        )
    head: nn.Module
    with seeded(seed, device_of(new)):
        if isinstance(old, nn.Linear):
            head = nn.Linear(old.in_features, outputs, old.bias is not None)
        else:
            head = type(old)(
                old.in_channels, outputs, old.kernel_size, old.stride, old.padding,  # type: ignore[arg-type]
                old.dilation, old.groups, old.bias is not None, old.padding_mode,  # type: ignore[arg-type]
            )  # fmt: skip
    parent, _, attribute = name.rpartition(".")
    setattr(new.get_submodule(parent), attribute, head.to(device=old.weight.device, dtype=old.weight.dtype))
    return new


def with_head(
    model: str, outputs: int, model_args: Mapping[str, Any] | None = None, layer: str | None = None
) -> nn.Module:
    """Build a model by name and give it a new head: how a transferred model is named on the command line.

    ``sac_fast.attacks.transfer:with_head --model-args '{"model": "package.module:callable", "outputs": 5}'``

    Args:
        model: ``"package.module:callable"``, see `load_model`.
        outputs: of the new head.
        model_args: keyword arguments of the callable.
        layer: see `replace_head`.

    Returns:
        The model; weights of a transferred model fit into it.

    Raises:
        ModelError, ValueError: as `load_model` and `replace_head`.
    """
    return replace_head(load_model(model, kwargs=model_args), outputs, layer=layer)


def transfer_all(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    outputs: int | None = None,
    layer: str | None = None,
    config: TrainingConfig = TUNING,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Put a new head on a copy of a model and train all layers on other labels (Transfer-A).

    Args:
        model: the stolen model; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing): the thief's own.
        labels: (n,) integers, 0 … outputs - 1: of the new task.
        outputs: of the new head; by default ``labels.max() + 1``.
        layer: the head's name; see `replace_head`.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError, ModelError: as `finetune_all` and `replace_head`.

    Source: Guan et al., NeurIPS 2022, arXiv 2210.15427.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> transfer_all(model, images, labels // 2, config=TrainingConfig(epochs=2))[2]
        Linear(in_features=10, out_features=2, bias=True)
    """
    start = _with_new_head(model, labels, outputs, layer, run)
    return finetune_all(start, images, labels, config=config, **run)


def transfer_last(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    *,
    outputs: int | None = None,
    layer: str | None = None,
    config: TrainingConfig = SCRATCH,
    **run: Unpack[RunOptions],
) -> ModelT:
    """Put a new head on a copy of a model and train the head alone on other labels (Transfer-L).

    Args:
        model, images, labels, outputs, layer, run: as `transfer_all`.
        config: see `TrainingConfig`; by default that of a training from new weights, which the head has.

    Returns:
        A new model of the same type, in eval mode; all but its head is the given model's, bit for bit.

    Raises:
        TypeError, ValueError, ModelError: as `finetune_last` and `replace_head`.

    Source: Guan et al., NeurIPS 2022, arXiv 2210.15427.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3))
        >>> images, labels = torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = transfer_last(model, images, labels // 2, config=TrainingConfig(epochs=2))
        >>> torch.equal(stolen[0].weight, model[0].weight)
        True
    """
    name = last_layer_name(model) if layer is None else layer
    start = _with_new_head(model, labels, outputs, name, run)
    return finetune_last(start, images, labels, layer=name, config=config, **run)


def _with_new_head(model: ModelT, labels: Tensor, outputs: int | None, layer: str | None, run: RunOptions) -> ModelT:
    if outputs is None:
        if not isinstance(labels, Tensor):
            raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}")
        if labels.numel() == 0:
            raise ValueError("labels must hold at least one label, got none")
        outputs = int(labels.max()) + 1
    return replace_head(model, outputs, seed=run.get("seed", 0), layer=layer)
