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
from ...io.files import StrPath
from ...models.checkpoint import read_weights
from .fixed_points import Array

Weights = StrPath | Mapping[str, Any] | nn.Module


@dataclass(frozen=True, eq=False)
class NamedArray:
    """One array; the fields are those of what a reader of files gives."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str
    operator: str
    read: Any = field(repr=False)
    gates: str = ""
    output: bool | None = None


@dataclass(frozen=True, eq=False)
class OpenWeights:
    """Arrays of one model, with what tells how they are used.

    Attributes:
        name: what messages and results call it.
        arrays: in the order of the file.
        module: where the caller gave one.
        state: mapping of tensors, where there is one in memory.
    """

    name: str
    arrays: tuple[Any, ...]
    module: nn.Module | None = None
    state: Mapping[str, Any] | None = None

    @property
    def parameters(self) -> int:
        """Number of values in arrays of floating point or quantised type."""
        return sum(math.prod(array.shape) for array in self.arrays)


@contextlib.contextmanager
def open_any(weights: Weights, argument: str) -> Iterator[OpenWeights]:
    """Open weights for the time of a comparison.

    Args:
        weights: a path, a mapping of names to arrays or tensors, or a module.
        argument: its name in errors.
    """
    if isinstance(weights, (str, os.PathLike)):
        name = os.fspath(weights)
        opened: OpenWeights = _from_mapping(read_weights(name), name, None)
    elif isinstance(weights, nn.Module):
        opened = _from_mapping(weights.state_dict(), type(weights).__name__, weights)
    else:
        expected = f"{argument} must be a path, a mapping or a module"
        require(isinstance(weights, Mapping), expected, type(weights), TypeError)
        opened = _from_mapping(weights, argument, None)
    Limits().check_count(opened.name, len(opened.arrays))
    yield opened


def _from_mapping(state: Mapping[str, Any], name: str, module: nn.Module | None) -> OpenWeights:
    Limits().check_count(name, len(state))
    return OpenWeights(name, tuple(_describe(key, value, name) for key, value in state.items()), module, state)


def _describe(key: object, value: object, name: str) -> NamedArray:
    require(isinstance(key, str), f"{name} must have names that are text", key, TypeError)
    if isinstance(value, Tensor):
        sound = value.layout == torch.strided and not value.is_meta and not nn.parameter.is_lazy(value)
        require(sound, f"{name} must hold dense tensors with values", f"{value.layout} at {key!r}")
        dtype = str(value.dtype).removeprefix("torch.")
        return NamedArray(str(key), tuple(value.shape), dtype, "", "unknown", lambda: _to_numpy(value))
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must hold arrays or tensors, got {type(value).__name__} at {key!r}")
    array: Array = value
    require(array.dtype.kind in "fiub?c", f"{name} must hold numbers", f"{array.dtype} at {key!r}")
    return NamedArray(str(key), array.shape, str(array.dtype), "", "unknown", lambda: array)


def _to_numpy(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.dtype in (torch.bfloat16, torch.float16) or (tensor.is_floating_point() and tensor.element_size() == 1):
        tensor = tensor.float()  # NumPy has no bfloat16 and no float8
    return tensor.resolve_conj().resolve_neg().numpy()
