"""Open one model, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..formats.identify import identify_open, open_model_file
from ..formats.limits import Limits, refuse
from ..formats.npy import check_output_shape
from ..formats.recorded import RecordedOutputs, read_recorded
from ..formats.safetensors import read_header, read_tensors
from ..formats.torch_file import read_torch
from .architectures import build_architecture, infer_architecture
from .checkpoint import check_weights_hash, fill_module, weights_hash
from .entry import ModelEntry
from .onnx_model import open_onnx
from .opened_model import OpenedModel
from .recorded_model import RecordedModel
from .runner import run_inputs, use_fastest_memory_format

_OUTPUTS = "outputs"


class _Network(OpenedModel):
    def __init__(self, format: str, module: nn.Module, entry: ModelEntry, spec: str, kwargs: dict[str, object]) -> None:
        super().__init__(module.eval())
        self.format, self.architecture, self.kwargs = format, spec, kwargs
        self.output = entry.output
        self.model_hash = weights_hash(module)
        self._memory_format: torch.memory_format | None = None

    def run(self, inputs: Tensor | None, *, batch_size: int = 64) -> Tensor:
        module = self.runnable()
        if inputs is None:
            raise ModelError("inputs must be a tensor for a network, got None")
        if self._memory_format is None:
            self._memory_format = use_fastest_memory_format(module, inputs, output=self.output)
        return run_inputs(module, inputs, batch_size=batch_size, output=self.output, memory_format=self._memory_format)

    def runnable(self) -> nn.Module:
        module: nn.Module = self.content
        return module

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> OpenedModel:
        self.runnable().to(device=device, dtype=dtype)
        self._memory_format = None
        return self


def open_model(entry: ModelEntry, *, limits: Limits | None = None, architectures: Sequence[str] = ()) -> OpenedModel:
    """Open a model in this process; nothing that the file names is run.

    Args:
        entry: the file, and how to build and run the model. The architecture's own code is run: name only modules
            that you trust.
        limits: caps, checked before memory is taken; None: ``Limits()``.
        architectures: registered ones, of which the one that fits is taken for weights without an architecture; see
            `sac_fast.models.architectures.split_architecture`.

    Returns:
        The model, ready to run.

    Raises:
        ModelRefusedError: the file is not opened; ``reason`` says why in a word.
        ModelError: the architecture cannot be built or the weights do not fit it.

    Example::

        >>> import torch
        >>> from pathlib import Path
        >>> _ = sac_fast.save_weights("mine.safetensors", torch.nn.Linear(4, 2))
        >>> sizes = {"in_features": 4, "out_features": 2}
        >>> entry = sac_fast.ModelEntry("mine", Path("mine.safetensors"), "torch.nn:Linear", sizes)
        >>> with sac_fast.open_model(entry) as model:
        ...     model.format, model.run(torch.ones(3, 4)).shape
        ('safetensors', torch.Size([3, 2]))
    """
    limits = limits or Limits()
    name = repr(os.fspath(entry.path))
    with open_model_file(entry.path, limits, root=entry.root) as handle:
        format = identify_open(handle, name, limits)
        if format == "safetensors":
            header = read_header(handle, name, limits)
            recorded = entry.architecture is None and set(header.tensors) == {_OUTPUTS}
            state = read_tensors(handle, name, header)
            if recorded:
                return RecordedModel(format, RecordedOutputs(_outputs(state[_OUTPUTS], name)), name)
            check_weights_hash(state, header, name)
            return _network(format, state, entry, architectures, name)
        if format in ("torch", "torch-legacy", "pickle", "torchscript", "pt2"):
            return _network(format, read_torch(handle, name, limits), entry, architectures, name)
        if format == "onnx":
            return open_onnx(handle, entry, limits)
        key = entry.output if isinstance(entry.output, str) else None
        return RecordedModel(format, read_recorded(format, handle, name, limits, key, entry.table), name)


def _outputs(tensor: Tensor, name: str) -> Tensor:
    shape = check_output_shape(tuple(tensor.shape), name, _OUTPUTS)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        refuse("not-numbers", f"{name} must hold real numbers, got {tensor.dtype}")
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).reshape(shape)


def _network(
    format: str, state: dict[str, Tensor], entry: ModelEntry, architectures: Sequence[str], name: str
) -> OpenedModel:
    if entry.architecture is None:
        spec, kwargs = infer_architecture(state, architectures, name)
    else:
        spec, kwargs = entry.architecture, dict(entry.kwargs)
    module = build_architecture(spec, kwargs)
    fill_module(module, state, name)
    return _Network(format, module, entry, spec, kwargs)
