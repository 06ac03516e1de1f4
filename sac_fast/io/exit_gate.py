"""No thread may be inside of an op or of the compiled module while the interpreter ends.

A daemon thread that comes back from C++ then finds no interpreter: CPython ends such a thread by unwinding its stack,
and C++ frames on it abort the process. So the end waits for functions that run, and threads that call one later stay
where they are until the process is gone. A thread that has just left may still be in C++, as where torch frees its
result: the end waits a moment for threads that called such functions to stay or to finish.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_MAX_SECONDS = 60.0  # for the functions that run
_GRACE = 0.5  # seconds for the threads that called them
_state = threading.Condition()
_thread = threading.local()
_inside = 0
_is_ending = False
# threads that called such a function, and those of them that stay where they are
_callers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_staying: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def gated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function; in other threads than the main one the interpreter's end waits for it."""

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        # The main thread is the one that ends the interpreter. One that is inside already must not stay there.
        if threading.get_ident() == threading.main_thread().ident or getattr(_thread, "is_inside", False):
            return function(*arguments, **named)
        _enter()
        _thread.is_inside = True
        try:
            return function(*arguments, **named)
        finally:
            _thread.is_inside = False
            _leave()

    return call


class GatedModule:
    """A compiled module whose functions are `gated`."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        found = gated(found) if callable(found) and not isinstance(found, type) else found
        setattr(self, name, found)  # the next look-up finds it there
        return found

    def __dir__(self) -> list[str]:
        return dir(self._module)


def _enter() -> None:
    global _inside
    caller = threading.current_thread()
    with _state:
        if not _is_ending:
            _inside += 1
            _callers.add(caller)
            return
        _staying.add(caller)
    threading.Event().wait()


def _leave() -> None:
    global _inside
    with _state:
        _inside -= 1
        _state.notify_all()


@atexit.register
def _close() -> None:
    global _is_ending
    with _state:
        _is_ending = True
        _state.wait_for(lambda: _inside == 0, _MAX_SECONDS)
        latest = time.monotonic() + _GRACE
        while time.monotonic() < latest and any(one.is_alive() for one in _callers if one not in _staying):
            _state.wait(0.005)


def _reset_in_child() -> None:
    """A forked child has none of the threads that were inside."""
    global _state, _inside, _is_ending
    _state, _inside, _is_ending = threading.Condition(), 0, False
    _callers.clear()
    _staying.clear()


os.register_at_fork(after_in_child=_reset_in_child)
