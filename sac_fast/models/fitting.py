"""Which state dict of a file fits a module, and under which names."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ModelError, ModelRefusedError, describe_error
from ..formats.limits import refuse
from ..formats.weights.states import StoredState
from .state_views import StateDict, StateView, part_of, state_views

_SHOWN = 5
# Of a module's names those that a state must share with it before loading is tried.
_SHARED = 0.5
# Kinds that a module expects and a file may have: whole numbers for floats would be quantised weights.
_CONVERTED = {("float", "float"), ("integer", "integer"), ("complex", "complex"), ("integer", "float")}


class ExpectedState:
    """What a module expects of a state dict.

    Args:
        module: on any device; never changed.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.values: Mapping[str, Any] = module.state_dict()
        first: dict[int, str] = {}
        kept = module.state_dict(keep_vars=True).items()
        #: The first name of each tensor that has several.
        self.ties = {key: first.setdefault(id(value), key) for key, value in kept}

    def with_ties(self, tensors: StateDict) -> StateDict:
        """The tensors, and those that stand under another name of the same parameter."""
        by_first = {self.ties[key]: key for key in tensors if key in self.ties}
        more = {key: by_first[first] for key, first in self.ties.items() if first in by_first and key not in tensors}
        return {**tensors, **{key: tensors[old] for key, old in more.items()}}

    def loads(self, view: StateView, tensors: StateDict) -> bool:
        """Whether `load_state_dict` takes the tensors, tried on the meta device."""
        state = view.state_dict({key: value.to("meta") for key, value in tensors.items()})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                without_values(self.module).load_state_dict(state)
        except Exception:  # a module's own hooks may raise anything
            return False
        return True


@dataclass(frozen=True)
class Fit:
    """A state of a file that fits a module.

    Attributes:
        key: where it lies in the file.
        view: under the module's names.
    """

    key: str
    view: StateView

    def provenance(self) -> dict[str, Any]:
        """What was taken and how, as JSON can hold it; empty for a plain state dict."""
        view = self.view
        said = {
            "key": self.key,
            "prefix": view.prefix,
            "undone": list(view.undone),
            "left_out": list(view.state.others),
        }
        return {name: value for name, value in said.items() if value}

    def notes(self) -> tuple[str, ...]:
        """`provenance` as a line; none for a plain state dict."""
        view = self.view
        said = [
            *([f"weights under {self.key!r}"] if self.key else []),
            *([f"prefix {view.prefix!r} removed"] if view.prefix else []),
            *([f"{' and '.join(view.undone)} undone"] if view.undone else []),
            *([f"left out: {', '.join(view.state.others[:_SHOWN])}"] if view.state.others else []),
        ]
        return (", ".join(said),) if said else ()


@dataclass(frozen=True)
class Misfit:
    """Why no state of a file fits a module; ``distance`` counts names that do not."""

    distance: int
    message: str


def views_of(states: Mapping[str, StoredState]) -> dict[str, list[StateView]]:
    """The views of every state, which `fit_states` tries."""
    return {key: state_views(state) for key, state in states.items()}


def fit_states(expected: ExpectedState, views: Mapping[str, Sequence[StateView]]) -> list[Fit] | Misfit:
    """The states that fit, each under the first names by which it does; else why the nearest does not."""
    fits: list[Fit] = []
    nearest: Misfit | None = None
    for key, some in views.items():
        found = _fit(expected, some)
        if isinstance(found, StateView):
            fits.append(Fit(key, found))
        elif nearest is None or found.distance < nearest.distance:
            nearest = found
    return fits or nearest or Misfit(len(expected.values), "there is no state dict")


def choose_fit(fits: Sequence[Fit], name: str) -> Fit:
    """The only one, or one of several with the same values.

    Raises:
        ModelRefusedError: several fit, and differ.
    """
    first, *others = fits
    values = first.view.read() if others else {}
    if any(not _equal(values, other.view.read()) for other in others):
        keys = " and ".join(repr(fit.key) for fit in fits[:_SHOWN])
        refuse("which-weights", f"{name} must hold one state dict that fits, got {keys}; name one (--weights-key)")
    return first


def check_digests(states: Mapping[str, StoredState]) -> None:
    """Refuse a damaged file before it is said that it fits nothing.

    Raises:
        ModelRefusedError: the values do not have the hash that the file states.
    """
    for state in states.values():
        if state.digest is not None:
            state_views(state)[0].read()


def states_under(states: Mapping[str, StoredState], key: str | None, name: str) -> Mapping[str, StoredState]:
    """All states, or the one under a key; a key may go on into the names of a state.

    Raises:
        ModelRefusedError: nothing lies there.
    """
    if key is None:
        return states
    if key in states:
        return {key: states[key]}
    for start, state in states.items():
        inside = key.removeprefix(f"{start}." if start else "")
        part = part_of(state, inside) if inside != key or not start else None
        if part is not None:
            return {key: part}
    known = ", ".join(repr(found) if found else "one without a key" for found in [*states][:_SHOWN])
    refuse("which-weights", f"{name} must hold a state dict under {key!r} (--weights-key), got {known}")


def fit_one(expected: ExpectedState, states: Mapping[str, StoredState], name: str, what: str) -> Fit:
    """The state that fits a module.

    Args:
        expected: of the module.
        states: of the file.
        name: what messages call the file.
        what: what they call the module.

    Raises:
        ModelError: none fits; the first few differences are listed.
        ModelRefusedError: several fit and differ, or the file is damaged.
    """
    found = fit_states(expected, views_of(states))
    if isinstance(found, Misfit):
        check_digests(states)
        raise ModelError(f"weights {name} do not fit {what}: {found.message}")
    return choose_fit(found, name)


def _equal(a: StateDict, b: StateDict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items())


def _fit(expected: ExpectedState, views: Sequence[StateView]) -> StateView | Misfit:
    wanted = expected.values.keys()
    shared = [len(wanted & view.sources.keys()) for view in views]
    for view, count in zip(views, shared, strict=True):
        if count and not misfits(expected.values, _completed(expected, view)):
            return view
    best = max(range(len(views)), key=lambda index: shared[index])
    view = views[best]
    tensors = _completed(expected, view)
    problems = misfits(expected.values, tensors)
    fits = shared[best] >= _SHARED * len(wanted) and _only_by_name(expected.values, tensors)
    if fits and expected.loads(view, {key: value for key, value in tensors.items() if isinstance(value, torch.Tensor)}):
        return view
    distance = sum(len(items) for items in problems.values())
    return Misfit(distance, "; ".join(_first(what, items) for what, items in problems.items()))


def _completed(expected: ExpectedState, view: StateView) -> dict[str, Any]:
    return {**expected.with_ties(view.described()), **view.extra}


def _only_by_name(expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Whether no tensor of a common name has another shape, but for the numbers that very old versions kept as (1,)."""
    pairs = ((expected[key], got[key]) for key in expected.keys() & got.keys())
    return not any(_differ(want, have) and getattr(want, "ndim", 0) for want, have in pairs)


def misfits(expected: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, list[str]]:
    """What differs between the tensors that a module expects and those that there are, by the kind of difference."""
    wrong = []
    for key in expected.keys() & got.keys():
        want, have = expected[key], got[key]
        if _differ(want, have):
            wrong.append(f"{key} (expected {_describe_tensor(want)}, got {_describe_tensor(have)})")
    problems = {
        "missing": [f"{key} {_describe_tensor(expected[key])}" for key in expected.keys() - got.keys()],
        "unexpected": [f"{key} {_describe_tensor(got[key])}" for key in got.keys() - expected.keys()],
        "mismatched": wrong,
    }
    return {what: sorted(items) for what, items in problems.items() if items}


def _differ(want: Any, have: Any) -> bool:
    if not isinstance(want, torch.Tensor) or nn.parameter.is_lazy(want):
        return False  # load_state_dict decides
    if not isinstance(have, torch.Tensor) or want.shape != have.shape:
        return True
    # Halving a whole state dict makes floats of tables of places too; `fill_module` checks that they are whole.
    return (_kind(want), _kind(have)) not in _CONVERTED


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "float" if tensor.is_floating_point() else "integer"


def _describe_tensor(value: Any) -> str:
    if not isinstance(value, torch.Tensor) or nn.parameter.is_lazy(value):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _first(what: str, items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{len(items)} {what}: {', '.join(items[:_SHOWN])}{more}"


def without_values(module: nn.Module) -> nn.Module:
    """A copy of a module with its tensors on the meta device."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if not nn.parameter.is_lazy(tensor):
            meta = tensor.detach().to("meta")
            memo[id(tensor)] = nn.Parameter(meta, False) if isinstance(tensor, nn.Parameter) else meta
    return copy.deepcopy(module, memo)


def _check_whole(expected: Mapping[str, Any], tensors: StateDict) -> None:
    """Refuse fractions in tables of whole numbers; single counters may have been averaged."""
    for key in expected.keys() & tensors.keys():
        want, have = expected[key], tensors[key]
        is_table = isinstance(want, torch.Tensor) and have.ndim and _kind(want) == "integer"
        if is_table and have.is_floating_point() and not bool((have == have.round()).all()):
            raise ValueError(f"whole numbers at {key}, got fractions")


def fill_module(module: nn.Module, fit: Fit, name: str) -> None:
    """Give a module the weights that fit it.

    Args:
        module: changed in place.
        fit: of `fit_states` for a module like it.
        name: what messages call the file.

    Raises:
        ModelRefusedError: the file is damaged.
        ModelError: they do not fit after all.
    """
    try:
        expected = ExpectedState(module)
        tensors = expected.with_ties(fit.view.read())
        _check_whole(expected.values, tensors)
    except ModelRefusedError:
        raise
    except ValueError as error:
        raise ModelError(f"weights {name} do not fit {type(module).__name__}: {error}") from error
    try:
        module.load_state_dict(fit.view.state_dict(tensors))
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelError(f"weights {name} do not fit {type(module).__name__}: {describe_error(error)}") from error
