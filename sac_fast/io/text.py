"""Strangers' texts for terminals and spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_NOT_TEXT = ("Cc", "Cf", "Cs", "Co", "Cn")  # Unicode categories


def printable(text: str) -> str:
    """The text with everything escaped that is no plain character of a line.

    Control characters (a terminal would obey them), line ends, marks that turn the direction of writing (they make a
    name look like another), characters of no width and lone surrogates become ``\\x1b``, ``\\u202e`` and so on.

    Args:
        text: any text.

    Returns:
        Its like on one line, printable throughout.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def short(text: Any, length: int = 60) -> str:
    """`printable`, on at most so many characters; the middle goes first, since names differ at their ends."""
    line = re.sub(r"\s+", " ", printable(str(text)))
    return line if len(line) <= length else f"{line[: length // 2]}…{line[-(length - length // 2 - 1) :]}"


def plain_name(name: str) -> str:
    """A stranger's name with control and format characters as U+FFFD: no escape sequences, no reversed writing."""
    return "".join("\ufffd" if unicodedata.category(letter) in _NOT_TEXT else letter for letter in name)


def one_line(text: str) -> str:
    """A message that may repeat a stranger's words, its lines joined, as `plain_name` shows it."""
    return plain_name(" ".join(part.strip() for part in text.splitlines()))
