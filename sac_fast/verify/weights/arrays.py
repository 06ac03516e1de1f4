"""Weights from whatever holds them: a path, a mapping, a module."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import require
from ...formats.limits import Limits
from ...formats.weights import WeightArray, open_weights
from ...formats.weights.state_dict import StoredArray, named_arrays
from ...io.files import StrPath
from .fixed_points import Array
from .graph_groups import find_uses
from .layers import Use

Weights = StrPath | Mapping[str, Any] | nn.Module


@dataclass(frozen=True, eq=False)
class NamedWeights:
    """Arrays of one model.

    Attributes:
        name: what messages and results call it.
        arrays: in the order of the file.
        module: where the caller gave one.
        uses: what the module's graph tells of its layers.
    """

    name: str
    arrays: tuple[WeightArray, ...]
    module: nn.Module | None = None
    uses: Mapping[str, Use] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of values."""
        return sum(math.prod(array.shape) for array in self.arrays)


@contextlib.contextmanager
def open_any(weights: Weights, argument: str) -> Iterator[NamedWeights]:
    """Open weights for the time of a comparison; arrays are read one by one.

    Args:
        weights: a path, a mapping of names to arrays or tensors, or a module.
        argument: its name in errors.
    """
    if isinstance(weights, (str, os.PathLike)):
        with open_weights(weights) as opened:
            yield NamedWeights(os.fspath(weights), opened.arrays)
    elif isinstance(weights, nn.Module):
        arrays = _from_mapping(weights.state_dict(), argument)
        yield NamedWeights(type(weights).__name__, arrays, weights, find_uses(weights))
    else:
        expected = f"{argument} must be a path, a mapping or a module"
        require(isinstance(weights, Mapping), expected, type(weights), TypeError)
        yield NamedWeights(argument, _from_mapping(weights, argument))


def _from_mapping(state: Mapping[str, Any], argument: str) -> tuple[WeightArray, ...]:
    Limits().check_count(argument, len(state))
    return named_arrays({key: _store(key, value, argument) for key, value in state.items()})


def _store(key: object, value: object, argument: str) -> StoredArray:
    require(isinstance(key, str), f"{argument} must have names that are text", key, TypeError)
    if isinstance(value, Tensor):
        sound = value.layout == torch.strided and not value.is_meta and not nn.parameter.is_lazy(value)
        require(sound, f"{argument} must hold dense tensors with values", f"{value.layout} at {key!r}")
        return StoredArray(str(value.dtype).removeprefix("torch."), tuple(value.shape), lambda: _to_numpy(value))
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{argument} must hold arrays or tensors, got {type(value).__name__} at {key!r}")
    array: Array = value
    require(array.dtype.kind in "fiubc", f"{argument} must hold numbers", f"{array.dtype} at {key!r}")
    return StoredArray(array.dtype.name, array.shape, lambda: array)


def _to_numpy(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()  # NumPy has no bfloat16 and no float8
    return tensor.resolve_conj().resolve_neg().numpy()
