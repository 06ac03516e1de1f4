"""Architectures by name: ``package.module:callable``, ``timm:NAME``, ``hf:``; or the one of several that fits."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ModelError, describe_error
from ..formats.limits import Limits, refuse
from ..formats.weights.states import StoredState
from .entry import ModelEntry, split_architecture
from .fitting import ExpectedState, Fit, Misfit, check_digests, choose_fit, fit_states, views_of, without_values
from .image_classifiers import PREFIX, build_classifier, read_classifier, under_own_names

_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_TIMM = "timm:"
_NEVER = 1 << 62  # how far from fitting what cannot be built is
_PROBLEM = 160  # characters that are said of an architecture which is not the nearest one


def import_callable(spec: str) -> Callable[..., Any]:
    """Import what ``"package.module:callable"`` names; the module's code is run.

    Raises:
        ModelError: the text is no such name, or names nothing that can be called.
    """
    if not _SPEC.fullmatch(spec):
        raise ModelError(f'model must be named as "package.module:callable", got {spec!r}')
    module_name, _, path = spec.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may raise anything
        raise ModelError(f"cannot import {module_name!r} of {spec!r}: {describe_error(error)}") from error
    for part in path.split("."):
        if not hasattr(target, part):
            raise ModelError(f"{spec!r} must name a callable, but {module_name!r} has no {path!r}")
        target = getattr(target, part)
        # Through what a module has imported, every name of ours would lead to os.system.
        if inspect.ismodule(target):
            found = f"the module {target.__name__!r} on the way: modules come before the colon"
            raise ModelError(f"{spec!r} must name a callable of {module_name!r} itself, got {found}")
    if not callable(target):
        raise ModelError(f"{spec!r} must name a callable, got {type(target).__name__}")
    return target  # type: ignore[no-any-return]


def _call(spec: str, target: Callable[..., Any], kwargs: Mapping[str, Any]) -> nn.Module:
    try:
        model = target(**kwargs)
    except Exception as error:  # the architecture's own code may raise anything
        raise ModelError(f"{spec!r} failed with arguments {dict(kwargs)}: {describe_error(error)}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec!r} must return an nn.Module, got {type(model).__name__}")
    return model


def build_architecture(spec: str, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with the weights that its callable gives it.

    Importing a module runs its code: name only modules you trust.

    Args:
        spec: ``"package.module:callable"``, ``"timm:NAME"`` (extra ``timm``), or ``"hf:KIND"`` (extra
            ``transformers``; `sac_fast.models.image_classifiers`), without pretrained weights.
        kwargs: keyword arguments of the callable, or of ``timm.create_model``.

    Returns:
        The model.

    Raises:
        ModelRefusedError: timm is not installed.
        ModelError: the spec names nothing that gives an `nn.Module`.
    """
    if is_described(spec):
        return build_classifier(spec, kwargs or {})
    if not spec.startswith(_TIMM):
        return _call(spec, import_callable(spec), kwargs or {})
    try:
        import timm
    except ImportError as error:
        refuse("missing-extra", f"architecture {spec!r} needs timm: pip install 'sac-fast[timm]' ({error})", error)
    except Exception as error:  # a torchvision that does not fit torch raises RuntimeError and others
        raise ModelError(f"architecture {spec!r} needs timm, whose import failed: {describe_error(error)}") from error
    name = spec[len(_TIMM) :]
    # Never downloaded, whatever kwargs say: only the file's weights count.
    arguments = {**dict(kwargs or {}), "pretrained": False}
    # timm would unpickle that file without weights_only, which runs its code.
    if arguments.get("checkpoint_path"):
        found = f"{arguments['checkpoint_path']!r}: the weights are those of the model's own file"
        raise ModelError(f"arguments of {spec!r} must not hold checkpoint_path, got {found}")
    if "/" in name or ":" in name:
        raise ModelError(f'architecture must be named as "timm:NAME" without a hub in it, got {spec!r}')
    return _call(spec, functools.partial(timm.create_model, name), arguments)


@dataclass(frozen=True)
class Inferred:
    """An architecture that fits the weights of a file, and which of them.

    Attributes:
        spec, kwargs: as it was named.
        fit: the weights.
        built: spec and arguments of which it is built; those that config.json describes, where that was named.
    """

    spec: str
    kwargs: dict[str, Any]
    fit: Fit
    built: tuple[str, dict[str, Any]]


def is_described(spec: str) -> bool:
    """Whether an architecture is of `sac_fast.models.image_classifiers`: its values may be those of a configuration."""
    return spec.startswith(PREFIX)


def read_described(
    spec: str, kwargs: Mapping[str, Any], entry: ModelEntry, limits: Limits
) -> tuple[str, dict[str, Any]]:
    """Spec and arguments; of ``"hf:"`` alone those of config.json beside the entry's file.

    Raises:
        ModelRefusedError: see `read_classifier`.
        ModelError: arguments for a network that config.json describes.
    """
    if spec != PREFIX:
        return spec, dict(kwargs)
    if kwargs:
        raise ModelError(f"arguments of {PREFIX!r} must stand in config.json, got {sorted(kwargs)}")
    return read_classifier(entry.path, entry.root, limits)


def infer_architecture(
    states: Mapping[str, StoredState], architectures: Sequence[str], entry: ModelEntry, name: str, limits: Limits
) -> Inferred:
    """The only registered architecture whose tensors have the names, shapes and kinds of a state.

    Each is built on the meta device, so nothing is allocated for those that do not fit. One that cannot be built fits
    none, and the others are tried all the same.

    Args:
        states: of the file.
        architectures: see `split_architecture`; the same one given twice counts once.
        entry: the file, beside which ``"hf:"`` finds its configuration.
        name: what messages call the file.
        limits: on that configuration.

    Raises:
        ModelRefusedError: none fits, or several do.
        ModelError: the only one given cannot be built.
    """
    if not architectures:
        check_digests(states)
        refuse("no-architecture", f"{name} holds weights: an architecture must be given (--architecture), got none")
    tried = {text: split_architecture(text) for text in dict.fromkeys(architectures)}
    fitting: dict[str, list[Fit]] = {}
    built: dict[str, tuple[str, dict[str, Any]]] = {}
    problems: list[tuple[int, str]] = []
    for text, (spec, kwargs) in tried.items():
        try:
            built[text] = read_described(spec, kwargs, entry, limits)
            expected = expected_state(*built[text])
            named = under_own_names(expected.module, states) if is_described(spec) else states
            found = fit_states(expected, views_of(named))
        except ModelError as error:
            if len(tried) == 1:
                raise
            problems.append((_NEVER, f"{text} cannot be built ({str(error)[:200]})"))
            continue
        if isinstance(found, Misfit):
            problems.append((found.distance, f"{text}: {found.message}"))
        else:
            fitting[text] = found
    if not fitting:
        check_digests(states)
        problems.sort(key=lambda problem: problem[0])
        said = [problems[0][1], *(f"{text[:_PROBLEM]}…" if len(text) > _PROBLEM else text for _, text in problems[1:])]
        refuse("no-architecture", f"{name} must fit one of the registered architectures, got none; {' | '.join(said)}")
    if len(fitting) > 1:
        refuse("ambiguous-architecture", f"{name} must fit one architecture only, got {' and '.join(fitting)}")
    [(text, fits)] = fitting.items()
    return Inferred(*tried[text], choose_fit(fits, name), built[text])


_EXPECTED: dict[str, ExpectedState] = {}


def expected_state(spec: str, kwargs: Mapping[str, Any]) -> ExpectedState:
    """What an architecture expects of a state dict, on the meta device; kept for the next file.

    Raises:
        ModelError: it cannot be built.
    """
    key = json.dumps([spec, dict(kwargs)], sort_keys=True, default=str)
    if key not in _EXPECTED:
        with torch.random.fork_rng(devices=[]):  # what is built next must not depend on what was built before
            try:
                with torch.device("meta"):
                    model = build_architecture(spec, kwargs)
            except ModelError:
                if is_described(spec):
                    raise
                # Some constructors look at values, which the meta device does not have.
                model = build_architecture(spec, kwargs)
        _EXPECTED[key] = ExpectedState(without_values(model))
    return _EXPECTED[key]
