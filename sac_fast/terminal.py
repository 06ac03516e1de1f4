"""How results reach the terminal: one console for tables, one form of JSON, strangers' names without tricks."""

from __future__ import annotations

import json
import shutil
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_NOT_TEXT = ("Cc", "Cf", "Cs", "Co", "Cn")  # Unicode categories


def console() -> Console:
    """The console of stdout; in a pipe at least 140 columns wide, where rich assumes 80 and would cut words."""
    from rich.console import Console

    width = shutil.get_terminal_size((80, 24)).columns
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=max(width, 140))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def plain_name(name: str) -> str:
    """A stranger's name with control and format characters as U+FFFD: no escape sequences, no reversed writing."""
    return "".join("\ufffd" if unicodedata.category(letter) in _NOT_TEXT else letter for letter in name)


def one_line(text: str) -> str:
    """A message that may repeat a stranger's words, its lines joined, as `plain_name` shows it."""
    return plain_name(" ".join(part.strip() for part in text.splitlines()))
