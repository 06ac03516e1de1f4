"""Tensors as a checkpoint's pickle describes them, checked against the storages that they lie in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .limits import MAX_DIMENSIONS, Limits, refuse
from .torch_pickle import DTYPES, REBUILD, Inert, Storage

#: Dtype and shape of each tensor.
Described = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def state_dict_of(value: Any, name: str) -> Mapping[str, Any]:
    """The state dict of a checkpoint: itself, or what is under ``"state_dict"``.

    Raises:
        ModelRefusedError: there is none.
    """
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        got = "Tensor" if isinstance(value, Inert) and value.name in REBUILD else type(value).__name__
        refuse("no-state-dict", f"{name} must hold a state dict (name -> tensor), got {got}")
    return value


def check_tensors(value: Any, name: str, limits: Limits, file_bytes: int) -> Described:
    """Check every tensor of the state dict against the storage that it lies in.

    Args:
        value: of `read_pickle`.
        name: what messages call the file.
        limits: on number and sizes.
        file_bytes: of the whole file.

    Returns:
        Dtype and shape of each.

    Raises:
        ModelRefusedError: an entry that is no dense tensor inside its storage, or a limit.
    """
    state = state_dict_of(value, name)
    limits.check_count(name, len(state))
    total = 0
    described: Described = {}
    for key, entry in state.items():
        tensor = describe_tensor(entry, key, name)
        total += tensor.size
        check_sizes(tensor, key, name, limits, file_bytes, total)
        described[key] = (tensor.dtype, tensor.shape)
    return described


@dataclass(frozen=True)
class PickledTensor:
    """A tensor as its pickle describes it; strides and offset count values."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def stop(self) -> int:
        """One more than the number of its last value in the storage."""
        steps = ((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        return self.offset + sum(steps) + 1 if math.prod(self.shape) else 0


def check_sizes(tensor: PickledTensor, key: str, name: str, limits: Limits, file_bytes: int, total: int) -> None:
    """Refuse a tensor that does not lie in its storage, or exceeds a limit; ``total`` are the bytes so far, with it."""
    if tensor.size > tensor.storage.size:
        found = f"{math.prod(tensor.shape):,} values at {key!r} out of {tensor.storage.count:,} stored"
        refuse("expanded", f"{name} must store every value, got {found}")
    limits.check_tensor(name, key, tensor.size, total)
    # Tied tensors share a storage, but a thousand views of one would be a thousand copies in a model.
    limits.check_expansion(name, key, total, file_bytes)
    if tensor.stop * tensor.dtype.itemsize > tensor.storage.size:
        refuse("malformed", f"{name} must hold tensors inside their storage, got {key!r} beyond its end")


def describe_tensor(entry: Any, key: str, name: str) -> PickledTensor:
    """What an inert record says of a tensor; sizes are whole numbers by then, and no more.

    Raises:
        ModelRefusedError: no dense tensor.
    """
    while isinstance(entry, Inert) and entry.name in ("_rebuild_parameter", "Parameter") and entry.arguments:
        entry = entry.arguments[0]
    what = entry.name if isinstance(entry, Inert) else type(entry).__name__
    if what == "_rebuild_sparse_tensor":
        refuse("sparse", f"{name} must hold dense tensors only, got a sparse one at {key!r}")
    if what not in REBUILD:
        refuse("not-dense", f"{name} must hold dense tensors only, got {what} at {key!r}")
    arguments = entry.arguments
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        refuse("malformed", f"{name} must hold tensors with a storage, got none at {key!r}")
    storage, offset, shape, stride = arguments[:4]
    dtype = storage.dtype
    if what == "_rebuild_tensor_v3":
        dtype = DTYPES.get(getattr(arguments[6] if len(arguments) > 6 else None, "name", ""))
    shape = shape.arguments[0] if isinstance(shape, Inert) and shape.arguments else shape
    sound = all(isinstance(part, tuple) and len(part) <= MAX_DIMENSIONS for part in (shape, stride))
    if not sound or len(shape) != len(stride) or not all(map(_is_size, (*shape, *stride, offset))) or dtype is None:
        refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got another at {key!r}")
    return PickledTensor(dtype, shape, stride, offset, storage)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
