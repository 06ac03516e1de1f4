"""Models by name, and their weights: safetensors, or a state dict that ``weights_only`` can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..errors import ModelError, describe_error
from ..formats.identify import open_model_file
from ..formats.limits import Limits, refuse
from ..formats.safetensors import Header, looks_like_safetensors, read_header, read_tensors
from ..formats.torch_file import StateDict, read_torch
from ..io.files import StrPath, atomic_write, file_size
from ..io.hashing import hash_entries
from .architectures import call_spec, check_fit, without_prefix

_HASH_KEY = "sac_fast.weights_hash"


def load_model(spec: str, *, weights: StrPath | None = None, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model by calling what ``spec`` names, and fill in its weights.

    Importing the module runs its code: name only modules you trust. Weight files are only read, never run.

    Args:
        spec: ``"package.module:callable"``; the callable (a class or a function) returns an `nn.Module`.
        weights: see `load_weights`; None: as the callable leaves them.
        kwargs: keyword arguments of the callable.

    Returns:
        The model, in the mode in which the callable leaves it.

    Raises:
        ModelError: the spec names nothing that gives an `nn.Module`, or the weights do not fit.
        FileFormatError: the weights cannot be read.

    Example::

        >>> sac_fast.load_model("torch.nn:Linear", kwargs={"in_features": 4, "out_features": 2})
        Linear(in_features=4, out_features=2, bias=True)
    """
    model = call_spec(spec, kwargs)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model: nn.Module, path: StrPath) -> None:
    """Load weights strictly: every tensor is there, none is left over, every shape fits. All or nothing.

    The format is identified by content, not by name: safetensors, or what ``torch.save`` wrote of a state dict and
    ``torch.load(weights_only=True)`` reads. A mapping under the key ``"state_dict"`` is taken, and a
    ``"module."`` (DataParallel) before every name is removed. Values are converted to the model's dtypes
    within one kind (float, integer, complex).

    Args:
        model: changed in place.
        path: the file.

    Raises:
        ModelRefusedError: (a FileFormatError) the file cannot be read safely, is damaged, or is no state dict.
        ModelError: names, shapes or kinds do not fit; the first few are listed.

    Example::

        >>> import torch
        >>> digest = sac_fast.save_weights("mine.safetensors", torch.nn.Linear(4, 2))
        >>> model = torch.nn.Linear(4, 2)
        >>> sac_fast.load_weights(model, "mine.safetensors")
        >>> sac_fast.weights_hash(model) == digest
        True
    """
    fill_module(model, read_weights(path), repr(os.fspath(path)))


def fill_module(module: nn.Module, state: StateDict, name: str) -> None:
    """Give a module its weights, strictly; the tensors in ``state`` are copied and released one by one.

    Args:
        module: changed in place.
        state: emptied.
        name: what messages call the file.

    Raises:
        ModelError: names, shapes or kinds do not fit.
    """
    expected = module.state_dict()
    fitting = without_prefix(expected, state)
    state.clear()
    check_fit(expected, fitting, name)
    try:
        module.load_state_dict(fitting)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"weights {name} do not fit {type(module).__name__}: {describe_error(error)}") from error


def read_weights(path: StrPath, *, limits: Limits | None = None, root: Path | None = None) -> StateDict:
    """Read a state dict, every size in the file checked before memory is taken.

    Args:
        path: safetensors, or what ``torch.save`` wrote of a state dict; identified by content.
        limits: caps on the file; None: ``Limits()``.
        root: a folder that links may not lead out of; None: anywhere.

    Returns:
        Name -> dense tensor on the CPU, as the file has them.

    Raises:
        ModelRefusedError: the file cannot be read safely, is damaged, or is no state dict.
    """
    limits, name = limits or Limits(), repr(os.fspath(path))
    with open_model_file(path, limits, root=root) as handle:
        head = handle.read(9)
        if not looks_like_safetensors(head, file_size(handle)):
            return read_torch(handle, name, limits)
        header = read_header(handle, name, limits)
        state = read_tensors(handle, name, header)
    check_weights_hash(state, header, name)
    return state


def check_weights_hash(state: StateDict, header: Header, name: str) -> None:
    """Compare a safetensors file's tensors with the hash that `save_weights` put into its metadata, if it did.

    Raises:
        ModelRefusedError: they differ.
    """
    digest = header.metadata.get(_HASH_KEY)
    if digest is not None and digest != (found := weights_hash(state)):
        refuse("damaged", f"{name} is damaged: its weights must have the hash {digest}, got {found}")


def save_weights(path: StrPath, model: nn.Module | Mapping[str, torch.Tensor]) -> str:
    """Write a state dict as safetensors, all or nothing; shared tensors are written once a name.

    Args:
        path: where the file is written.
        model: a module or a state dict, on any device.

    Returns:
        `weights_hash`, which the file's metadata hold too; `load_weights` checks it.

    Raises:
        ModelError: an entry that is not a dense tensor with values.
        OSError: the folder does not exist or cannot be written to.

    Example::

        >>> import torch
        >>> digest = sac_fast.save_weights("mine.safetensors", torch.nn.Linear(4, 2))
        >>> sac_fast.identify("mine.safetensors")
        'safetensors'
    """
    state = _dense_state(model)
    digest = weights_hash(state)
    copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    blob = safetensors.torch.save(copies, {"format": "pt", _HASH_KEY: digest})
    with atomic_write(path) as handle:
        handle.write(blob)
    return digest


def weights_hash(model: nn.Module | Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the state dict's names, dtypes, shapes and bytes, in the order of the names.

    Args:
        model: a module or a state dict, on any device.

    Returns:
        ``"sha256:..."``; the same on every device and in every process.

    Raises:
        ModelError: an entry that is not a dense tensor with values.

    Example::

        >>> import torch
        >>> sac_fast.weights_hash({"weight": torch.zeros(2)})
        'sha256:9c9e28ef72b573977413896c4d0de5978bf020bc8edd12e8ccbb8de0195cc3ed'
    """
    return hash_entries(
        (key, str(value.dtype).removeprefix("torch."), tuple(value.shape), [_bytes(value)])
        for key, value in _dense_state(model).items()
    )


def _bytes(tensor: torch.Tensor) -> memoryview:
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data  # through uint8, since NumPy has no bfloat16


def _dense_state(model: nn.Module | Mapping[str, torch.Tensor]) -> StateDict:
    state: Mapping[str, Any] = model.state_dict() if isinstance(model, nn.Module) else model
    dense: StateDict = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"state dict must hold tensors only, got {type(value).__name__} at {key!r}")
        if nn.parameter.is_lazy(value) or value.is_meta:
            raise ModelError(f"state dict must hold values, got an uninitialised tensor at {key!r}")
        if value.layout != torch.strided or value.is_quantized:
            raise ModelError(f"state dict must hold dense tensors, got {value.layout} {value.dtype} at {key!r}")
        dense[key] = value.detach().cpu().resolve_conj().resolve_neg()
    return dense
