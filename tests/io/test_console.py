"""The console of results: strings are printed as they are, and give no orders to the terminal."""

import pytest
from rich.table import Table
from rich.text import Text

from sac_fast.io.console import console


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
        ("in \x1b[31m\u202ex", r"in \x1b[31m\u202ex"),
        ("two\nlines\r", "two\nlines\\r"),
        ("α ☃", "α ☃"),
    ],
)
def test_strings_are_printed_escaped_line_by_line(capsys, text, printed):
    console().print(text)
    assert capsys.readouterr().out == f"{printed}\n"


def test_cells_are_escaped_and_texts_are_as_their_maker_made_them(capsys):
    table = Table(box=None, show_header=False)
    table.add_row("\x1b[2Ja", Text("\u202eb"))
    console().print(table)
    out = capsys.readouterr().out
    assert r"\x1b[2Ja" in out
    assert "\u202eb" in out
