"""Copies of a model for an attack to change: with its weights, or with none of them."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..errors import ModelError

#: The type of a module, which its copies have too.
ModelT = TypeVar("ModelT", bound=nn.Module)


def copied(model: ModelT) -> ModelT:
    """A deep copy of a model.

    Args:
        model: it is not changed.

    Returns:
        A new model of the same type.

    Raises:
        ModelError: the model cannot be copied, say for ``torch.nn.utils.weight_norm`` or masks of
            ``torch.nn.utils.prune``, which keep a tensor with its history in place of the weight.
    """
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:  # TypeError: it holds something that cannot be copied, a lock or a file
        raise ModelError(
            f"model must be one that copy.deepcopy can copy, got {type(error).__name__}: {error}. The hooks of "
            "torch.nn.utils.weight_norm, spectral_norm and prune are in the way where there are any: take them off "
            "(remove_weight_norm, remove_spectral_norm, prune.remove), or use torch.nn.utils.parametrizations"
        ) from error


def renewed(model: ModelT) -> ModelT:
    """A copy of a model in which every weight is drawn anew by its module's ``reset_parameters``.

    Args:
        model: the architecture; it is not changed.

    Returns:
        A new model of the same type, in which no parameter and no floating-point buffer has a given value left.

    Raises:
        ModelError: as `copied`; or a module whose parameters or buffers ``reset_parameters`` leaves as they are,
            or that has some and no such method.
    """
    fresh = copied(model)
    named = [(name, tensor) for name, tensor in (*fresh.named_parameters(), *fresh.named_buffers()) if _holds(tensor)]
    # A reset that leaves something out would leave it as it was given: what is NaN afterwards was left out. Hooks
    # like those of spectral_norm, for one, have the parameter renamed, and the reset draws what is derived from it.
    with torch.no_grad():
        for _, tensor in named:
            tensor.fill_(torch.nan)
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            raise ModelError(
                f"module {name or type(module).__name__!r} must have reset_parameters(), so that no "
                f"given weight remains, got a {type(module).__name__} without; use train() on a new model"
            )
    for name, tensor in named:
        if bool(torch.isnan(tensor).any()):
            owner = type(fresh.get_submodule(name.rpartition(".")[0])).__name__
            raise ModelError(
                f"reset_parameters() of every module must renew all it holds, so that no given weight remains, got "
                f"{name!r} left as it was by a {owner}; use train() on a new model"
            )
    return fresh


def _holds(tensor: Tensor) -> bool:
    """Whether it has values that may have been learned; numbers of batches and tables of positions are integers."""
    return (tensor.is_floating_point() or tensor.is_complex()) and not torch.nn.parameter.is_lazy(tensor)
