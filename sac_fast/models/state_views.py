"""A state dict under the names that a module may have for it: without wrappers' prefixes, parametrizations undone.

Source: torch.nn.utils.prune, torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations
and torch.optim.swa_utils.AveragedModel for the names under which they keep tensors.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ..formats.limits import refuse
from ..formats.weights.states import StoredState
from .state_hash import weights_hash

StateDict = dict[str, torch.Tensor]

# Parts of a name that compiling, sharding and checkpointing modules add, wherever a module was wrapped.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTER = "n_averaged"  # of AveragedModel, beside the averages
_MAX_PREFIXES = 8
_MIN_COSINE = 0.5


@dataclass(frozen=True)
class Source:
    """How a tensor is made: of which of the file's, by what."""

    names: tuple[str, ...]
    undo: str = ""


@dataclass(frozen=True)
class StateView:
    """The tensors of a stored state under other names.

    Attributes:
        state: what the file holds.
        sources: by the new name.
        extra: modules' extra state by the new name.
        versions: of modules by their new names.
        prefix: what was taken from the beginning of every name.
        undone: parametrizations that were undone.
    """

    state: StoredState
    sources: Mapping[str, Source]
    extra: Mapping[str, Any]
    versions: Mapping[str, int]
    prefix: str = ""
    undone: tuple[str, ...] = ()

    def described(self) -> StateDict:
        """Every tensor on the meta device; its first source has its dtype and shape."""
        known = self.state.described
        return {key: known[source.names[0]] for key, source in self.sources.items()}

    def read(self) -> StateDict:
        """Every tensor with its values.

        Raises:
            ModelRefusedError: the values do not have the hash that the file states.
            ValueError: parts of a parametrization that do not go together.
        """
        state = self.state
        stored = {key: state.read(key) for key in state.arrays}
        if state.digest is not None and state.digest != (found := weights_hash(stored)):
            wanted = f"its weights must have the hash {state.digest}"
            refuse("damaged", f"{state.name} is damaged: {wanted}, got {found}")
        return {key: _made(stored, source) for key, source in self.sources.items()}

    def state_dict(self, tensors: StateDict) -> OrderedDict[str, Any]:
        """What `load_state_dict` takes: tensors, extra state, and the versions of modules."""
        made: OrderedDict[str, Any] = OrderedDict({**tensors, **self.extra})
        made._metadata = {key: {"version": version} for key, version in self.versions.items()}  # type: ignore[attr-defined]
        return made


def state_views(state: StoredState) -> list[StateView]:
    """The state as it is, then without wrappers and prefixes, then with parametrizations undone."""
    names = {key: key for key in (*state.arrays, *state.extra)} | dict(state.aliases)
    views: list[StateView] = []
    for prefix, renamed in _renamings(list(names)):
        sources = {new: Source((names[old],)) for new, old in renamed.items() if names[old] in state.arrays}
        extra = {new: state.extra[old] for new, old in renamed.items() if old in state.extra}
        modules = dict(_without(prefix, list(state.versions)))
        versions = {new: state.versions[old] for new, old in modules.items()}
        views.append(StateView(state, sources, extra, versions, prefix))
        undone, how = _undo(sources, state)
        if how:
            views.append(StateView(state, undone, extra, versions, prefix, how))
    return views


def part_of(state: StoredState, prefix: str) -> StoredState | None:
    """The tensors of one part of a state whose names begin with ``prefix`` and a dot; None where there are none."""
    start = f"{prefix}."

    def inside(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key[len(start) :]: value for key, value in values.items() if key.startswith(start)}

    aliases = {key: kept[len(start) :] for key, kept in inside(state.aliases).items() if kept.startswith(start)}
    arrays = inside(state.arrays)
    if not arrays:
        return None
    return StoredState(state.name, arrays, (), inside(state.extra), inside(state.versions), aliases)


def _renamings(keys: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """New names of all keys, with the prefix that was taken away."""
    yield "", {key: key for key in keys}
    cleaned = dict(_without("", keys))
    if len(cleaned) != sum(not _is_counter(key) for key in keys):
        return  # two names that differ by a wrapper alone
    if list(cleaned) != list(keys):
        yield "", cleaned
    prefix = ""
    for _ in range(_MAX_PREFIXES):
        first = {key.partition(".")[0] for key in cleaned}
        if len(first) != 1 or not all("." in key for key in cleaned):
            break
        part = f"{first.pop()}."
        prefix += part
        cleaned = {key[len(part) :]: old for key, old in cleaned.items()}
        yield prefix, cleaned


def _without(prefix: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """New and old names of what has the prefix once wrappers are left out."""
    for key in keys:
        if _is_counter(key):
            continue
        new = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        if f"{new}.".startswith(prefix):
            yield new[len(prefix) :], key


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == _COUNTER


# Names that parametrizations give to the tensors of "NAME", and which of them hold what.
_OLD = re.compile(r"(.*)_(orig|g)")
_NEW = re.compile(r"(.*?)parametrizations\.([^.]+)\.(original0|original)")


def _undo(sources: Mapping[str, Source], state: StoredState) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Sources with the parametrized tensors under their own names, and what was undone."""
    found = dict(sources)
    undone: list[str] = []
    for key in sources:
        parts, new, how = _parametrized(key, sources)
        # What is more of the same parametrization is of one that is not known here.
        if not how or new in sources or any(name.startswith(f"{_folder(key)}.") for name in set(found) - set(parts)):
            continue
        found[new] = Source(tuple(sources[part].names[0] for part in parts), how)
        for part in parts:
            found.pop(part, None)
        undone.append(how)
    return found, tuple(dict.fromkeys(undone))


def _folder(key: str) -> str:
    """Of a parametrization's tensor the name under which all of them lie; no name else."""
    named = _NEW.fullmatch(key)
    return f"{named[1]}parametrizations.{named[2]}" if named else f"{key}."


def _parametrized(key: str, names: Mapping[str, Any]) -> tuple[tuple[str, ...], str, str]:
    """The tensors that one is made of, the tensor's name, and how it is made; "" where ``key`` begins none."""
    candidates: list[tuple[tuple[str, ...], str, str]] = []
    if old := _OLD.fullmatch(key):
        base = old[1]
        candidates = [
            ((f"{base}_orig", f"{base}_mask"), base, "pruning"),
            ((f"{base}_orig", f"{base}_u", f"{base}_v"), base, "spectral norm"),
            ((f"{base}_v", f"{base}_g"), base, "weight norm"),
        ]
    elif new := _NEW.fullmatch(key):
        start, base = f"{new[1]}parametrizations.{new[2]}.", f"{new[1]}{new[2]}"
        candidates = [
            ((f"{start}original1", f"{start}original0"), base, "weight norm"),
            ((f"{start}original", f"{start}0._u", f"{start}0._v"), base, "spectral norm"),
        ]
    return next(
        (found for found in candidates if key in found[0] and all(name in names for name in found[0])), ((), "", "")
    )


def _made(stored: StateDict, source: Source) -> torch.Tensor:
    values = [stored[name] for name in source.names]
    if not source.undo:
        return values[0]
    try:
        return _UNDO[source.undo](*values)
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"parts of a {source.undo} that do not go together: {error}") from error


def _unpruned(original: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return mask.to(original.dtype) * original


def _weight_normed(direction: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """``v · g / |v|``, the norm over all axes but the one along which there are several magnitudes."""
    along = [axis for axis, side in enumerate(magnitude.shape) if side > 1]
    if not along:  # a single magnitude: of the whole, or along an axis of one
        along = [axis for axis, side in enumerate(direction.shape) if side == 1][: magnitude.ndim]
    return torch._weight_norm(direction, magnitude, along[0] if along else -1)


def _spectral_normed(original: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """``W / (uᵀ W v)``, as in eval mode; the rows of W lie along its first axis, of transposed kernels the second."""
    if original.ndim == 1:
        return F.normalize(original, dim=0)
    axes = [0, 1] if original.ndim > 2 else [0]
    images = {axis: torch.mv(rows, v) for axis in axes if (rows := _rows(original, axis)).shape == (len(u), len(v))}
    if not images:
        raise ValueError("vectors of a spectral norm that do not fit their weight")
    # A kernel with as many channels in as out: the power iteration has left u along W v.
    cosines = {axis: float(F.cosine_similarity(u, image, dim=0)) for axis, image in images.items()}
    axis = max(cosines, key=lambda axis: cosines[axis])
    if len(images) > 1 and cosines[axis] < _MIN_COSINE:
        raise ValueError("a spectral norm of which it is not known along which axis it is")
    return original / torch.dot(u, images[axis])


def _rows(weight: torch.Tensor, axis: int) -> torch.Tensor:
    return weight.movedim(axis, 0).flatten(1)


_UNDO: dict[str, Callable[..., torch.Tensor]] = {
    "pruning": _unpruned,
    "weight norm": _weight_normed,
    "spectral norm": _spectral_normed,
}
