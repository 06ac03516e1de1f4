"""A worker process and its attempts, and which model is at fault when the process ends."""

from __future__ import annotations

import signal
import socket
from collections import deque
from dataclasses import dataclass, field

from .jobs import Job
from .protocol import FrameReader

# A model has failed once its worker ended this often. SIGKILL may come from outside, so it is allowed more often.
_MAX_CRASHES = 2
_MAX_KILLS = 5


@dataclass
class Attempt:
    """A job and the ends of the workers that ran it."""

    job: Job
    crashes: int = 0
    kills: int = 0
    alone: bool = False  # to be run in a new worker, without another job
    message: bytes = b""


@dataclass(eq=False)
class Worker:
    """One process; it has been running the first of `attempts` since `since`."""

    device: str
    serial: int
    connection: socket.socket
    reader: FrameReader
    overlap: bool
    pid: int | None = None
    attempts: deque[Attempt] = field(default_factory=deque)
    since: float = 0.0
    unsent: bytearray = field(default_factory=bytearray)
    used: bool = False
    silent_since: float | None = None  # since it closed its end of the connection
    stopped: tuple[str, str] | None = None  # why the pool ended it: reason and message; "": no fault of a model


def is_failed(started: list[Attempt], stopped: tuple[str, str] | None, status: int) -> bool:
    """Whether the first attempt is final, and its model failed; else it is repeated."""
    first = started[0]
    if stopped is not None and stopped[0] in ("", "timed-out"):
        return stopped[0] == "timed-out"
    if len(started) > 1 or (stopped is not None and not first.alone):
        for attempt in started:
            attempt.alone = True
        return False
    first.alone = True
    first.kills += stopped is None and status == -signal.SIGKILL
    first.crashes += stopped is None and status != -signal.SIGKILL
    return stopped is not None or first.crashes >= _MAX_CRASHES or first.kills >= _MAX_KILLS
