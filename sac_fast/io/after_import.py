"""Run something once a module is imported, without importing it."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def after_import(name: str, package: str, action: Callable[[], None]) -> None:
    """Call ``action()`` once the module `name` is imported: now, or when somebody imports it.

    The action may import modules of `package`, so it waits until no module of the package is half imported. It must
    be idempotent: two threads may run it at once. It runs in the thread that imported the module and cannot make that
    import fail: an error becomes a warning. A failed import of `name` leaves everything as it was, for the next try.

    Not seen: a module that somebody loads without `sys.meta_path`, or that is half imported in this thread at the time
    of the call. The action then runs when the next module of `package` is imported.

    Args:
        name: the top-level module to wait for.
        package: the package that the action imports from.
        action: what to do.
    """
    if any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        return  # the package is being reloaded
    if name in sys.modules and not is_imported(name):
        __import__(name)  # another thread is importing it: wait
    if is_imported(name):
        action()
    else:
        sys.meta_path.insert(0, _Finder(name, package, action))


def is_imported(name: str) -> bool:
    """True if a module is imported to its end, by whichever thread."""
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


class _Finder:
    """Watches the imports of one module and of a package's modules; finds them with the finders that come after it."""

    def __init__(self, name: str, package: str, action: Callable[[], None]) -> None:
        self.name = name
        self._prefix = package + "."
        self._action = action
        self._imported = False  # true when its code has run, a little before `is_imported`
        self._importing: set[int] = set()  # threads that are importing a watched module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of a watched module, the spec that other finders give, its loader told to report back."""
        if fullname != self.name and not fullname.startswith(self._prefix):
            return None
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else finders:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find is not None else None
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        loader, name = spec.loader, spec.name
        if loader is None or not hasattr(loader, "exec_module") or not hasattr(loader, "__dict__"):
            return
        exec_module = loader.exec_module

        def report_back(module: ModuleType) -> None:
            if module.__name__ != name:  # a loader of several modules
                exec_module(module)
                return
            vars(loader).pop("exec_module", None)
            outermost = threading.get_ident() not in self._importing
            self._importing.add(threading.get_ident())
            try:
                exec_module(module)
                self._imported |= name == self.name
            finally:
                if outermost:
                    self._run()
                    self._importing.discard(threading.get_ident())

        # On the instance, so that `module.__loader__` stays what it would be without us.
        vars(loader)["exec_module"] = report_back

    def _run(self) -> None:
        if self not in sys.meta_path or not (self._imported or is_imported(self.name)):
            return
        try:
            self._action()
        except Exception as error:
            if self._importing != {threading.get_ident()}:
                return  # what another thread is importing was half there; that thread runs the action at its end
            warnings.warn(f"after the import of {self.name}: {type(error).__name__}: {error}", RuntimeWarning, 2)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
