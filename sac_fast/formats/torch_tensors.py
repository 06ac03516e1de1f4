"""Tensors as a checkpoint's pickle describes them, checked against the storages that they lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from .limits import MAX_DIMENSIONS, Limits, refuse
from .torch_pickle import REBUILD, Inert, Storage, dtype_of

_PARAMETERS = ("_rebuild_parameter", "Parameter", "_rebuild_parameter_with_state")
MAX_DEPTH = 64  # of records inside each other
_TENSORS = REBUILD | {
    *("_rebuild_parameter", "Parameter", "_rebuild_parameter_with_state", "_rebuild_qtensor"),
    *("_rebuild_sparse_tensor", "_rebuild_from_type_v2", "_rebuild_nested_tensor"),
}
_MATHEMATICS: tuple[dict[str, bool], ...] = ({}, {"conj": True}, {"neg": True}, {"conj": True, "neg": True})


def is_tensor(found: Any) -> bool:
    """Whether a record of a pickle stands for a tensor with values, of whatever kind."""
    return isinstance(found, Inert) and found.name in _TENSORS and bool(found.arguments)


def unwrapped(entry: Any, key: str, name: str) -> Any:
    """The tensor's own record inside those of parameters and subclasses.

    Raises:
        ModelRefusedError: there is none.
    """
    for _ in range(MAX_DEPTH):
        arguments = entry.arguments if isinstance(entry, Inert) else ()
        if isinstance(entry, Inert) and entry.name in _PARAMETERS and arguments:
            entry = arguments[0]
        elif isinstance(entry, Inert) and entry.name == "_rebuild_from_type_v2" and len(arguments) > 2:
            kind, _, inner = arguments[:3]
            made = isinstance(kind, type) and issubclass(kind, Inert) and isinstance(inner, tuple)
            entry = kind(*inner) if made else None
        else:
            break
    return entry


@dataclass(frozen=True)
class PickledTensor:
    """A tensor as its pickle describes it; strides and offset count values.

    ``conj`` and ``neg``: its values are the conjugates, or the negatives, of the stored ones.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage
    conj: bool = False
    neg: bool = False

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
    entry = unwrapped(entry, key, name)
    what = entry.name if isinstance(entry, Inert) else type(entry).__name__
    if what == "_rebuild_sparse_tensor":
        refuse("sparse", f"{name} must hold dense tensors only, got a sparse one at {key!r}")
    if what not in REBUILD:
        refuse("not-dense", f"{name} must hold dense tensors only, got {what} at {key!r}")
    arguments = entry.arguments
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        refuse("malformed", f"{name} must hold tensors with a storage, got none at {key!r}")
    storage, offset, shape, stride = arguments[:4]
    dtype: torch.dtype | None = storage.dtype
    views = arguments[6:7]
    if what == "_rebuild_tensor_v3":
        views = arguments[7:8]
        dtype = dtype_of(getattr(arguments[6] if len(arguments) > 6 else None, "name", ""))
    shape = shape.arguments[0] if isinstance(shape, Inert) and shape.arguments else shape
    sound = all(isinstance(part, tuple) and len(part) <= MAX_DIMENSIONS for part in (shape, stride))
    if not sound or len(shape) != len(stride) or not all(map(_is_size, (*shape, *stride, offset))) or dtype is None:
        refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got another at {key!r}")
    said = views[0] if what != "_rebuild_tensor" and views else {}
    if said not in _MATHEMATICS:
        refuse("malformed", f"{name} must hold tensors as torch.save writes them, got another at {key!r}")
    return PickledTensor(dtype, shape, stride, offset, storage, "conj" in said, "neg" in said)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
