"""Whether a model gives one row a probe: outputs whose first axis is time may have as many rows as a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from .named_inputs import Inputs

#: Reason of the ModelError of outputs whose rows are no probes.
BATCH_AXIS = "batch-axis"
#: Probes that are asked for together to see which axis grows with them.
ASKED = 3
_TOLERANCE = 1e-2


def check_batch_axis(ask: Callable[[Inputs], Tensor], inputs: Inputs) -> None:
    """Ask for one, two and three probes: the first axis of the outputs must be as long.

    A model that cannot be asked for so few is not refused, nor one that drops the axis of a single probe.

    Args:
        ask: the model, as a function from inputs to the outputs that are meant.
        inputs: of at least one probe; `ASKED` of them are used.

    Raises:
        ModelError: another axis is that of the probes, or none.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    devices = [inputs.device] if inputs.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        for count in range(min(ASKED, len(inputs)), 0, -1):
            try:
                shapes[count] = tuple(ask(inputs[:count].clone()).shape)
            except Exception:
                continue
    for count, shape in shapes.items():
        dropped = count == 1 and any(shape == other[1:] for other in shapes.values())
        if shape[:1] != (count,) and not dropped:
            probes = "1 probe" if count == 1 else f"{count} probes"
            raise ModelError(
                f"model must return one row a probe along its first axis, got outputs of shape {shape} for {probes}",
                reason=BATCH_AXIS,
            )


def check_rows_follow(ask: Callable[[Any], Tensor], inputs: Any) -> None:
    """Ask a graph of a fixed batch for the probes in reverse: its rows must be reversed.

    Args:
        ask: the graph, as a function from as many inputs as it takes to the outputs that are meant.
        inputs: the array of a whole batch, of two probes at least.

    Raises:
        ModelError: they are not.
    """
    rows, turned = ask(inputs), ask(inputs[::-1].copy())
    off = (turned.flip(0).double() - rows.double()).abs().max()
    if bool(off > _TOLERANCE * rows.double().abs().max()):
        found = "other outputs for the same probes in another order"
        raise ModelError(f"model must return one row a probe along its first axis, got {found}", reason=BATCH_AXIS)
