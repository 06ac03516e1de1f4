"""Runs unmodified scripts with the functions and file readers of this package in place of their own."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from ..io.files import StrPath, open_regular
from . import checks
from .rewrite import MISSING, REPLACE, Finder, Missing, compile_script

_trying = threading.local()
# Aliases that NumPy 1.24 removed; cut_mix.py of SAC uses the first.
_REMOVED_NUMPY_ALIASES = {"int": int, "float": float, "bool": bool, "object": object}


class _Session:
    """Replacements of one `patched` context; after its end the script's own functions run again."""

    def __init__(self, quiet: bool) -> None:
        self.active = True
        self.modules: list[str] = []
        self._quiet = quiet
        self._seen: dict[str, bool] = {}
        self._missing: set[str] = set()

    def report(self, line: str) -> None:
        if not self._quiet:
            print(f"sac_fast.compat: {line}", file=sys.stderr)

    def names(self) -> dict[str, Any]:
        return {REPLACE: self.replace, MISSING: self.missing}

    def missing(self, path: str) -> Missing:
        root = path.partition(".")[0]
        if root not in self._missing:
            self._missing.add(root)
            self.report(f"{root} is not installed: the script goes on until it needs it")
        return Missing(path)

    def replace(self, own: Any) -> Any:
        """Decorator that wraps a function, or replaces the `__new__` of a class."""
        shown = f"{own.__module__}.{own.__name__}"
        self._seen[shown] = False
        return self._function(own, shown) if isinstance(own, FunctionType) else self._class(own, shown)

    def unused(self) -> list[str]:
        """Names that were found but never called."""
        return [name for name, used in self._seen.items() if not used]

    def _choose(self, shown: str, decide: Callable[[], tuple[Any, str]]) -> Any:
        chosen, words = decide()
        self._seen[shown] = True
        self.report(f"{shown} {words}")
        return chosen

    def _function(self, own: FunctionType, shown: str) -> Callable[..., Any]:
        signature = inspect.signature(own)
        # Checked at the first call, when the script has defined everything that the function calls.
        choice = functools.cache(lambda: self._choose(shown, lambda: checks.same_function(own.__name__, own)))

        @functools.wraps(own)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.active or choice() is None:
                return own(*args, **kwargs)
            return choice()(*signature.bind(*args, **kwargs).args)

        return call

    def _class(self, own: type, shown: str) -> type:
        @functools.cache
        def choice() -> Any:
            _trying.now = True
            try:
                return self._choose(shown, lambda: checks.same_reader(own.__name__, own))
            finally:
                _trying.now = False

        def new(cls: type, *args: Any, **kwargs: Any) -> Any:
            # Subclasses are not replaced.
            if not self.active or cls is not own or getattr(_trying, "now", False) or choice() is None:
                return object.__new__(cls)
            return choice()(*args, **kwargs)  # of another type, so that Python does not call __init__

        own.__new__ = staticmethod(new)  # type: ignore[method-assign,assignment]
        return own


@contextlib.contextmanager
def patched(
    namespace: MutableMapping[str, Any] | None = None,
    *,
    folder: StrPath | None = None,
    allow_pickled_models: bool = False,
    quiet: bool = False,
) -> Iterator[None]:
    """Context in which equivalent functions and readers of the scripts are replaced.

    Modules imported from `folder` within the context use the functions and dataset classes of `sac_fast.compat` in
    place of their own, if both give the same values on a small example. `cal_cor` returns matrices that are computed on
    demand. Without a GPU, ``.cuda()`` of modules and tensors does nothing and `torch.load` loads to the CPU. Aliases
    that NumPy removed, such as ``numpy.int``, are available. Replacements, and the reasons for what was kept, are
    printed on stderr. At the end everything is restored, and modules imported within the context are removed from
    `sys.modules`.

    Args:
        namespace: a notebook's ``globals()``: functions defined there are replaced too.
        folder: folder of the scripts' modules. Default: the current folder.
        allow_pickled_models: let `torch.load` run the code in pickled models, as old versions of PyTorch did; only
            for files that you trust.
        quiet: print nothing.
    """
    with _patched(namespace, folder or os.curdir, allow_pickled_models, quiet):
        yield


@contextlib.contextmanager
def _patched(
    namespace: MutableMapping[str, Any] | None, folder: StrPath, allow_pickled_models: bool, quiet: bool
) -> Iterator[_Session]:
    session = _Session(quiet)
    finder = Finder(os.path.abspath(folder), session.names(), session.modules.append)
    with contextlib.ExitStack() as stack:
        _patch_torch(stack, session, allow_pickled_models)
        for name, value in _REMOVED_NUMPY_ALIASES.items():
            if name not in vars(np):
                _set(stack, np, name, value)
        for name, own in list((namespace or {}).items()):
            if isinstance(own, FunctionType) and _required(own) == checks.parameter_count(name):
                assert namespace is not None
                namespace[name] = session.replace(own)
                stack.callback(namespace.__setitem__, name, own)
        sys.meta_path.insert(0, finder)
        stack.callback(sys.meta_path.remove, finder)
        try:
            yield session
        finally:
            session.active = False
            for name in session.modules:
                sys.modules.pop(name, None)
            if session.unused():
                session.report(f"found, but never called: {', '.join(session.unused())}")


def run_script(
    script: StrPath, arguments: Sequence[str] = (), *, allow_pickled_models: bool = False, quiet: bool = False
) -> None:
    """Run a script like ``python script arguments…``, within `patched`.

    Args:
        script: the file.
        arguments: its ``sys.argv[1:]``.
        allow_pickled_models: see `patched`.
        quiet: see `patched`.

    Raises:
        FileFormatError: the script cannot be read.
        Exception: whatever the script raises, `SystemExit` included.
    """
    path = os.fspath(script)
    with open_regular(path) as handle:
        source = handle.read()
    absolute = os.path.abspath(path)
    folder = os.path.dirname(absolute)
    main = ModuleType("__main__")
    main.__file__ = absolute
    before = sys.modules["__main__"], sys.argv, sys.path
    with _patched(None, folder, allow_pickled_models, quiet) as session:
        main.__dict__.update(session.names())
        sys.modules["__main__"], sys.argv, sys.path = main, [path, *arguments], [folder, *sys.path]
        try:
            exec(compile_script(source, absolute), main.__dict__)
        finally:
            sys.modules["__main__"], sys.argv, sys.path = before


def _required(function: FunctionType) -> int:
    """Number of parameters; −1 if one of them is optional or variadic."""
    parameters = inspect.signature(function).parameters.values()
    plain = all(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return len(parameters) if plain else -1


def _set(stack: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    if name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:
        stack.callback(delattr, owner, name)
    setattr(owner, name, value)


def _patch_torch(stack: contextlib.ExitStack, session: _Session, allow_pickled_models: bool) -> None:
    location = None
    if not torch.cuda.is_available():
        session.report("no CUDA device: .cuda() does nothing, torch.load loads to the CPU")
        for owner in (torch.Tensor, nn.Module):
            _set(stack, owner, "cuda", lambda self, *args, **kwargs: self)
        location = "cpu"
    own = torch.load

    @functools.wraps(own)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        if allow_pickled_models:
            kwargs.setdefault("weights_only", False)
        return own(f, location if map_location is None else map_location, *args, **kwargs)

    _set(stack, torch, "load", load)
