"""Run a model on probes and check its outputs."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ModelError, describe_error
from ..io.progress import track
from ..probes import Probes, ProbeSet
from .batch_axis import ASKED, check_batch_axis
from .named_inputs import Inputs, NamedInputs, call_model
from .preprocessing import Preprocessing

Model = nn.Module | Callable[[torch.Tensor], Any]
_ARRAYS = (torch.Tensor, np.ndarray)


def run_model(
    model: Model,
    probes: Probes,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    output: int | str | None = None,
    progress: bool = False,
) -> torch.Tensor:
    """The model's outputs for the probes, under ``torch.inference_mode`` and in eval mode.

    A module's training flags are put back afterwards, whatever happens. Where ``device`` or ``dtype`` differ
    from the module's own, a copy of it is moved and run; the module itself is never moved or converted.

    Args:
        model: an `nn.Module`, or any callable from a batch of inputs to outputs (tensors or NumPy arrays).
        probes: n images, or inputs that were recorded, which are given as they are.
        preprocessing: from pixels to inputs; None: ``Preprocessing()``, pixels in 0..1, RGB, NCHW.
        batch_size: images a call.
        device: where to run; None: where the module's first parameter is, the CPU for other callables.
        dtype: floating dtype of module and inputs; None: that of the module's first floating parameter,
            float32 for other callables, of which only the inputs are converted.
        output: which of several outputs: an index of a tuple or list, a key of a dict, an attribute's name.
            None: the only tensor there is.
        progress: show a bar on stderr.

    Returns:
        ``(n, k)`` on the CPU, float64 if the model returns float64, else float32; outputs of more than two
        dimensions are flattened, those of one become ``(n, 1)``.

    Raises:
        ModelError: the device is not there, the model fails, or its outputs are ambiguous, have the wrong number of
            rows, changes its width, is not real numbers, or is not finite.
        ValueError: a wrong argument.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating dtype, got {dtype}")
    if not callable(model):
        raise ModelError(f"model must be an nn.Module or a callable, got {type(model).__name__}")
    preprocessing = preprocessing or Preprocessing()
    # Recorded inputs of a function are given as they are, float64 too.
    as_recorded = dtype if dtype is not None or not isinstance(model, nn.Module) else own_dtype(model)
    model, device, dtype = _placed(model, device, dtype)

    def batches() -> Iterator[Inputs]:
        recorded = None if isinstance(probes, ProbeSet) else NamedInputs.of(probes)
        for start in track(range(0, len(probes), batch_size), "running the model", enabled=progress):
            if not isinstance(probes, ProbeSet):
                assert recorded is not None
                yield recorded[start : start + batch_size].clone().to(device, as_recorded)
                continue
            # A copy: torch warns about read-only arrays.
            pixels = torch.from_numpy(probes.images[start : start + batch_size].copy())
            yield preprocessing(pixels.to(device)).to(dtype)

    return _run(model, batches(), output)


def run_inputs(
    model: Model,
    inputs: Inputs,
    *,
    batch_size: int = 64,
    output: int | str | None = None,
    memory_format: torch.memory_format = torch.preserve_format,
    check_axis: bool = True,
) -> torch.Tensor:
    """What `run_model` does after the preprocessing: the model's outputs for inputs that are ready.

    Nothing is moved or converted: the inputs must be on the model's device and in its dtype. The model gets copies, a
    batch at a time: one that writes into its inputs, by whatever way, changes none but its own.

    Args:
        model: an `nn.Module`, or any callable from a batch of inputs to outputs (tensors or NumPy arrays).
        inputs: ``(n, ...)``, n at least 1; see `Preprocessing`. Or several of them by name.
        batch_size: inputs a call.
        output: see `run_model`.
        memory_format: what each batch is brought into before the call.
        check_axis: ask for one, two and three probes too, see `check_batch_axis`, where all batches are of one size.

    Returns:
        ``(n, k)`` on the CPU, see `run_model`.

    Raises:
        ModelError: the model fails or its outputs cannot be used, see `run_model`.
        ValueError: a wrong argument.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
    if isinstance(inputs, torch.Tensor) and (not inputs.ndim or not len(inputs)):
        raise ValueError(f"inputs must be (n, ...) with n at least 1, got {tuple(inputs.shape)}")
    # Tensors count their in-place changes, but not those made through x.data or x.numpy(): only a copy is safe.
    parts = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    return _run(model, (part.clone(memory_format=memory_format) for part in parts), output, check_axis)


def _run(model: Model, batches: Iterator[Inputs], output: int | str | None, check_axis: bool = True) -> torch.Tensor:
    collected: list[torch.Tensor] = []
    start = 0
    sizes: set[int] = set()
    few: Inputs | None = None
    with evaluating(model), torch.inference_mode():
        for inputs in batches:
            if check_axis and few is None:
                few = inputs[:ASKED].clone()
            sizes.add(len(inputs))
            where = f"probes {start} to {start + len(inputs) - 1} (batch {len(collected)})"
            try:
                returned = call_model(model, inputs)
            except Exception as error:  # untrusted code may raise anything
                reason = error.reason if isinstance(error, ModelError) else None
                raise ModelError(f"model failed on {where}: {describe_error(error)}", reason=reason) from error
            rows = _checked(select_output(returned, output), len(inputs), start)
            if collected and rows.shape[1] != collected[0].shape[1]:
                wanted, found = f"{collected[0].shape[1]} values a probe as before", f"{rows.shape[1]} for {where}"
                raise ModelError(f"model must return {wanted}, got {found}", reason="wrong-shape")
            collected.append(rows)
            start += len(inputs)
        # batches of two sizes have shown which axis grows with them
        if few is not None and len(sizes) == 1 and not getattr(model, "is_service", False):
            check_batch_axis(lambda some: select_output(call_model(model, some), output), few)
    # Outside of inference mode, so that the result is an ordinary tensor.
    return torch.cat(collected)


def _placed(
    model: Model, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[Model, torch.device, torch.dtype]:
    """The model on its device and in its dtype (a copy if it must move), with both resolved."""
    if not isinstance(model, nn.Module):
        return model, _usable(device or "cpu"), dtype or torch.float32
    tensors = [*model.parameters(), *model.buffers()]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    own_device = tensors[0].device if tensors else torch.device("cpu")
    own = own_dtype(model)
    want_device = _usable(own_device if device is None else device)
    if str(want_device) == own_device.type:
        want_device = own_device  # "cuda" means the GPU where it is already
    moves = device is not None and any(tensor.device != want_device for tensor in tensors)
    converts = dtype is not None and any(tensor.dtype != dtype for tensor in floats)
    if moves or converts:
        try:
            model = copy.deepcopy(model).to(device=want_device, dtype=dtype)
        except (RuntimeError, TypeError, AssertionError, pickle.PicklingError) as error:
            remedy = f"move it yourself and leave device and dtype out: {describe_error(error)}"
            place = f"{want_device} in {dtype or own}"
            raise ModelError(f"model must be copied to run on {place}, which failed; {remedy}") from error
    return model, want_device, dtype or own


def own_dtype(model: nn.Module) -> torch.dtype:
    """Of a module's first floating parameter or buffer; float32 without one."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _usable(device: torch.device | str) -> torch.device:
    try:
        torch.empty(1, device=device).cpu()  # the meta device fails here: it holds no values
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device must be one that torch can use here, got {str(device)!r}: {error}") from error
    return torch.device(device)


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Eval mode for a module; every submodule's own training flag comes back afterwards."""
    if not isinstance(model, nn.Module):
        yield
        return
    flags = [(module, module.training) for module in model.modules()]
    was_training = model.training
    try:
        if any(flag for _, flag in flags):
            model.eval()
        yield
    finally:
        if was_training:
            model.train()  # some modules do more in train() than to set the flag
        for module, flag in flags:
            if module.training != flag:
                module.training = flag


def select_output(returned: Any, output: int | str | None) -> torch.Tensor:
    """The one tensor that is meant in what a model returns; ``output`` as in `run_model`.

    Raises:
        ModelError: there is none, or there are several.
    """
    if isinstance(returned, _ARRAYS):
        if output is not None:
            found = f"output={output!r} (--output), but it returns one tensor"
            raise ModelError(f"model must return several outputs for one to be picked, got {found}")
        return _tensor(returned)
    parts = _parts(returned)
    choices = [key for key, value in parts.items() if isinstance(value, _ARRAYS)]
    kind, shown = type(returned).__name__, f"(choices: {', '.join(map(repr, choices)) or 'none'})"
    if output is None:
        if len(choices) != 1:
            remedy = f"pick one with output= (--output) {shown}"
            raise ModelError(f"model must return one tensor, got {kind} with {len(choices)}; {remedy}")
        output = choices[0]
    elif output not in parts and isinstance(output, str) and not isinstance(returned, Mapping):
        parts[output] = getattr(returned, output, None)
    if not isinstance(parts.get(output), _ARRAYS):
        raise ModelError(f"output={output!r} must name a tensor in the model's {kind} {shown}, by --output")
    return _tensor(parts[output])


def _tensor(value: torch.Tensor | np.ndarray[Any, np.dtype[Any]]) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    try:
        return torch.from_numpy(np.array(value, order="C"))  # a copy, since torch wants writable arrays
    except TypeError as error:
        raise ModelError(f"model must return numbers, got a NumPy array of {value.dtype}") from error


def _parts(returned: Any) -> dict[Any, Any]:
    """What ``output=`` can name in what a model returns: keys, field names or indices."""
    if isinstance(returned, Mapping):
        return dict(returned)
    if isinstance(returned, tuple) and hasattr(returned, "_fields"):
        return dict(zip(returned._fields, returned, strict=True))
    if isinstance(returned, (tuple, list)):
        return dict(enumerate(returned))
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    return {}


def _checked(returned: torch.Tensor, count: int, start: int) -> torch.Tensor:
    """Real, finite rows ``(count, k)`` on the CPU."""
    if returned.layout != torch.strided or returned.is_complex() or returned.dtype == torch.bool:
        raise ModelError(f"model must return dense real numbers, got {returned.layout} {returned.dtype}")
    got = returned.shape[0] if returned.ndim else "a single number"
    if got != count:
        raise ModelError(f"model must return {count} rows for a batch of {count}, got {got}", reason="wrong-shape")
    rows = returned.detach().cpu().reshape(count, math.prod(returned.shape[1:]))
    if rows.shape[1] == 0:
        shape = tuple(returned.shape)
        raise ModelError(f"model must return at least one value a probe, got shape {shape}", reason="wrong-shape")
    rows = rows.to(torch.float64 if rows.dtype == torch.float64 else torch.float32)
    if math.isfinite(rows.sum()):  # so is each number then; the sum of large ones may not be
        return rows
    finite = torch.isfinite(rows).all(1)
    if not bool(finite.all()):
        index = int((~finite).nonzero()[0])
        value = rows[index][~torch.isfinite(rows[index])][0].item()
        found = f"{value} for probe {start + index}"
        raise ModelError(f"model must return finite numbers, got {found}", reason="not-finite")
    return rows
