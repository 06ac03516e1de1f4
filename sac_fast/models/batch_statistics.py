"""Whether a network is given values like those of its training, as the statistics of its first batch norm tell.

A batch norm keeps mean μ and variance σ² of every channel of its inputs in training. Where the pixels are scaled in
another way than then, the same channels have another mean m and variance v: the note compares them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .opened_model import OpenedModel
from .preprocessing_choice import REMEDY

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
        if module is not self.first or self._rows >= MAX_ROWS or not isinstance(inputs, Tensor) or inputs.ndim < 2:
            return
        values = inputs.detach().double().transpose(0, 1).flatten(1)
        total, squares = values.sum(1), values.square().sum(1)
        self._rows += len(inputs)
        self._count += values.shape[1]
        self._sum = total if self._sum is None else self._sum + total
        self._squares = squares if self._squares is None else self._squares + squares

    def measured(self) -> tuple[float, float] | None:
        """Medians over channels of ``|m − μ| / σ`` and of ``v / σ²``; None where nothing was seen."""
        if self.first is None or self._sum is None or self._squares is None:
            return None
        kept_mean, kept_variance = self.first.running_mean, self.first.running_var
        if kept_mean is None or kept_variance is None:
            return None
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=0)
        wanted = kept_variance.double() + self.first.eps
        shift = (mean - kept_mean.double()).abs() / wanted.sqrt()
        return float(shift.median()), float((variance / wanted).median())

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
    handles = []
    if isinstance(module, nn.Module):
        # A function, not a method: a copy of the network on another device reports to the same place.
        def look(one: nn.Module, inputs: tuple[Any, ...]) -> None:
            if isinstance(one, _BatchNorm):
                found.add(one, inputs[0] if inputs else None)

        parts = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
        handles = [part.register_forward_pre_hook(look) for part in parts]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
