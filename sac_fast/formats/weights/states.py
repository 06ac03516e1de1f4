"""State dicts in files: every mapping from names to tensors, checked; the one that is chosen is read.

Source: torch.nn.Module.state_dict and load_state_dict; safetensors.torch.save_model for the metadata of tied tensors.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch

from ...errors import ModelRefusedError
from ..limits import Limits, refuse
from ..torch_file import Pickled, read_pickled
from ..torch_pickle import Inert, InertObject, refuse_code, state_versions
from ..torch_tensors import MAX_DEPTH, is_tensor
from .ranges import FileRanges
from .safetensors_arrays import safetensors_arrays
from .sharded import sharded_arrays
from .state_dict import StoredArray
from .torch_arrays import MAX_NAME, MAX_STEPS, STATES_OF_TRAINING, ArrayReader

#: What `Module.get_extra_state` is called in a state dict; it may be anything.
EXTRA_STATE = "_extra_state"
#: Entry of a safetensors file's metadata: the hash of its weights.
HASH_KEY = "sac_fast.weights_hash"
#: Formats of `identify` that are state dicts, or are refused as such with a reason of their own.
STATES = ("safetensors", "sharded", "torch", "torch-legacy", "pickle", "torchscript", "pt2")
_MAX_STATES = 64
_MAX_OTHERS = 64  # names of what is no tensor that are kept
_PLAIN = (int, float, str, bool, bytes, type(None))


@dataclass(frozen=True)
class StoredState:
    """One mapping from names to tensors.

    Attributes:
        name: what messages call the file.
        arrays: the tensors.
        others: names of entries that are no tensors, the first few.
        extra: plain values of modules' extra state.
        versions: of modules, by their names, as torch keeps them.
        aliases: names that the writer left out, since their tensor stands under another name.
        digest: hash of the values, as `save_weights` states it.
    """

    name: str
    arrays: Mapping[str, StoredArray]
    others: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None

    @functools.cached_property
    def described(self) -> dict[str, torch.Tensor]:
        """Every tensor on the meta device: dtype and shape."""
        return {
            key: torch.empty(array.shape, dtype=getattr(torch, array.dtype), device="meta")
            for key, array in self.arrays.items()
        }

    def read(self, key: str) -> torch.Tensor:
        """One tensor, on the CPU in the file's dtype."""
        array = self.arrays[key]
        values = torch.from_numpy(array.read())  # float32 where NumPy lacks the dtype; the way back is exact
        return values.to(getattr(torch, array.dtype))


def stored_states(
    format: str,
    handle: BinaryIO,
    path: Path,
    name: str,
    limits: Limits,
    resources: contextlib.ExitStack,
    *,
    root: Path | None = None,
) -> dict[str, StoredState]:
    """All state dicts of a file.

    Args:
        format: of `identify`.
        handle: the open file; it must stay open while tensors are read.
        path: where it is; the parts of a checkpoint in several files lie beside it.
        name: what messages call it.
        limits: on number and sizes.
        resources: closes the parts.
        root: a folder that links may not lead out of; None: anywhere.

    Returns:
        By the keys under which they lie in the file, with dots between them; ``""`` where the file itself is one.

    Raises:
        ModelRefusedError: none, or a file that cannot be read safely.
    """
    if format == "safetensors":
        arrays, metadata = safetensors_arrays(handle, name, limits)
        aliases = {key: kept for key, kept in metadata.items() if kept in arrays and key not in arrays}
        return {"": StoredState(name, arrays, aliases=aliases, digest=metadata.get(HASH_KEY))}
    if format == "sharded":
        parts = sharded_arrays(handle, path, name, limits, resources, root=root, as_data=False)
        return {"": StoredState(name, parts)}
    pickled = read_pickled(handle, name, limits)
    found = dict(_states(pickled, FileRanges(handle, name), limits))
    if not found:
        _refuse_none(pickled.value, name)
    return found


def _states(pickled: Pickled, ranges: FileRanges, limits: Limits) -> Iterator[tuple[str, StoredState]]:
    """State dicts with dense tensors; what is wrong with others is said only where there is none."""
    refused: ModelRefusedError | None = None
    sound = 0
    for key, mapping in _mappings(pickled.value, ranges.name):
        try:
            state = _state(mapping, ArrayReader(ranges, pickled, limits), limits, ranges.name)
        except ModelRefusedError as error:
            if error.reason not in ("sparse", "not-dense"):
                raise
            refused = refused or error
            continue
        sound += 1
        if sound > _MAX_STATES:
            refuse("too-large", f"{ranges.name} must hold at most {_MAX_STATES} state dicts, got more")
        yield key, state
    if refused is not None and not sound:
        raise refused


def _mappings(value: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Mappings that hold a tensor under a text, with their dotted keys; the outer ones first, each once."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    seen: set[int] = set()
    steps = 0
    while waiting:
        key, found, depth = waiting.pop(0)
        if not isinstance(found, Mapping) or id(found) in seen:
            continue
        seen.add(id(found))
        steps += 1 + len(found)
        if depth > MAX_DEPTH or steps > MAX_STEPS:
            wanted = f"at most {MAX_STEPS:,} values in mappings at most {MAX_DEPTH} deep"
            refuse("too-large", f"{name} must hold {wanted}, got more")
        if not all(isinstance(part, str) for part in found):
            continue
        if any(map(_is_tensor, found.values())):
            yield key, found
        for part, inner in found.items():
            if isinstance(inner, Mapping) and not part.lower().startswith(STATES_OF_TRAINING):
                waiting.append((f"{key}.{part}"[:MAX_NAME].lstrip("."), inner, depth + 1))


def _is_tensor(found: Any) -> bool:
    """Whether it stands for a tensor, one without values included."""
    is_record = isinstance(found, Inert) and not isinstance(found, InertObject)
    return is_tensor(found) or (is_record and found.name.startswith("_rebuild_"))


def _state(mapping: Mapping[str, Any], reader: ArrayReader, limits: Limits, name: str) -> StoredState:
    arrays: dict[str, StoredArray] = {}
    others: list[str] = []
    extra: dict[str, Any] = {}
    limits.check_count(name, len(mapping))
    for key, entry in mapping.items():
        if _is_tensor(entry):
            arrays[key] = reader.array(entry, key, as_stored=True)
        elif key.rpartition(".")[2] == EXTRA_STATE and _is_plain(entry):
            extra[key] = entry
        else:
            others.append(key)
    return StoredState(name, arrays, tuple(others[:_MAX_OTHERS]), extra, state_versions(mapping))


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, Mapping):
        return depth < 8 and all(isinstance(key, str) and _is_plain(inner, depth + 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return depth < 8 and all(_is_plain(inner, depth + 1) for inner in value)
    return isinstance(value, _PLAIN)


def _refuse_none(value: Any, name: str) -> NoReturn:
    """Say what a file without a state dict holds instead."""
    inner = [value, *value.values()] if isinstance(value, Mapping) else [value]
    whole = next((found for found in inner if isinstance(found, InertObject)), None)
    if whole is not None:
        refuse_code(name, f"it holds an object of {whole.module}.{whole.name} and no state dict")
    if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        key = next(iter(value))
        refuse("not-dense", f"{name} must hold dense tensors only, got {type(value[key]).__name__} at {key!r}")
    got = "Tensor" if _is_tensor(value) else type(value).__name__.lstrip("_")
    refuse("no-state-dict", f"{name} must hold a state dict (name -> tensor), got {got}")
