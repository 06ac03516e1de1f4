"""`--help` in groups: commands by purpose, options by the group that they are of; and errors of wrong usage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import typer
import typer.core

from ..io.text import MAX_ERROR, escape_text
from .checks import refuse_if, running_with

_UsageError: type[Any] = typer.BadParameter.__bases__[0]  # of the click that typer brings

#: Commands by purpose, in the order of the help; a command that stands nowhere comes last.
COMMAND_GROUPS = {
    "Begin": ("info", "demo"),
    "Judge suspects of your model": (
        "audit",
        "probes",
        "fingerprint",
        "siblings",
        "verify",
        "weights",
        "report",
        "pack",
    ),
    "Search many models": ("scan", "relatives", "store"),
    "Measure": ("simulate", "testbed", "evaluate", "bench"),
    "Look": ("show",),
}


@contextlib.contextmanager
def _short_errors() -> Iterator[None]:
    """Within it usage errors repeat no value that is longer than the error of a command may be."""
    try:
        yield
    except _UsageError as error:
        error.message = escape_text(error.message, MAX_ERROR)
        raise


def _option_of(parameter: Any) -> str:
    """What errors call a parameter: the option, or the argument as the help names it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).rstrip(".")
    return str(parameter.opts[0])


class HelpGroup(typer.core.TyperGroup):
    """Lists its commands by `COMMAND_GROUPS`; what it says of wrong usage is as short as other errors."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _short_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _short_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        known = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        commands = {name: command for name, command in known.items() if command is not None and not command.hidden}
        rest = [name for name in commands if not any(name in names for names in COMMAND_GROUPS.values())]
        width = formatter.width - 6 - max(map(len, commands))
        for heading, names in {**COMMAND_GROUPS, "Others": rest}.items():
            rows = [(name, commands[name].get_short_help_str(width)) for name in names if name in commands]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class HelpCommand(typer.core.TyperCommand):
    """Lists its options by the groups of `expand_option_groups`, its own first.

    No value that is given may be empty: an empty path would be the current folder. `check_output_path` is told all.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            value = given.get(parameter.name)
            empty = "" in value if isinstance(value, (list, tuple)) else value == ""
            refuse_if(empty, _option_of(parameter), "must not be empty")
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def invoke(self, ctx: Any) -> Any:
        with running_with({_option_of(one): ctx.params.get(one.name) for one in self.get_params(ctx)}):
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                group = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault("Arguments" if is_argument else group, []).append(record)
        for heading, rows in sections.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
