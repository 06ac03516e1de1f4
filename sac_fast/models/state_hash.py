"""The hash of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..formats.weights.states import EXTRA_STATE
from ..io.hashing import canonical_json, hash_entries


def weights_hash(model: nn.Module | Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the state dict's names, dtypes, shapes and bytes, in the order of the names.

    Extra state of a module that is no tensor counts as canonical JSON, where it is one.

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
    state: Mapping[str, Any] = model.state_dict() if isinstance(model, nn.Module) else model
    extra = {key: value for key, value in state.items() if _is_extra(key, value)}
    tensors = dense_state({key: value for key, value in state.items() if key not in extra})
    entries = [
        (key, str(value.dtype).removeprefix("torch."), tuple(value.shape), [_bytes(value)])
        for key, value in tensors.items()
    ]
    entries += [(key, "json", (), [_json(key, value)]) for key, value in extra.items()]
    return hash_entries(entries)


def dense_state(model: nn.Module | Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict, every tensor on the CPU.

    Raises:
        ModelError: an entry that is not a dense tensor with values.
    """
    state: Mapping[str, Any] = model.state_dict() if isinstance(model, nn.Module) else model
    dense: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"state dict must hold tensors only, got {type(value).__name__} at {key!r}")
        if nn.parameter.is_lazy(value) or value.is_meta:
            raise ModelError(f"state dict must hold values, got an uninitialised tensor at {key!r}")
        if value.layout != torch.strided or value.is_quantized:
            raise ModelError(f"state dict must hold dense tensors, got {value.layout} {value.dtype} at {key!r}")
        dense[key] = value.detach().cpu().resolve_conj().resolve_neg()
    return dense


def _is_extra(key: str, value: Any) -> bool:
    return key.rpartition(".")[2] == EXTRA_STATE and not isinstance(value, torch.Tensor)


def _json(key: str, value: Any) -> memoryview:
    try:
        return memoryview(canonical_json(value).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"extra state must be tensors or JSON, got {type(value).__name__} at {key!r}") from error


def _bytes(tensor: torch.Tensor) -> memoryview:
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data  # through uint8, since NumPy has no bfloat16
