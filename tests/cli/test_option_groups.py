"""A command that takes a dataclass has one option a field."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from sac_fast.cli.option_groups import expand_option_groups


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=1, help="Of the image.")]
    heights: Annotated[list[int] | None, typer.Option("--height")] = None
    flips: Annotated[bool, typer.Option("--flips/--no-flips")] = True


def make_app():
    app = typer.Typer()

    @app.command()
    @expand_option_groups
    def show(name: Annotated[str, typer.Argument()], size: Size, loud: bool = False) -> None:
        """Say what was given."""
        print(name, size, loud)

    return app


def test_fields_are_options_with_their_defaults_and_checks():
    run = CliRunner().invoke
    assert run(make_app(), ["a", "--width", "3"]).stdout == "a Size(width=3, heights=None, flips=True) False\n"
    given = ["a", "--width", "3", "--height", "1", "--height", "2", "--no-flips", "--loud"]
    assert run(make_app(), given).stdout == "a Size(width=3, heights=[1, 2], flips=False) True\n"
    for wrong in (["a"], ["a", "--width", "0"], ["a", "--size", "3"]):
        assert run(make_app(), wrong).exit_code == 2
    help_text = run(make_app(), ["--help"]).stdout
    assert "Of the image." in help_text
    assert "Say what was given." in help_text
