"""What a torch checkpoint's pickle says, found out without torch and without running what it names.

`torch.load(weights_only=True)` runs no code, but it trusts sizes: a storage that is longer than its record, a tensor
of stride 0 that is a terabyte once it is copied, indices of sparse tensors. Here every name becomes an inert record,
so that all of it can be checked against the bytes that are there.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import torch

from ..io.dtypes import STORED_DTYPES
from .limits import MAX_DIMENSIONS, MAX_KEY_PARTS, MAX_PICKLE_STEPS, Limits, refuse, refuse_errors, refuse_weights
from .magic import PICKLE
from .pickle_keys import KeyParts

_DTYPES: dict[str, torch.dtype] = {row.name: getattr(torch, row.name) for row in STORED_DTYPES}
_STORAGES = {row.storage: _DTYPES[row.name] for row in STORED_DTYPES if row.storage}
_REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_IN_TORCH = {*_STORAGES, *_DTYPES, "Size", "device"}
# What a pickle may name, by module; most of it becomes a refusal that says what was found.
_KNOWN = {
    "torch": _IN_TORCH,
    "torch.cuda": _IN_TORCH,
    "torch.storage": {"UntypedStorage"},
    "torch.nn.parameter": {"Parameter"},
    "torch.serialization": {"_get_layout"},
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch._utils": {
        *_REBUILD,
        *("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_sparse_tensor", "_rebuild_qtensor"),
        *("_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor", "_rebuild_wrapper_subclass"),
        *("_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor", "_rebuild_from_type_v2"),
    },
}

#: Dtype and shape of each tensor.
Described = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def looks_like_pickle(head: bytes) -> bool:
    """Whether the first bytes are those of a pickle of protocol 2 or later."""
    return head.startswith(PICKLE) and len(head) > 1 and head[1] <= pickle.HIGHEST_PROTOCOL


class _Inert:
    """Stands for whatever the pickle makes by calling ``name``; nothing is called."""

    name = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """A tensor's state is a storage and a shape, which torch would use unchecked."""
        raise pickle.UnpicklingError(f"{self.name} must have no state, got {type(state).__name__}")


class _Dict(dict[Any, Any]):
    """An OrderedDict or Counter."""

    def __init__(self, items: Any = ()) -> None:
        # Python 2 wrote a list of pairs, whose keys `KeyParts` does not see.
        if not isinstance(items, Mapping) and not all(isinstance(key, (str, bytes)) for key, _ in items):
            raise pickle.UnpicklingError("pairs must be of a text and a value")
        super().__init__(items)

    def __setstate__(self, state: Any) -> None:
        """State dicts carry ``_metadata``, which does not matter here."""


@dataclass(frozen=True)
class Storage:
    """One storage that the pickle refers to."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.dtype.itemsize


class _Reader(pickle.Unpickler):
    """Turns every global into an inert class, and refuses those that are no part of tensors."""

    def __init__(self, handle: BinaryIO, name: str) -> None:
        super().__init__(handle)
        self.name = name
        self.storages: dict[str, Storage] = {}
        self.named: dict[str, type[_Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("collections", "OrderedDict"), ("collections", "Counter")):
            return _Dict
        if name not in _KNOWN.get(module, ()):
            refuse_code(self.name, f"it names {module}.{name}")
        # One class a name: a pickle can name a million.
        return self.named.setdefault(name, type("_Named", (_Inert,), {"name": name}))

    def persistent_load(self, pid: Any) -> Any:
        # Never shown: what is short in a pickle may have terabytes of text.
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            refuse_weights(self.name, "a reference to something else than a storage")
        kind, key, count = pid[1], pid[2], pid[4]
        type_name = getattr(kind, "name", None)
        dtype = torch.uint8 if type_name == "UntypedStorage" else _STORAGES.get(type_name or "")
        if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
            refuse_weights(self.name, "a storage without kind, key or number of values")
        if len(pid) == 6 and pid[5] is not None:
            refuse_weights(self.name, "a view of a storage, as very old versions of torch wrote it")
        found = Storage(key, dtype, count)
        if self.storages.setdefault(key, found) != found:
            refuse_weights(self.name, f"storage {key!r} in two forms")
        return found


def refuse_code(name: str, why: str) -> NoReturn:
    """Refuse a pickle that `torch.load` would run code for."""
    refuse(
        "pickle",
        f"{name} must be safetensors or a state dict that torch.load(weights_only=True) reads, got a file that needs "
        f"code to run or is damaged ({why}); if you trust it, load it and use save_weights",
    )


def read_pickle(handle: io.BytesIO, name: str) -> tuple[Any, dict[str, Storage]]:
    """Read one pickle as inert records.

    Args:
        handle: in memory, at the pickle's beginning; left at its end.
        name: what messages call the file.

    Returns:
        What it holds, and the storages that it refers to.

    Raises:
        ModelRefusedError: damaged, too long, or it names anything that is no part of tensors.
    """
    start = handle.tell()
    keys = KeyParts()
    with refuse_errors(f"{name} must be a file of weights without damage in its pickle"):
        for steps, (code, argument, _) in enumerate(pickletools.genops(handle)):
            # The C unpickler makes room for the largest place in the memo at once.
            if steps > MAX_PICKLE_STEPS or (code.name == "LONG_BINPUT" and int(argument or 0) > MAX_PICKLE_STEPS):
                refuse("too-large", f"{name} must have a pickle of at most {MAX_PICKLE_STEPS:,} steps, got more")
            if code.name in ("PUT", "GET", "INT", "LONG", "LONG4", "EXT1", "EXT2", "EXT4", "PERSID", "BINBYTES8"):
                refuse_weights(name, f"a pickle with {code.name}", "pickle")
            keys.step(code, argument)
            if keys.count > MAX_KEY_PARTS:
                refuse("too-large", f"{name} must have keys of at most {MAX_KEY_PARTS:,} parts in its pickle, got more")
        end = handle.tell()
        handle.seek(start)
        reader = _Reader(handle, name)
        value = reader.load()
    handle.seek(end)
    return value, reader.storages


def state_dict_of(value: Any, name: str) -> Mapping[str, Any]:
    """The state dict of a checkpoint: itself, or what is under ``"state_dict"``.

    Raises:
        ModelRefusedError: there is none.
    """
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        got = "Tensor" if isinstance(value, _Inert) and value.name in _REBUILD else type(value).__name__
        refuse("no-state-dict", f"{name} must hold a state dict (name -> tensor), got {got}")
    return value


def check_tensors(value: Any, name: str, limits: Limits, file_bytes: int) -> Described:
    """Check every tensor of the state dict against the storage that it lies in.

    Args:
        value: of `read_pickle`.
        name: what messages call the file.
        limits: on number and sizes.
        file_bytes: of the whole file.

    Returns:
        Dtype and shape of each.

    Raises:
        ModelRefusedError: an entry that is no dense tensor inside its storage, or a limit.
    """
    state = state_dict_of(value, name)
    limits.check_count(name, len(state))
    total = 0
    described: Described = {}
    for key, entry in state.items():
        dtype, shape, stride, offset, storage = _tensor(entry, key, name)
        count = math.prod(shape)
        size = count * dtype.itemsize
        if size > storage.size:
            found = f"{count:,} values at {key!r} out of {storage.count:,} stored"
            refuse("expanded", f"{name} must store every value, got {found}")
        total += size
        limits.check_tensor(name, key, size, total)
        # Tied tensors share a storage, but a thousand views of one would be a thousand copies in a model.
        limits.check_expansion(name, key, total, file_bytes)
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True)) if count else -1
        if (last + 1) * dtype.itemsize > storage.size:
            refuse("malformed", f"{name} must hold tensors inside their storage, got {key!r} beyond its end")
        described[key] = (dtype, shape)
    return described


def _tensor(entry: Any, key: str, name: str) -> tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int, Storage]:
    while isinstance(entry, _Inert) and entry.name in ("_rebuild_parameter", "Parameter") and entry.arguments:
        entry = entry.arguments[0]
    what = entry.name if isinstance(entry, _Inert) else type(entry).__name__
    if what == "_rebuild_sparse_tensor":
        refuse("sparse", f"{name} must hold dense tensors only, got a sparse one at {key!r}")
    if what not in _REBUILD:
        refuse("not-dense", f"{name} must hold dense tensors only, got {what} at {key!r}")
    arguments = entry.arguments
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        refuse("malformed", f"{name} must hold tensors with a storage, got none at {key!r}")
    storage, offset, shape, stride = arguments[:4]
    dtype = storage.dtype
    if what == "_rebuild_tensor_v3":
        dtype = _DTYPES.get(getattr(arguments[6] if len(arguments) > 6 else None, "name", ""))
    shape = shape.arguments[0] if isinstance(shape, _Inert) and shape.arguments else shape
    sound = all(isinstance(part, tuple) and len(part) <= MAX_DIMENSIONS for part in (shape, stride))
    if not sound or len(shape) != len(stride) or not all(map(_is_size, (*shape, *stride, offset))) or dtype is None:
        refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got another at {key!r}")
    return dtype, shape, stride, offset, storage


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
