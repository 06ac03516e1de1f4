"""How results reach the terminal: one console and one form of table, one form of JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .text import escape_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_MIN_WIDTH = 160  # in a pipe, where rich assumes 80 columns and would cut words


def console() -> Console:
    """The console of stdout. It prints strings as they are: ``[bold]`` in a name is no markup, ``:smile:`` no emoji.

    Lines of a string are escaped, so that a name gives no orders to the terminal; a `rich.text.Text` is not.
    """
    from rich.console import Console

    class Escaping(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str("\n".join(map(escape_text, text.split("\n"))), **options)

    made = Escaping(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = max(shutil.get_terminal_size((80, 24)).columns, _MIN_WIDTH)
    return made


def schema_id(result: str) -> str:
    """What a JSON result says that it is: its name and the version of its form, which changes when a field goes."""
    return f"sac_fast.{result}/1"


def print_json(value: Mapping[str, Any], result: str, *, is_large: bool = False) -> None:
    """One JSON document on stdout, whose first field is its `schema_id`.

    A large one has no indents: with them Python encodes it, ten times slower.
    """
    print(json.dumps({"schema": schema_id(result), **value}, indent=None if is_large else 2, allow_nan=False))
