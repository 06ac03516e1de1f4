"""One progress bar for every long loop; on stderr, so that stdout stays for results."""

from __future__ import annotations

import operator
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
#: Where stderr is no terminal: seconds between two lines.
LINE_SECONDS = 30.0


class ProgressBar:
    """A bar on stderr with items done, rate and time left; where stderr is no terminal, a line every 30 seconds.

    Args:
        description: the words beside the bar.
        total: number of items; None: not known.
        unit: plural of the item, to show a rate, such as ``"models"``; empty: no rate.
        enabled: False shows nothing.
        line_seconds: where stderr is no terminal, the least time between two lines.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        unit: str = "",
        enabled: bool = True,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        self._description, self._total, self._unit, self._enabled = description, total, unit, enabled
        self._done, self._start = 0, time.monotonic()
        self._line_seconds = line_seconds
        self._next_line: float | None = None
        self._stack = ExitStack()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        if not self._enabled:
            return self
        from rich.console import Console  # not at import time: rich is slow to import
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                speed, unit = task.finished_speed or task.speed, task.fields["unit"]
                rate = f"{speed:.1f} {unit}/s" if unit and speed is not None else ""
                return Text(", ".join(part for part in (rate, task.fields["note"]) if part))

        console = Console(stderr=True)
        if console.is_terminal or console.is_jupyter:  # rich would leave an empty line in a log for every bar
            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
            self._bar = self._stack.enter_context(Progress(*columns, console=console, transient=True))
            self._task = self._bar.add_task(self._description, total=self._total, unit=self._unit, note="")
        else:
            self._next_line = time.monotonic() + self._line_seconds
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count items as done.

        Args:
            count: how many.
            note: shown beside the rate, such as ``"3 failed"``.
        """
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, note=note)
        elif self._next_line is not None and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._line_seconds
            self._print_line(note)

    def _print_line(self, note: str) -> None:
        """One line of a log."""
        of = "" if self._total is None else f" of {self._total}"
        unit = f" {self._unit}" if self._unit else ""
        parts = (f"{self._done}{of}{unit}", note, f"{time.monotonic() - self._start:.0f} s")
        print(f"{self._description}: {', '.join(part for part in parts if part)}", file=sys.stderr, flush=True)


def track(iterable: Iterable[T], description: str, total: int | None = None, enabled: bool = True) -> Iterator[T]:
    """Pass the items through and show a `ProgressBar` while they are consumed.

    Args:
        iterable: what to loop over.
        description: the words beside the bar.
        total: number of items; None: ``len(iterable)`` where it has one.
        enabled: False passes the items through and shows nothing.

    Yields:
        The items.
    """
    if total is None:
        total = operator.length_hint(iterable) or None
    with ProgressBar(description, total, enabled=enabled) as bar:
        for item in iterable:
            yield item
            bar.advance()
