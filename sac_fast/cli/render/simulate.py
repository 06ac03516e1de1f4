"""Print what a simulation made."""

from __future__ import annotations

import sys
from typing import Any

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table


def show_simulation(summary: dict[str, Any], as_json: bool) -> None:
    """Print the models of a simulation by role and origin; what was left out or failed goes to stderr.

    Args:
        summary: of `sac_fast.simulate`.
        as_json: one JSON document instead of the table.
    """
    if as_json:
        print_json(summary, "simulate")
        return
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for member in summary["members"]:
        rows.setdefault((member["role"], member["origin"]), []).append(member)
    table = make_table(("role", "origin", "models", "accuracy", "seconds a model"))
    for (role, origin), members in rows.items():
        table.add_row(role, origin, str(len(members)), _range(members, "accuracy", 3), _range(members, "seconds", 1))
    screen = console()
    screen.print(table)
    screen.print(
        f"{len(summary['made'])} made, {len(summary['kept'])} there already, {len(summary['failed'])} failed; "
        f"in {escape_text(summary['folder'])}"
    )
    for name, reason in {**summary["left_out"], **summary["failed"]}.items():
        print(f"sac-fast: {escape_text(f'{name}: {reason}')}", file=sys.stderr)
    for warning in summary["warnings"]:
        print(f"sac-fast: note: {escape_text(warning)}", file=sys.stderr)


def _range(members: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [member[key] for member in members if member[key] is not None]
    if not values:
        return "-"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} … {high}"
