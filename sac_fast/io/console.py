"""How results reach the terminal: one console and one form of table, one form of JSON."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_MIN_WIDTH = 160  # in a pipe, where rich assumes 80 columns and would cut words


def console() -> Console:
    """The console of stdout. It prints strings as they are: ``[bold]`` in a name is no markup, ``:smile:`` no emoji."""
    from rich.console import Console

    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = max(shutil.get_terminal_size((80, 24)).columns, _MIN_WIDTH)
    return made


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))
