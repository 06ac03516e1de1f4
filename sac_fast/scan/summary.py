"""What a scan did, in numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ScanSummary:
    """What a scan did.

    Attributes:
        models: how many it was asked for.
        done, failed: how many it ran, and with what end.
        known: how many were in the store already, of which `known_failed` as failed.
        retagged: how many of the known got other tags than the store had.
        reasons: number of failures by reason.
        interrupted: None, or the signal that stopped it (``"SIGINT"``).
        seconds: wall-clock time.
        phases: seconds until the first model was begun, of loading and running (summed over the workers), correlating
            and storing (in a thread beside them).
    """

    models: int
    done: int = 0
    failed: int = 0
    known: int = 0
    known_failed: int = 0
    retagged: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    interrupted: str | None = None
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def models_per_second(self) -> float:
        """Models that were run, done or failed, a second."""
        return (self.done + self.failed) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"event": "summary", **dataclasses.asdict(self), "models_per_second": self.models_per_second}
