"""What a scan shows on stderr while it runs: models a second, time left, failures."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class ScanProgress:
    """A bar with models a second, time left and failures.

    Args:
        total: number of models.
        enabled: False shows nothing.
    """

    def __init__(self, total: int, enabled: bool) -> None:
        self._total = total
        self._enabled = enabled
        self._failed = 0
        self._stack = contextlib.ExitStack()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ScanProgress:
        if self._enabled:
            from rich.console import Console  # not at import time: rich is slow to import
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
            from rich.text import Text

            class Rate(ProgressColumn):
                def render(self, task: Task) -> Text:
                    speed = task.finished_speed or task.speed
                    failed = f", {task.fields['failed']} failed" if task.fields["failed"] else ""
                    return Text(("" if speed is None else f"{speed:.1f} models/s") + failed)

            self._bar = self._stack.enter_context(
                Progress(
                    "scanning",
                    BarColumn(),
                    MofNCompleteColumn(),
                    Rate(),
                    TimeRemainingColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
            )
            self._task = self._bar.add_task("", total=self._total, failed=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def take(self, event: Mapping[str, Any]) -> None:
        """One model more."""
        if self._bar is not None:
            self._failed += event["status"] == "failed"
            self._bar.update(self._task, advance=1, failed=self._failed)
