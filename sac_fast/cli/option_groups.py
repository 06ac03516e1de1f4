"""Groups of options: a command takes a dataclass, and each of its fields is an option."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints


def expand_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A typer command in whose signature every parameter that is a dataclass is replaced by its fields.

    A field is annotated as typer takes a parameter, ``Annotated[int, typer.Option(…)]``; its default is the option's.

    Args:
        command: a function whose annotations are known at run time.

    Returns:
        The command for ``app.command()``, which builds the dataclasses and calls the function.
    """
    groups: dict[str, Any] = {
        name: hint for name, hint in get_type_hints(command).items() if dataclasses.is_dataclass(hint)
    }
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            annotation = hints[name]
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {}
    return call


def _parameters(group: Any) -> list[inspect.Parameter]:
    heading = (inspect.getdoc(group) or "").splitlines()[0].rstrip(".")
    hints = {name: _under(heading, hint) for name, hint in get_type_hints(group, include_extras=True).items()}
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def _under(heading: str, hint: Any) -> Any:
    """The same option under a heading of the help."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, option, *more = get_args(hint)
    option = copy.copy(option)  # other groups share it
    option.rich_help_panel = heading
    return Annotated[(kind, option, *more)]
