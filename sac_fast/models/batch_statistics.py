"""Whether a network is given values like those of its training, as the statistics of its first batch norm tell.

A batch norm keeps mean μ and variance σ² of every channel of its inputs in training. Where the pixels are scaled in
another way than then, the same channels have another mean m and variance v: the note compares them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from .opened_model import OpenedModel
from .preprocessing import REMEDY

#: Rows of inputs that are looked at.
MAX_ROWS = 256
# Medians over channels beyond which the note is given; see docs/scanning.md for what was measured.
_MAX_SHIFT = 1.5
_MAX_RATIO = 4.0


class BatchStatistics:
    """Mean and variance of what the first batch norm of a network is given."""

    def __init__(self) -> None:
        self.first: _BatchNorm | None = None
        self._rows = 0
        self._count = 0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, module: _BatchNorm, inputs: Any) -> None:
        """Take the inputs of a batch norm; those of all but the first one are left out."""
        if self.first is None:
            self.first = module
        kept = module.running_mean
        if module is not self.first or self.is_complete or kept is None or not _fits(inputs, kept):
            return
        # Relative to the kept mean nothing cancels where it matters; float64 takes three times as long.
        dtype = torch.float64 if inputs.dtype == torch.float64 else torch.float32
        away = inputs.detach().to(dtype) - kept.to(dtype).reshape(1, -1, *[1] * (inputs.ndim - 2))
        axes = [0, *range(2, inputs.ndim)]
        total = away.sum(axes).double()
        squares = away.square_().sum(axes).double()
        self._rows += len(inputs)
        self._count += inputs.numel() // inputs.shape[1]
        self._sum = total if self._sum is None else self._sum + total
        self._squares = squares if self._squares is None else self._squares + squares

    @property
    def is_complete(self) -> bool:
        """Whether enough rows were looked at."""
        return self._rows >= MAX_ROWS

    def measured(self) -> tuple[float, float] | None:
        """Medians over channels of ``|m − μ| / σ`` and of ``v / σ²``; None where nothing was seen."""
        if self.first is None or self._sum is None or self._squares is None or self.first.running_var is None:
            return None
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=0)
        wanted = self.first.running_var.double() + self.first.eps
        return float((mean.abs() / wanted.sqrt()).median()), float((variance / wanted).median())

    def notes(self) -> list[str]:
        """A line for people where the values are others than in training; else none."""
        found = self.measured()
        if found is None:
            return []
        shift, ratio = found
        if shift <= _MAX_SHIFT and 1 / _MAX_RATIO <= ratio <= _MAX_RATIO:
            return []
        said = f"its first batch norm is given {ratio:.2g} of the variance of its training, shifted by {shift:.2g} σ"
        return [f"{said}: its inputs may be other ones (--mean, --std, {REMEDY})"]


@contextlib.contextmanager
def watch_statistics(model: object) -> Iterator[BatchStatistics]:
    """Look at a network while it runs.

    Args:
        model: a network, or one that is open; others are not looked at.

    Yields:
        What was seen.
    """
    found = BatchStatistics()
    module = model._content if isinstance(model, OpenedModel) else model
    handles: list[RemovableHandle] = []

    def remove() -> None:
        for handle in handles:
            handle.remove()

    if isinstance(module, nn.Module):
        # A function, not a method: a copy of the network on another device reports to the same place.
        def look(one: nn.Module, inputs: tuple[Any, ...]) -> None:
            if isinstance(one, _BatchNorm):
                found.add(one, inputs[0] if inputs else None)
            if found.is_complete:
                remove()

        parts = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
        handles = [part.register_forward_pre_hook(look) for part in parts]
    try:
        yield found
    finally:
        remove()


def _fits(inputs: Any, kept: Tensor) -> bool:
    """Whether a batch norm can take what it is given."""
    return isinstance(inputs, Tensor) and inputs.ndim >= 2 and inputs.numel() > 0 and inputs.shape[1] == len(kept)
