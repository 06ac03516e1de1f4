"""What a scan is asked for, checked before anything runs."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from ..fingerprint import Fingerprint
from ..models import ModelEntry
from ..models.manifest import check_lengths
from .fork_server import ScanError


def check_sources(sources: Sequence[Fingerprint | str]) -> None:
    """Refuse two sources of one name: their distances could not be told apart."""
    names = collections.Counter(source if isinstance(source, str) else source.name for source in sources)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"sources must have different names, got {twice[0]!r} {names[twice[0]]} times")


def rows_of(sources: Sequence[Fingerprint]) -> int | None:
    """How many probes the sources answered; None: there are none.

    Raises:
        ScanError: not all as many.
    """
    rows = {len(source) for source in sources}
    if len(rows) > 1:
        raise ScanError(f"sources must have answered the same number of probes, got {sorted(rows)}")
    return rows.pop() if rows else None


def check_names(entries: Sequence[ModelEntry]) -> None:
    """Refuse entries of one name, and those whose names or tags no store could keep."""
    names = collections.Counter(entry.name for entry in entries)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"entries must have different names, got {twice[0]!r} {names[twice[0]]} times")
    for entry in entries:
        try:
            check_lengths(entry.name, entry.tags)
        except ValueError as error:
            raise ValueError(f"entry {entry.name[:80]!r}: {error}") from None
