"""Models by name, and their weights: safetensors, or what ``torch.save`` wrote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..formats.identify import identify_open, open_model_file
from ..formats.limits import Limits
from ..formats.recognised import refuse_format
from ..formats.weights.states import HASH_KEY, STATES, StoredState, stored_states
from ..io.files import StrPath, atomic_write
from .architectures import build_architecture
from .fitting import ExpectedState, Fit, choose_fit, fill_module, fit_one, states_under
from .state_hash import dense_state, weights_hash
from .state_views import StateDict, state_views


def load_model(
    spec: str,
    *,
    weights: StrPath | None = None,
    kwargs: Mapping[str, Any] | None = None,
    weights_key: str | None = None,
) -> nn.Module:
    """Build a model by calling what ``spec`` names, and fill in its weights.

    Importing the module runs its code: name only modules you trust. Weight files are only read, never run.

    Args:
        spec: ``"package.module:callable"``; the callable (a class or a function) returns an `nn.Module`;
            ``"timm:NAME"`` (extra ``timm``), never with downloaded weights.
        weights: see `load_weights`; None: as the callable leaves them.
        kwargs: keyword arguments of the callable.
        weights_key: see `load_weights`.

    Returns:
        The model, in the mode in which the callable leaves it.

    Raises:
        ModelError: the spec names nothing that gives an `nn.Module`, or the weights do not fit.
        FileFormatError: the weights cannot be read.

    Example::

        >>> sac_fast.load_model("torch.nn:Linear", kwargs={"in_features": 4, "out_features": 2})
        Linear(in_features=4, out_features=2, bias=True)
    """
    model = build_architecture(spec, kwargs)
    if weights is not None:
        load_weights(model, weights, weights_key=weights_key)
    return model


def load_weights(model: nn.Module, path: StrPath, *, weights_key: str | None = None) -> None:
    """Load weights as ``load_state_dict(strict=True)`` does, from whatever a file keeps them in. All or nothing.

    The format is identified by content, not by name: safetensors, what ``torch.save`` wrote, or the index of a
    checkpoint in several files (``model.safetensors.index.json``). The only mapping in it whose tensors fit is taken,
    however deep it lies; prefixes that wrappers put before every name (``module.``, ``_orig_mod.``, ``model.``) are
    removed, and pruning, weight norm and spectral norm are undone where the model has none. Values are converted to the
    model's dtypes within one kind (float, integer, complex). Nothing that the file names is run.

    Args:
        model: changed in place.
        path: the file.
        weights_key: which mapping, where several fit: ``"state_dict_ema"``.

    Raises:
        ModelRefusedError: (a FileFormatError) the file cannot be read safely, is damaged, or holds no state dict, or
            several that fit and differ.
        ModelError: names, shapes or kinds do not fit; the first few are listed.

    Example::

        >>> import torch
        >>> digest = sac_fast.save_weights("mine.safetensors", torch.nn.Linear(4, 2))
        >>> model = torch.nn.Linear(4, 2)
        >>> sac_fast.load_weights(model, "mine.safetensors")
        >>> sac_fast.weights_hash(model) == digest
        True
    """
    name = repr(os.fspath(path))
    with open_states(path, Limits()) as states:
        fit = fit_one(ExpectedState(model), states_under(states, weights_key, name), name, "the model")
        fill_module(model, fit, name)


@contextlib.contextmanager
def open_states(path: StrPath, limits: Limits) -> Iterator[Mapping[str, StoredState]]:
    """The state dicts of a file, which stays open.

    Args:
        path: safetensors, what ``torch.save`` wrote, or the index of several such files; identified by content.
        limits: caps on the file.

    Raises:
        ModelRefusedError: the file cannot be read safely, is damaged, or holds no state dict.
    """
    name = repr(os.fspath(path))
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(open_model_file(path, limits))
        format = identify_open(handle, name, limits)
        if format not in STATES:
            refuse_format(format, name, "a file of weights (safetensors or torch.save)")
        yield stored_states(format, handle, Path(path), name, limits, stack)


def read_weights(path: StrPath, *, limits: Limits | None = None, weights_key: str | None = None) -> StateDict:
    """Read the state dict of a file, every size in it checked before memory is taken.

    Args:
        path: see `load_weights`.
        limits: caps on the file; None: ``Limits()``.
        weights_key: which of several state dicts.

    Returns:
        Name -> dense tensor on the CPU, as the file has them.

    Raises:
        ModelRefusedError: the file cannot be read safely, is damaged, or holds no state dict, or several.
    """
    name = repr(os.fspath(path))
    with open_states(path, limits or Limits()) as states:
        found = states_under(states, weights_key, name)
        views = (state_views(state)[0] for state in found.values())
        return choose_fit([Fit(key, view) for key, view in zip(found, views, strict=True)], name).view.read()


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
    state = dense_state(model)
    digest = weights_hash(state)
    copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    blob = safetensors.torch.save(copies, {"format": "pt", HASH_KEY: digest})
    with atomic_write(path) as handle:
        handle.write(blob)
    return digest
