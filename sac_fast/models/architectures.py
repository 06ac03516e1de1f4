"""Architectures by name: ``package.module:callable``, ``timm:NAME``, or the one of several that fits the weights."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..errors import ModelError, describe_error
from ..formats.limits import refuse

_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SHOWN = 5
_TIMM = "timm:"


def call_spec(spec: str, kwargs: Mapping[str, Any] | None) -> nn.Module:
    """Import what ``"package.module:callable"`` names and call it; see `load_model`."""
    return _call(spec, import_callable(spec), kwargs or {})


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


def check_fit(expected: Mapping[str, Any], got: Mapping[str, torch.Tensor], name: str) -> None:
    """Compare weights with what a model expects, name by name.

    Args:
        expected: the model's state dict.
        got: the file's.
        name: what messages call the file.

    Raises:
        ModelError: names, shapes or kinds (float, integer, complex) differ; the first few are listed.
    """
    if problems := _misfits(expected, got):
        raise ModelError(f"weights {name} do not fit the model: {'; '.join(problems)}")


def without_prefix(expected: Mapping[str, Any], got: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights without DataParallel's ``"module."`` before every name, where the model has no such names."""
    prefix = "module."
    if got and all(key.startswith(prefix) for key in got) and not any(key.startswith(prefix) for key in expected):
        return {key[len(prefix) :]: value for key, value in got.items()}
    return dict(got)


def _misfits(expected: Mapping[str, Any], got: Mapping[str, torch.Tensor]) -> list[str]:
    wrong = []
    for key in expected.keys() & got.keys():
        want, have = expected[key], got[key]
        if not isinstance(want, torch.Tensor) or nn.parameter.is_lazy(want):
            continue  # load_state_dict decides
        if want.shape != have.shape or _kind(want) != _kind(have):
            wrong.append(f"{key} (expected {_describe_tensor(want)}, got {_describe_tensor(have)})")
    problems = {
        "missing": [f"{key} {_describe_tensor(expected[key])}" for key in expected.keys() - got.keys()],
        "unexpected": [f"{key} {_describe_tensor(got[key])}" for key in got.keys() - expected.keys()],
        "mismatched": wrong,
    }
    return [_first(what, sorted(items)) for what, items in problems.items() if items]


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


def build_architecture(spec: str, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model with the weights that its callable gives it.

    Importing a module runs its code: name only modules you trust.

    Args:
        spec: ``"package.module:callable"``, or ``"timm:NAME"`` (extra ``timm``), without pretrained weights.
        kwargs: keyword arguments of the callable, or of ``timm.create_model``.

    Returns:
        The model.

    Raises:
        ModelRefusedError: timm is not installed.
        ModelError: the spec names nothing that gives an `nn.Module`.
    """
    if not spec.startswith(_TIMM):
        return call_spec(spec, kwargs)
    try:
        import timm
    except ImportError as error:
        refuse("missing-extra", f"architecture {spec!r} needs timm: pip install 'sac-fast[timm]' ({error})", error)
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


def split_architecture(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``'package.module:callable {"classes": 10}'``: a spec and, after a space, its keyword arguments as JSON.

    Raises:
        ModelError: the arguments are no JSON object.
    """
    spec, _, arguments = text.strip().partition(" ")
    try:
        kwargs = json.loads(arguments.strip() or "{}")
    except (ValueError, RecursionError):
        kwargs = None
    if not isinstance(kwargs, dict):
        raise ModelError(f"arguments of architecture {spec!r} must be a JSON object, got {arguments!r}")
    return spec, kwargs


def infer_architecture(
    state: Mapping[str, torch.Tensor], architectures: Sequence[str], name: str
) -> tuple[str, dict[str, Any]]:
    """The only registered architecture whose tensors have the names, shapes and kinds of ``state``.

    Each is built on the meta device, so nothing is allocated for those that do not fit.

    Args:
        state: the weights.
        architectures: see `split_architecture`; the same one given twice counts once.
        name: what messages call the file.

    Returns:
        The spec and its keyword arguments.

    Raises:
        ModelRefusedError: none fits, or several do.
        ModelError: one of the architectures cannot be built.
    """
    if not architectures:
        refuse("no-architecture", f"{name} holds weights: an architecture must be given, got none to choose from")
    tried = {text: meta_state(*split_architecture(text)) for text in dict.fromkeys(architectures)}
    fitting = [text for text, expected in tried.items() if not _misfits(expected, without_prefix(expected, state))]
    if not fitting:
        found = f"none of {', '.join(tried)}"
        refuse("no-architecture", f"{name} must fit one of the registered architectures, got {found}")
    if len(fitting) > 1:
        refuse("ambiguous-architecture", f"{name} must fit one architecture only, got {' and '.join(fitting)}")
    return split_architecture(fitting[0])


_META_STATES: dict[str, dict[str, torch.Tensor]] = {}


def meta_state(spec: str, kwargs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Names, shapes and dtypes of an architecture's tensors, as tensors of the meta device; kept for the next file."""
    key = json.dumps([spec, dict(kwargs)], sort_keys=True, default=str)
    if key not in _META_STATES:
        try:
            with torch.device("meta"):
                model = build_architecture(spec, kwargs)
        except ModelError:
            # Some constructors look at values, which the meta device does not have.
            model = build_architecture(spec, kwargs)
        state = model.state_dict().items()
        _META_STATES[key] = {
            name: value.to("meta") if isinstance(value, torch.Tensor) else value for name, value in state
        }
    return _META_STATES[key]
