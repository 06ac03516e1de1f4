"""Models by name, and their weights: safetensors, or a state dict that ``weights_only`` can read."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..container import MAX_HEADER_BYTES, StrPath, atomic_write, hash_entries, open_regular
from ..errors import FileFormatError, ModelError

_HASH_KEY = "sac_fast.weights_hash"
_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SHOWN = 5

StateDict = dict[str, torch.Tensor]


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
    """
    if not _SPEC.fullmatch(spec):
        raise ModelError(f'model must be named as "package.module:callable", got {spec!r}')
    module_name, _, path = spec.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may raise anything
        raise ModelError(f"cannot import {module_name!r} of {spec!r}: {_told(error)}") from error
    for part in path.split("."):
        if not hasattr(target, part):
            raise ModelError(f"{spec!r} must name a callable, but {module_name!r} has no {path!r}")
        target = getattr(target, part)
    if not callable(target):
        raise ModelError(f"{spec!r} must name a callable, got {type(target).__name__}")
    try:
        model = target(**dict(kwargs or {}))
    except Exception as error:
        raise ModelError(f"{spec!r} failed with arguments {dict(kwargs or {})}: {_told(error)}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec!r} must return an nn.Module, got {type(model).__name__}")
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model: nn.Module, path: StrPath) -> None:
    """Load weights strictly: every tensor is there, none is left over, every shape fits. All or nothing.

    The format is told by content, not by name: safetensors, or what ``torch.save`` wrote of a state dict and
    ``torch.load(weights_only=True)`` reads. A mapping under the key ``"state_dict"`` is taken, and a
    ``"module."`` (DataParallel) before every name is removed. Values are converted to the model's dtypes
    within one kind (float, integer, complex).

    Args:
        model: changed in place.
        path: the file.

    Raises:
        FileFormatError: the file cannot be read safely, is damaged, or is no state dict.
        ModelError: names, shapes or kinds do not fit; the first few are listed.
    """
    name = repr(os.fspath(path))
    with open_regular(path) as handle:
        head = handle.read(9)
        if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES:
            state = _read_safetensors(path, name)
        elif head:
            handle.seek(0)
            state = _read_torch(handle, name)
        else:
            raise FileFormatError(f"{name} must hold weights, got an empty file")
    expected = model.state_dict()
    prefix = "module."
    if state and all(key.startswith(prefix) for key in state) and not any(k.startswith(prefix) for k in expected):
        state = {key[len(prefix) :]: value for key, value in state.items()}
    _check_fit(expected, state, name)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"weights {name} do not fit {type(model).__name__}: {_told(error)}") from error


def save_weights(path: StrPath, model: nn.Module | Mapping[str, torch.Tensor]) -> str:
    """Write a state dict as safetensors, all or nothing; shared tensors are written once a name.

    Args:
        path: where the file shall be.
        model: a module or a state dict, on any device.

    Returns:
        `weights_hash`, which the file's metadata hold too; `load_weights` checks it.

    Raises:
        ModelError: an entry that is not a dense tensor with values.
        OSError: the folder does not exist or cannot be written to.
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
    """
    return hash_entries(
        (key, str(value.dtype).removeprefix("torch."), tuple(value.shape), _bytes(value))
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


def _read_safetensors(path: StrPath, name: str) -> StateDict:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            digest = (file.metadata() or {}).get(_HASH_KEY)
            # get_tensor maps the file; clone() lets go of it.
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise FileFormatError(f"{name} must be a sound safetensors file, got {_told(error)}") from error
    if digest is not None and digest != weights_hash(state):
        raise FileFormatError(f"{name} is damaged: its weights must have the hash {digest}, got {weights_hash(state)}")
    return state


def _read_torch(handle: BinaryIO, name: str) -> StateDict:
    try:
        if zipfile.is_zipfile(handle):
            with zipfile.ZipFile(handle) as archive:
                # torch.save never compresses: a compressed entry is a bomb or comes from elsewhere.
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise FileFormatError(f"{name} must be what torch.save writes, got a compressed archive")
        handle.seek(0)
        loaded = torch.load(handle, map_location="cpu", weights_only=True)
    except FileFormatError:
        raise
    except pickle.UnpicklingError as error:
        raise FileFormatError(
            f"{name} must be safetensors or a state dict that torch.load(weights_only=True) reads, got a "
            "file that needs code to run or is damaged; if you trust it, load it and use save_weights. "
            f"{str(error).splitlines()[0]}"
        ) from error
    except Exception as error:  # torch.load raises almost anything on damaged files
        raise FileFormatError(f"{name} must be a file of weights, got {_told(error)}") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        raise FileFormatError(f"{name} must hold a state dict (name -> tensor), got {type(loaded).__name__}")
    for key, value in loaded.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
            raise FileFormatError(f"{name} must hold dense tensors only, got {type(value).__name__} at {key!r}")
    return dict(loaded)


def _check_fit(expected: Mapping[str, Any], got: StateDict, name: str) -> None:
    wrong = []
    for key in expected.keys() & got.keys():
        want, have = expected[key], got[key]
        if not isinstance(want, torch.Tensor) or nn.parameter.is_lazy(want):
            continue  # load_state_dict decides
        if want.shape != have.shape or _kind(want) != _kind(have):
            wrong.append(f"{key} (expected {_told_shape(want)}, got {_told_shape(have)})")
    problems = [
        _listed("missing", sorted(f"{key} {_told_shape(expected[key])}" for key in expected.keys() - got.keys())),
        _listed("unexpected", sorted(f"{key} {_told_shape(got[key])}" for key in got.keys() - expected.keys())),
        _listed("mismatched", sorted(wrong)),
    ]
    if any(problems):
        raise ModelError(f"weights {name} do not fit the model: {'; '.join(filter(None, problems))}")


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "float" if tensor.is_floating_point() else "integer"


def _told_shape(value: Any) -> str:
    if not isinstance(value, torch.Tensor) or nn.parameter.is_lazy(value):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _listed(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{len(items)} {what}: {', '.join(items[:_SHOWN])}{more}"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
