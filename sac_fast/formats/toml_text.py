"""TOML from others: what it would cost to parse is bounded before it is parsed."""

from __future__ import annotations

import tomllib
from typing import Any

MAX_LINE = 1 << 20  # characters; one number or text may need a hundred bytes a character
# Each part of a dotted key is looked up from the first one, so a key of d dots costs d² steps and d² / 2 references.
_FREE_STEPS = 4_000_000
_STEPS_A_CHARACTER = 16


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML whose cost is at most linear in its length.

    The dots of a line bound the parts of its key, and those of the last line that begins with ``[`` bound the parts of
    its table: ``Σ d (d + t)`` over all lines must stay under ``4e6 + 16 · characters``.

    Raises:
        ValueError: no TOML, longer lines than 1,048,576 characters, or keys of too many parts.
    """
    steps = table = 0
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"lines must have at most {MAX_LINE:,} characters, got {len(line):,} in line {number}")
        dots = line.count(".")
        if line.lstrip(" \t").startswith("["):
            table = dots
        steps += (dots + 1) * (dots + table)
        if steps > _FREE_STEPS + _STEPS_A_CHARACTER * len(text):
            raise ValueError(f"keys must have few parts, got too many dots up to line {number}")
    return tomllib.loads(text)
