"""Open one model, whatever its format."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..formats.identify import identify_open, open_model_file
from ..formats.limits import Limits, refuse
from ..formats.npy import check_output_shape
from ..formats.recorded import RecordedOutputs, read_recorded
from ..formats.safetensors import read_header, read_tensors
from ..formats.weights.states import STATES, StoredState, stored_states
from .architectures import build_architecture, expected_state, infer_architecture, is_described, read_described
from .entry import ModelEntry
from .fitting import ExpectedState, Fit, fill_module, fit_one, states_under
from .image_classifiers import under_own_names
from .memory_format import use_fastest_memory_format
from .named_inputs import Inputs
from .onnx_model import open_onnx
from .opened_model import OpenedModel
from .preprocessing_choice import read_claim
from .recorded_model import RecordedModel
from .runner import run_inputs
from .state_hash import weights_hash

_OUTPUTS = "outputs"


class _Network(OpenedModel):
    def __init__(
        self, format: str, module: nn.Module, entry: ModelEntry, spec: str, kwargs: dict[str, object], fit: Fit
    ) -> None:
        super().__init__(module.eval())
        self.weights = fit.provenance()
        self.claim = read_claim(entry.path)
        self.notes = fit.notes()
        self.format, self.architecture, self.kwargs = format, spec, kwargs
        self.output = entry.output
        self.model_hash = weights_hash(module)
        self._memory_format: torch.memory_format | None = None
        self._axis_checked = False  # by the first run

    def run(self, inputs: Inputs | None, *, batch_size: int = 64) -> Tensor:
        module = self.runnable()
        if inputs is None:
            raise ModelError("inputs must be a tensor for a network, got None")
        if self._memory_format is None:
            self._memory_format = use_fastest_memory_format(module, inputs, output=self.output)
        outputs = run_inputs(
            module,
            inputs,
            batch_size=batch_size,
            output=self.output,
            memory_format=self._memory_format,
            check_axis=not self._axis_checked,
        )
        self._axis_checked = True
        return outputs

    def runnable(self) -> nn.Module:
        module: nn.Module = self.content
        return module

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> OpenedModel:
        module = self.runnable()
        tensors = itertools.chain(module.parameters(), module.buffers())
        if dtype is not None or any(tensor.device != torch.device(device or "cpu") for tensor in tensors):
            module.to(device=device, dtype=dtype)
            self._memory_format = None
        return self


def open_model(entry: ModelEntry, *, limits: Limits | None = None, architectures: Sequence[str] = ()) -> OpenedModel:
    """Open a model in this process; nothing that the file names is run.

    Args:
        entry: the file, and how to build and run the model. The architecture's own code is run: name only modules
            that you trust.
        limits: caps, checked before memory is taken; None: ``Limits()``.
        architectures: registered ones, of which the one that fits is taken for weights without an architecture; see
            `sac_fast.models.entry.split_architecture`.

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
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_model_file(entry.path, limits, root=entry.root))
        format = identify_open(handle, name, limits)
        if format == "safetensors" and entry.architecture is None:
            header = read_header(handle, name, limits)
            if set(header.tensors) == {_OUTPUTS}:
                outputs = read_tensors(handle, name, header)[_OUTPUTS]
                return RecordedModel(format, RecordedOutputs(_outputs(outputs, name)), name)
        if format in STATES:
            states = stored_states(format, handle, entry.path, name, limits, stack, root=entry.root)
            return _network(format, states_under(states, entry.weights_key, name), entry, architectures, name, limits)
        if format == "onnx":
            return open_onnx(handle, entry, limits)
        key = entry.output if isinstance(entry.output, str) else None
        return RecordedModel(format, read_recorded(format, handle, name, limits, key, entry.table), name)
    raise AssertionError("nothing suppresses an exception here")


def _outputs(tensor: Tensor, name: str) -> Tensor:
    shape = check_output_shape(tuple(tensor.shape), name, _OUTPUTS)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        refuse("not-numbers", f"{name} must hold real numbers, got {tensor.dtype}")
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).reshape(shape)


def _network(
    format: str,
    states: Mapping[str, StoredState],
    entry: ModelEntry,
    architectures: Sequence[str],
    name: str,
    limits: Limits,
) -> OpenedModel:
    if entry.architecture is None:
        inferred = infer_architecture(states, architectures, entry, name, limits)
        spec, kwargs, fit, built = inferred.spec, inferred.kwargs, inferred.fit, inferred.built
        module = build_architecture(*built)
    else:
        spec, kwargs = entry.architecture, dict(entry.kwargs)
        if is_described(spec):  # sizes that others have chosen: nothing is allocated before they fit the weights
            built = read_described(spec, kwargs, entry, limits)
            expected = expected_state(*built)
            fit = fit_one(expected, under_own_names(expected.module, states), name, built[0])
            module = build_architecture(*built)
        else:
            built = spec, kwargs
            module = build_architecture(spec, kwargs)
            fit = fit_one(ExpectedState(module), states, name, spec)
    fill_module(module, fit, name)
    network = _Network(format, module, entry, spec, kwargs, fit)
    if built != (spec, kwargs):
        network.notes = (*network.notes, f"built as {built[0]} from config.json")
    return network
