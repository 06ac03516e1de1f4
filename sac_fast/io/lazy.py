"""Modules that are imported at their first use: commands that need no torch start without its two seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


class LazyModule:
    """Stands for a module, which is imported when an attribute of it is first read.

    Args:
        name: of the module.

    Example::

        >>> math = LazyModule("math")
        >>> math.floor(2.5)
        2
    """

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """``__getattr__`` of a package whose names are imported at their first use.

    Args:
        package: its ``__name__``.
        modules: names that a module of it defines, with spaces between them, by the module's name; one that begins with
            a dot is relative to the package.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module_of[name], package), name)

    return get
