"""No thread may be inside of an op while the interpreter ends.

A daemon thread that comes back from C++ then finds no interpreter: CPython ends such a thread by unwinding its stack,
and C++ frames on it abort the process. So the end waits for ops that run, and threads that begin one later stay where
they are until the process is gone.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_MAX_SECONDS = 60.0  # for the ops that run
_state = threading.Condition()
_inside = 0
_is_ending = False


def gated(op: Callable[..., Result]) -> Callable[..., Result]:
    """The op; in other threads than the main one the interpreter's end waits for it."""

    def call(*arguments: object) -> Result:
        # Compiled graphs are not gated. The main thread is the one that ends the interpreter.
        if torch.compiler.is_compiling() or threading.get_ident() == threading.main_thread().ident:
            return op(*arguments)
        _enter()
        try:
            return op(*arguments)
        finally:
            _leave()

    return call


def _enter() -> None:
    global _inside
    with _state:
        if not _is_ending:
            _inside += 1
            return
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


def _reset_in_child() -> None:
    """A forked child has none of the threads that were inside."""
    global _state, _inside, _is_ending
    _state, _inside, _is_ending = threading.Condition(), 0, False


os.register_at_fork(after_in_child=_reset_in_child)
