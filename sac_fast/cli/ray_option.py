"""``--ray [ADDRESS]``: run on a Ray cluster."""

from __future__ import annotations

import re
from typing import Annotated, Any

from typer import Option

from .help import HelpCommand

_ADDRESS = re.compile(r"auto|local|ray://.+|[^/\s]+:[0-9]+")

RayAddress = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run on a Ray cluster (extra ray): host:port or ray://…; alone: a running one, else a new one.",
    ),
]


class RayCommand(HelpCommand):
    """Accepts ``--ray`` without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for position, word in enumerate(args):
            after = args[position + 1] if position + 1 < len(args) else ""
            if word == "--ray" and not _ADDRESS.fullmatch(after):
                args = [*args[:position], "--ray=auto", *args[position + 1 :]]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed
