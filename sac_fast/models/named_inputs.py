"""A batch of recorded inputs: tensors by the names of a model's inputs, one row a probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..probes import RecordedInputs


class NamedInputs:
    """Tensors ``(n, …)`` by name; slices, copies and moves like one tensor.

    Args:
        tensors: with as many rows.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)

    @classmethod
    def of(cls, inputs: RecordedInputs) -> NamedInputs:
        """Copies of all arrays, since torch wants writable ones."""
        return cls({name: torch.from_numpy(array.copy()) for name, array in inputs.arrays.items()})

    def _first(self) -> Tensor:
        return next(iter(self.tensors.values()))

    def __len__(self) -> int:
        return len(self._first())

    def __getitem__(self, rows: slice) -> NamedInputs:
        return self._map(lambda tensor: tensor[rows])

    def clone(self, memory_format: torch.memory_format = torch.preserve_format) -> NamedInputs:
        """A copy of the values."""
        return self._map(lambda tensor: tensor.clone(memory_format=memory_format))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> NamedInputs:
        """On a device, and the floats among them in a dtype."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None))

    @property
    def device(self) -> torch.device:
        """Of all of them."""
        return self._first().device

    @property
    def is_cuda(self) -> bool:
        """Whether they lie on a GPU."""
        return self._first().is_cuda

    def _map(self, change: Callable[[Tensor], Tensor]) -> NamedInputs:
        return NamedInputs({name: change(tensor) for name, tensor in self.tensors.items()})


#: What a model is called with.
Inputs = Tensor | NamedInputs


def call_model(model: Callable[..., Any], inputs: Inputs) -> Any:
    """Call a model with a tensor, or with several by the names of its parameters.

    Args:
        model: a network or a function; one with the attribute ``takes_named`` gets `NamedInputs` themselves.
        inputs: of one batch.
    """
    if isinstance(inputs, Tensor) or getattr(model, "takes_named", False):
        return model(inputs)
    if len(inputs.tensors) == 1:
        return model(*inputs.tensors.values())
    return model(**inputs.tensors)
