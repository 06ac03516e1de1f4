"""What a model is built from: a callable by name, and weights that must fit it exactly."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import ModelError

StateDict = dict[str, torch.Tensor]

_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SHOWN = 5


def call_spec(spec: str, kwargs: Mapping[str, Any] | None) -> nn.Module:
    """Import what ``"package.module:callable"`` names and call it; see `load_model`."""
    if not _SPEC.fullmatch(spec):
        raise ModelError(f'model must be named as "package.module:callable", got {spec!r}')
    module_name, _, path = spec.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may raise anything
        raise ModelError(f"cannot import {module_name!r} of {spec!r}: {told(error)}") from error
    for part in path.split("."):
        if not hasattr(target, part):
            raise ModelError(f"{spec!r} must name a callable, but {module_name!r} has no {path!r}")
        target = getattr(target, part)
        # Through what a module has imported, every name of ours would lead to os.system.
        if inspect.ismodule(target):
            raise ModelError(
                f"{spec!r} must name a callable of {module_name!r} itself, got the module {target.__name__!r} on the "
                "way: modules come before the colon"
            )
    if not callable(target):
        raise ModelError(f"{spec!r} must name a callable, got {type(target).__name__}")
    try:
        model = target(**dict(kwargs or {}))
    except Exception as error:
        raise ModelError(f"{spec!r} failed with arguments {dict(kwargs or {})}: {told(error)}") from error
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


def fits(expected: Mapping[str, Any], got: Mapping[str, torch.Tensor]) -> bool:
    """Whether `check_fit` would pass."""
    return not _misfits(expected, without_prefix(expected, got))


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
            wrong.append(f"{key} (expected {_told_shape(want)}, got {_told_shape(have)})")
    problems = [
        _listed("missing", sorted(f"{key} {_told_shape(expected[key])}" for key in expected.keys() - got.keys())),
        _listed("unexpected", sorted(f"{key} {_told_shape(got[key])}" for key in got.keys() - expected.keys())),
        _listed("mismatched", sorted(wrong)),
    ]
    return [problem for problem in problems if problem]


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


def told(error: BaseException) -> str:
    """An error as part of a message."""
    return f"{type(error).__name__}: {error}"
