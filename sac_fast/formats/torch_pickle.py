"""What a torch checkpoint's pickle says, found out without torch and without running what it names.

`torch.load(weights_only=True)` runs no code, but it trusts sizes: a storage that is longer than its record, a tensor
of stride 0 that is a terabyte once it is copied, indices of sparse tensors. It reads protocol 2 only, and refuses a
file for a path that lies beside its weights. Here every name becomes an inert record, so that all of it can be checked
against the bytes that are there, and what is no part of tensors is left where it is.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Self

from ..io.dtypes import STORED_DTYPES
from ..io.lazy import LazyModule
from .limits import MAX_KEY_PARTS, MAX_PICKLE_CLASSES, MAX_PICKLE_STEPS, refuse, refuse_errors, refuse_weights
from .magic import PICKLE
from .pickle_keys import KeyParts
from .pickle_names import is_class_of_data

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

_DTYPES = {row.name for row in STORED_DTYPES}
# The last three: of quantised tensors, whose numbers mean nothing without their scales.
_STORAGES = {
    **{row.storage: row.name for row in STORED_DTYPES if row.storage},
    **{"UntypedStorage": "uint8", "QInt8Storage": "int8", "QUInt8Storage": "uint8", "QInt32Storage": "int32"},
}
REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_LAYOUTS = {"strided", "sparse_coo", "sparse_csr", "channels_last", "contiguous_format", "preserve_format"}
_SCHEMES = {"per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "qint8", "quint8", "qint32"}
_IN_TORCH = {*_STORAGES, *_DTYPES, *_LAYOUTS, *_SCHEMES, "Size", "device"}
# What a pickle may name, by module; most of it becomes a refusal that says what was found.
_KNOWN = {
    "torch": _IN_TORCH,
    "torch.cuda": _IN_TORCH,
    "torch.storage": {"UntypedStorage"},
    "torch.nn.parameter": {"Parameter"},
    "torch.serialization": {"_get_layout"},
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch._utils": {
        *REBUILD,
        *("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_sparse_tensor", "_rebuild_qtensor"),
        *("_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor", "_rebuild_wrapper_subclass"),
        *("_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor", "_rebuild_from_type_v2"),
    },
}


def dtype_of(name: str) -> torch.dtype | None:
    """The dtype of a name; None: a file stores no such values."""
    return getattr(torch, name) if name in _DTYPES else None


def looks_like_pickle(head: bytes) -> bool:
    """Whether the first bytes are those of a pickle of protocol 2 or later."""
    return head.startswith(PICKLE) and len(head) > 1 and head[1] <= pickle.HIGHEST_PROTOCOL


class Inert:
    """Stands for whatever the pickle makes by calling ``name``; nothing is called."""

    __slots__ = ("arguments",)
    name = module = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """A tensor's state is a storage and a shape, which torch would use unchecked."""
        raise pickle.UnpicklingError(f"{self.name} must have no state, got {type(state).__name__}")


class InertObject(Inert):
    """Stands for an object that is no tensor's part: its arguments, state and items are kept as data."""

    __slots__ = ("items", "state")

    def __new__(cls, *arguments: Any, **named: Any) -> Self:  # what NEWOBJ calls, and nothing after it
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = None
        made.items = None  # most have none, and a million lists take as much memory as the rest
        return made

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.state: Any
        self.items: list[tuple[Any, Any]] | None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *arguments: Any) -> InertObject:  # of what a call of getattr stands for
        return InertObject(*arguments)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items = self.items or []
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        """What a list does."""
        self[len(self.items or ())] = value

    def extend(self, values: Iterable[Any]) -> None:
        """What a list does."""
        for value in values:
            self.append(value)


class _Dict(dict[Any, Any]):
    """An OrderedDict, Counter or defaultdict; ``versions`` of the modules of a state dict."""

    versions: Mapping[str, int] | None = None

    def __init__(self, items: Any = ()) -> None:
        # Python 2 wrote a list of pairs, whose keys `KeyParts` does not see.
        if not isinstance(items, Mapping) and not all(isinstance(key, (str, bytes)) for key, _ in items):
            raise pickle.UnpicklingError("pairs must be of a text and a value")
        super().__init__(items)

    def __setstate__(self, state: Any) -> None:
        """State dicts carry ``_metadata``: the version of each module, by which old ones are brought up to date."""
        said = state.get("_metadata") if isinstance(state, Mapping) else None
        if isinstance(said, Mapping):
            entries = ((key, value.get("version")) for key, value in said.items() if isinstance(value, Mapping))
            self.versions = {key: found for key, found in entries if isinstance(key, str) and type(found) is int}


class _DefaultDict(_Dict):
    """What makes its missing values is not kept."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


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

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"a storage must have no state, got {type(state).__name__}")


_MAPPINGS = {"OrderedDict": _Dict, "Counter": _Dict, "defaultdict": _DefaultDict}


class _Reader(pickle.Unpickler):
    """Turns every global into an inert class; those that would act on a machine are refused, or become objects too."""

    def __init__(self, handle: BinaryIO, name: str, any_class: bool) -> None:
        super().__init__(handle)
        self.name = name
        self.any_class = any_class
        self.storages: dict[str, Storage] = {}
        self.named: dict[tuple[str, str], type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "collections" and name in _MAPPINGS:
            return _MAPPINGS[name]
        known = name in _KNOWN.get(module, ())
        if not known and not self.any_class and not is_class_of_data(module, name):
            refuse_code(self.name, f"it names {module}.{name}")
        # One class a name: a pickle can name a million.
        if (module, name) not in self.named:
            if len(self.named) >= MAX_PICKLE_CLASSES:
                refuse("too-large", f"{self.name} must name at most {MAX_PICKLE_CLASSES:,} classes, got more")
            kind = Inert if known else InertObject
            self.named[module, name] = type("_Named", (kind,), {"name": name, "module": module, "__slots__": ()})
        return self.named[module, name]

    def persistent_load(self, pid: Any) -> Any:
        # Never shown: what is short in a pickle may have terabytes of text.
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            refuse_weights(self.name, "a reference to something else than a storage")
        kind, key, count = pid[1], pid[2], pid[4]
        type_name = getattr(kind, "name", None)
        dtype = _STORAGES.get(type_name or "")
        if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
            refuse_weights(self.name, "a storage without kind, key or number of values")
        if len(pid) == 6 and pid[5] is not None:
            refuse_weights(self.name, "a view of a storage, as very old versions of torch wrote it")
        found = Storage(key, getattr(torch, dtype), count)
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


def state_versions(state: Mapping[str, Any]) -> Mapping[str, int]:
    """Versions of a state dict's modules, by their names; none where its writer stated none."""
    return (state.versions or {}) if isinstance(state, _Dict) else {}


def read_pickle(handle: io.BytesIO, name: str, *, any_class: bool = False) -> tuple[Any, dict[str, Storage]]:
    """Read one pickle as inert records.

    Args:
        handle: in memory, at the pickle's beginning; left at its end.
        name: what messages call the file.
        any_class: take whatever it names as an `InertObject`, and refuse nothing by its name.

    Returns:
        What it holds, and the storages that it refers to.

    Raises:
        ModelRefusedError: damaged, too long, or it names what `is_class_of_data` does not know and ``any_class`` is not
            given.
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
        reader = _Reader(handle, name, any_class)
        value = reader.load()
    handle.seek(end)
    return value, reader.storages
