"""How a scan ends: the signals that stop it, and a summary in numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ..models.listing import Listing


class _StoppedError(Exception):
    """What ends work that nobody needs to wait for."""


class StopSignals:
    """Records SIGINT and SIGTERM while a scan runs; the second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._at_once = False
        self._since = math.inf
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        self._since = time.monotonic()
        if self._at_once:
            raise _StoppedError

    def run_until_signal(self, work: Callable[[], object]) -> None:
        """Run what the next scan does again, and which may take longer than a stop: the first signal ends it."""
        with contextlib.suppress(_StoppedError):
            try:
                self._at_once = True
                if self.received is None:
                    work()
            finally:
                self._at_once = False

    def is_over(self, seconds: float) -> bool:
        """Whether the first signal came longer ago than this."""
        return time.monotonic() - self._since > seconds


@dataclass
class ScanSummary:
    """The numbers of a scan.

    Attributes:
        models: number of models in the scan.
        done, failed: models that it ran, by outcome.
        known: models that were in the store already, of which `known_failed` as failed.
        retagged: known models whose tags were changed.
        renamed: models of a name that the store knows from another file, kept under a name with their path.
        passed_over: number of files that are no models, by what they are.
        unbelieved: a manifest inside the folder that nobody has named; None: there is none.
        claimed: number of models of which it says anything.
        unrestricted: what the workers were not kept from, and why.
        reasons: number of failures by reason.
        low_accuracy: a line for each model whose accuracy on labelled probes is far below that of the others.
        interrupted: None, or the signal that stopped it (``"SIGINT"``).
        seconds: wall-clock time.
        phases: seconds until the first model started, of loading and running (summed over the workers), correlating
            and storing (in a thread beside them).
    """

    models: int
    done: int = 0
    failed: int = 0
    known: int = 0
    known_failed: int = 0
    retagged: int = 0
    renamed: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    unbelieved: str | None = None
    claimed: int = 0
    unrestricted: list[str] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    low_accuracy: list[str] = field(default_factory=list)
    interrupted: str | None = None
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, listing: Listing, unrestricted: list[str]) -> ScanSummary:
        """The numbers of a scan that begins."""
        unbelieved = None if listing.unbelieved is None else str(listing.unbelieved)
        claimed = sum(bool(entry.claims) for entry in listing.entries)
        return cls(
            len(listing.entries),
            passed_over=listing.counts(),
            unbelieved=unbelieved,
            claimed=claimed,
            unrestricted=unrestricted,
        )

    @property
    def models_per_second(self) -> float:
        """Models that were run, done or failed, per second."""
        return (self.done + self.failed) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {"event": "summary", **dataclasses.asdict(self), "models_per_second": self.models_per_second}
