"""Parses a script and marks definitions that may be replaced; line numbers are kept."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from . import checks

REPLACE = "__sac_fast_replace__"
MISSING = "__sac_fast_missing__"
# Packages that the scripts import, but need only for what is replaced, if at all.
OPTIONAL = ("torchvision", "cv2", "matplotlib")


def compile_script(source: bytes, path: str) -> CodeType:
    """Compile a script with the decorator `REPLACE` on every definition of a known form."""
    tree = _MissingImports().visit(ast.parse(source, path))
    for node in tree.body:
        if _is_known_function(node) or _is_known_reader(node):
            node.decorator_list.insert(0, ast.copy_location(ast.Name(REPLACE, ast.Load()), node))
    code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
    return code


def _is_known_function(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return False
    arguments = node.args
    plain = not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults)
    return plain and len(arguments.posonlyargs) + len(arguments.args) == checks.parameter_count(node.name)


def _is_known_reader(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.name not in checks.READERS:
        return False
    methods = {entry.name for entry in node.body if isinstance(entry, ast.FunctionDef)}
    return {"__init__", "__len__", "__getitem__"} <= methods and "__new__" not in methods


class _MissingImports(ast.NodeTransformer):
    """``import torchvision`` becomes ``torchvision = __sac_fast_missing__("torchvision")`` if it is missing."""

    def visit_Import(self, node: ast.Import) -> Any:
        missing = [alias for alias in node.names if _is_missing(alias.name)]
        here = [alias for alias in node.names if alias not in missing]
        kept = [ast.copy_location(ast.Import(here), node)] if here else []
        # `import a.b` binds a, `import a.b as c` binds a.b.
        bound = [(a.asname, a.name) if a.asname else (a.name.partition(".")[0],) * 2 for a in missing]
        return [*kept, *(_placeholder(node, name, path) for name, path in bound)]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if node.level or not node.module or not _is_missing(node.module):
            return node
        return [_placeholder(node, a.asname or a.name, f"{node.module}.{a.name}") for a in node.names]


def _placeholder(node: ast.stmt, name: str, path: str) -> ast.stmt:
    call = ast.Call(ast.Name(MISSING, ast.Load()), [ast.Constant(path)], [])
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], call), node)


def _is_missing(name: str) -> bool:
    root = name.partition(".")[0]
    return root in OPTIONAL and root not in sys.modules and importlib.util.find_spec(root) is None


class Missing:
    """Placeholder of a package that is not installed: attributes and calls work, but not on tensors or arrays."""

    def __init__(self, path: str) -> None:
        self._path = path

    def _fail(self, *_: Any) -> Any:
        root = self._path.partition(".")[0]
        raise ModuleNotFoundError(f"No module named {root!r}, which {self._path} needs", name=root)

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self._path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Missing:
        if any(isinstance(value, (Tensor, np.ndarray)) for value in (*args, *kwargs.values())):
            self._fail()
        return Missing(self._path)

    __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __mro_entries__ = _fail


class Finder:
    """Finds modules in one folder, as `sys.path` would, and marks their definitions like those of the script."""

    def __init__(self, folder: str, names: dict[str, Any], before: Callable[[str], None]) -> None:
        self._folder, self._names, self._before = folder, names, before

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for a source file of the folder; None for everything else."""
        if path is not None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, [self._folder])
        if spec is None or spec.origin is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return None
        if spec.submodule_search_locations is not None:
            return None
        self._before(fullname)
        spec.loader = _Loader(fullname, spec.origin, self._names)
        spec.cached = None
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the marked source, without ``__pycache__``, which other runs use."""

    def __init__(self, fullname: str, path: str, names: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._names = names

    def get_code(self, fullname: str) -> CodeType:
        return compile_script(self.get_data(self.path), os.fspath(self.path))

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self._names)
        super().exec_module(module)
