"""How results reach the terminal: one console for tables, one form of JSON, strangers' names without tricks."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """The console of stdout; in a pipe at least 140 columns wide, where rich assumes 80 and would cut words."""
    from rich.console import Console

    width = shutil.get_terminal_size((80, 24)).columns
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=max(width, 140))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))
