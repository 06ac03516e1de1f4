"""Names of models in results."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended if it is taken."""
    numbered = (f"{name} ({number})" for number in itertools.count(len(taken) + 1))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)


def list_names(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
