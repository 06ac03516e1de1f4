"""Filters of a network: which layers have them, which normalisation follows, and how they are masked."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import prune

from ..errors import ModelError
from .finetune import Layer, last_layer_name
from .training import compute_logits


def prunable(model: nn.Module) -> list[tuple[str, Layer]]:
    """Linear and convolutional layers in the order of registration.

    Those inside `nn.MultiheadAttention` are left out: it reads their weights without calling them, and the masks
    of `torch.nn.utils.prune` act on a call.

    Raises:
        ModelError: a layer's weight is computed from others (spectral_norm, parametrizations), which masks cannot hold.
    """
    hidden = {
        part for module in model.modules() if isinstance(module, nn.MultiheadAttention) for part in module.modules()
    }
    layers = [
        (name, module) for name, module in model.named_modules() if isinstance(module, Layer) and module not in hidden
    ]
    for name, module in layers:
        if not isinstance(module.weight, nn.Parameter):
            raise ModelError(
                f"weight of layer {name!r} must be a parameter to be pruned, got one that is computed from others "
                "(spectral_norm, weight_norm or another parametrization): take that off first"
            )
    return layers


@dataclass(frozen=True)
class Filters:
    """A layer whose outputs can be removed one by one: channels of a convolution, neurons of a linear layer.

    Attributes:
        name: as in ``model.named_modules()``.
        layer: the layer.
        norm: the batch normalisation that takes the layer's output and nothing else, if there is one.
    """

    name: str
    layer: Layer
    norm: _BatchNorm | None

    @property
    def count(self) -> int:
        """Number of filters."""
        return int(self.layer.weight.shape[0])

    @property
    def gates(self) -> tuple[tuple[nn.Module, str], ...]:
        """Parameters, as (module, name), whose products with a filter's rows make its output, last ones first.

        The normalisation's weight and bias where there are some, the layer's otherwise.
        """
        holder: nn.Module = self.layer if self.norm is None or not self.norm.affine else self.norm
        return tuple((holder, name) for name in ("weight", "bias") if getattr(holder, name) is not None)

    def mask(self, filters: Iterable[int]) -> None:
        """Mask all weights of these filters and of their normalisation, so that their output stays 0."""
        removed = torch.tensor(sorted(filters), dtype=torch.int64)
        for module in (self.layer, *([self.norm] if self.norm is not None else [])):
            for name in ("weight", "bias"):
                value = getattr(module, name)
                if value is not None:
                    mask = torch.ones_like(value)
                    mask[removed] = 0
                    prune.custom_from_mask(module, name, mask)  # type: ignore[no-untyped-call]


def find_filters(model: nn.Module, images: Tensor) -> list[Filters]:
    """All layers with filters but the last layer, whose outputs are the classes.

    Args:
        model: any module.
        images: the model runs on the first one, to find out which normalisation follows which layer.

    Returns:
        In the order of registration.

    Raises:
        ModelError: there is none.
    """
    last = last_layer_name(model)
    layers = [(name, layer) for name, layer in prunable(model) if name != last]
    if not layers:
        raise ModelError("model must have a linear or convolutional layer before its last one, got none")
    made: dict[int, Layer] = {}
    kept: list[Tensor] = []  # the outputs stay alive, so that their identities stay theirs
    follows: dict[Layer, _BatchNorm] = {}

    def after(layer: nn.Module, _: object, output: Tensor) -> None:
        kept.append(output)
        made[id(output)] = layer  # type: ignore[assignment]

    def before(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        layer = made.get(id(inputs[0]))
        if layer is not None:
            follows[layer] = norm  # type: ignore[assignment]

    with ExitStack() as hooks:
        for _, layer in layers:
            hooks.enter_context(layer.register_forward_hook(after))
        for norm in model.modules():
            if isinstance(norm, _BatchNorm):
                hooks.enter_context(norm.register_forward_pre_hook(before))
        compute_logits(model, images[:1])
    return [Filters(name, layer, follows.get(layer)) for name, layer in layers]
