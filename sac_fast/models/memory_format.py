"""The memory format in which a network's convolutions are fastest, where its outputs stay the same."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import ModelError
from .named_inputs import Inputs
from .runner import run_inputs

#: Below this the trial would cost more than it saves.
MIN_INPUTS = 32
_TRIAL = 4
_TOLERANCE = 1e-4


def use_fastest_memory_format(
    module: nn.Module, inputs: Inputs, *, output: int | str | None = None
) -> torch.memory_format:
    """Convert a network to channels last where it has convolutions to gain and its outputs stay the same.

    Strides are no part of what a model computes, but one that calls ``.view`` or ``.as_strided`` may see them. So the
    network runs on the first few inputs in both formats; if it fails in the new one, or gives other outputs, it
    stays as it was. The choice depends on the network and the inputs alone, never on the time anything took.

    Args:
        module: changed in place: the strides of its four-dimensional parameters.
        inputs: ``(n, C, H, W)`` on the module's device.
        output: of `run_inputs`.

    Returns:
        ``torch.channels_last`` or ``torch.contiguous_format``: the format of its inputs.
    """
    if not isinstance(inputs, torch.Tensor):
        return torch.contiguous_format
    images = inputs.device.type == "cpu" and inputs.dtype == torch.float32 and inputs.ndim == 4
    if not images or len(inputs) < MIN_INPUTS or not any(isinstance(part, nn.Conv2d) for part in module.modules()):
        return torch.contiguous_format

    def run(memory_format: torch.memory_format) -> torch.Tensor:
        few = inputs[:_TRIAL]  # whether rows are probes is checked when the network is run on all inputs
        return run_inputs(module, few, batch_size=_TRIAL, output=output, memory_format=memory_format, check_axis=False)

    with torch.random.fork_rng(devices=[]):
        state = torch.get_rng_state()
        try:
            expected = run(torch.contiguous_format)
            _convert(module, torch.channels_last)
            torch.set_rng_state(state)
            actual = run(torch.channels_last)
            error = (actual - expected).abs().max() if actual.shape == expected.shape else torch.tensor(torch.inf)
            same = bool(error <= _TOLERANCE * expected.abs().max())
        except (ModelError, RuntimeError):
            same = False
    if not same:
        _convert(module, torch.contiguous_format)
        return torch.contiguous_format
    return torch.channels_last


def _convert(module: nn.Module, memory_format: torch.memory_format) -> None:
    module.to(memory_format=memory_format)  # type: ignore[call-overload]  # documented, missing from its stub
