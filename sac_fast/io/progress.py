"""One progress bar for every long loop; on stderr, so that stdout stays for results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(iterable: Iterable[T], description: str, total: int | None = None, enabled: bool = True) -> Iterator[T]:
    """Pass the items through and show a bar on stderr, where that is a terminal, while they are consumed.

    Args:
        iterable: what to loop over.
        description: the words beside the bar.
        total: number of items; None: ``len(iterable)`` where it has one.
        enabled: False passes the items through and shows nothing.

    Yields:
        The items.
    """
    if not enabled:
        yield from iterable
        return
    from rich.console import Console  # not at import time: rich is slow to import
    from rich.progress import Progress

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):  # a log; rich would leave an empty line there for every bar
        yield from iterable
        return
    with Progress(console=console, transient=True) as bar:
        yield from bar.track(iterable, total=total, description=description)
