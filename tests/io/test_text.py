"""The one rule for showing untrusted text."""

import pytest

from sac_fast.io.text import escape_text

CASES = {
    "plain, é α 中 [bold]": "plain, é α 中 [bold]",
    "a\x1b[2J\r\n\tb": r"a\x1b[2J\r\n\tb",
    "left\u202eright\u200b": r"left\u202eright\u200b",
    "\x85\u2028\u2029\xa0": r"\x85\u2028\u2029\xa0",  # ends of lines to some readers, and a space that is none
    "\udcff\ud800": r"\udcff\ud800",
    "\U000e0001\ue000\uffff": r"\U000e0001\ue000\uffff",
    "": "",
}


@pytest.mark.parametrize("text", CASES)
def test_what_is_not_printable_is_escaped_as_repr_escapes_it(text):
    shown = escape_text(text)
    assert shown == CASES[text]
    assert shown.isprintable()
    assert f"'{shown}'" == repr(text)
    assert escape_text(shown) == shown


def test_the_middle_of_a_long_text_goes():
    assert escape_text("abcdefghij", 10) == "abcdefghij"
    assert escape_text("abcdefghijk", 10) == "abcde…hijk"
    assert escape_text("abcdefghijk", 9) == "abcd…hijk"
    assert escape_text("ab", 1) == "…"
    assert escape_text("\x1b" * 3, 8) == r"\x1b…x1b"


def test_any_object_is_shown_by_its_str():
    assert escape_text(ValueError("a\nb")) == r"a\nb"
