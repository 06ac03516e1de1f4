"""The one way to show untrusted text: names and messages in terminals, logs, errors, spreadsheets and graph files."""

from __future__ import annotations


def escape_text(text: object, max_length: int | None = None) -> str:
    r"""The text on one line, with every character escaped that is not printable.

    Control characters (a terminal obeys them), line ends (they forge lines of a log), bidirectional controls (they make
    one name look like another), zero-width characters and lone surrogates become ``\x1b``, ``\n``, ``\u202e`` and so
    on. That is how `repr` spells them, so a name looks the same in an error and in a table. Escaping twice changes
    nothing; a name that holds a backslash can equal the escaped form of another.

    Args:
        text: any text, or an object whose `str` is shown.
        max_length: longest result in characters; the middle goes, since names differ at their ends. None: no limit.

    Returns:
        The escaped text.
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    if max_length is None or len(line) <= max_length:
        return line
    head = max_length // 2
    return f"{line[:head]}…{line[len(line) - (max_length - head - 1) :]}"
