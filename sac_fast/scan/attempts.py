"""A worker process as its pool knows it, and who is to blame when it ends."""

from __future__ import annotations

import signal
import socket
from collections import deque
from dataclasses import dataclass, field

from .jobs import Job
from .protocol import FrameReader

#: A model whose worker ends this often is at fault; a kill from outside is forgiven more often than a crash.
_MOST_CRASHES = 2
_MOST_KILLS = 5


@dataclass
class Try:
    """A job and what has happened to it so far."""

    job: Job
    crashes: int = 0
    kills: int = 0
    alone: bool = False  # to be tried in a new worker, without another beside it
    message: bytes = b""


@dataclass(eq=False)
class Worker:
    """One process; the first of `tries` is being worked on, since `since`."""

    device: str
    serial: int
    connection: socket.socket
    reader: FrameReader
    overlap: bool
    pid: int | None = None
    tries: deque[Try] = field(default_factory=deque)
    since: float = 0.0
    unsent: bytearray = field(default_factory=bytearray)
    used: bool = False
    silent_since: float | None = None  # when it closed its end of the connection
    verdict: tuple[str, str] | None = None  # why we ended it: reason and message; "": not for a model's fault


def is_guilty(suspects: list[Try], verdict: tuple[str, str] | None, status: int) -> bool:
    """Whether the first one is to be recorded as failed; if not, it is tried again."""
    first = suspects[0]
    if verdict is not None and verdict[0] in ("", "timed-out"):
        return verdict[0] == "timed-out"
    if len(suspects) > 1 or (verdict is not None and not first.alone):
        for tried in suspects:
            tried.alone = True
        return False
    first.alone = True
    first.kills += verdict is None and status == -signal.SIGKILL
    first.crashes += verdict is None and status != -signal.SIGKILL
    return verdict is not None or first.crashes >= _MOST_CRASHES or first.kills >= _MOST_KILLS
