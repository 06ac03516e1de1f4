"""Print what was made in a folder of siblings, and what was drawn from it."""

from __future__ import annotations

import sys
from typing import Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table, print_pairs


def show_siblings(made: dict[str, Any], as_json: bool) -> None:
    """Print the siblings; what failed and warnings go to stderr.

    Args:
        made: of `sac_fast.make_siblings`.
        as_json: one JSON document instead of the table.
    """
    if as_json:
        print_json(made, "siblings.make")
        return
    table = make_table(("model", "how"), ("seed", "accuracy", "seconds"))
    for member in made["members"]:
        how = str(member["details"].get("how", ""))
        table.add_row(
            member["name"],
            Text(escape_text(how if member["role"] == "sibling" else f"{how}, the source")),
            "" if how == "owned" else str(member["seed"]),
            "" if member["accuracy"] is None else f"{member['accuracy']:.1%}",
            "" if member["seconds"] is None else f"{member['seconds']:.1f}",
        )
    screen = console()
    screen.print(table)
    screen.print(
        f"{len(made['made'])} made, {len(made['kept'])} there already, {len(made['failed'])} failed; "
        f"in {escape_text(made['folder'])}; probes: {escape_text(', '.join(made['probes'])) or 'none yet'}"
    )
    screen.print(Text(f"commitment of `sac-fast siblings draw`, to be published: {made['commitment']}"))
    for note in made["notes"]:
        screen.print(Text(escape_text(f"note: {note}")))
    for warning in made["warnings"]:
        print(escape_text(f"sac-fast: warning: {warning}"), file=sys.stderr)
    for name, reason in made["failed"].items():
        print(escape_text(f"sac-fast: {name}: {reason}"), file=sys.stderr)


def show_draw(drawn: dict[str, Any], as_json: bool) -> None:
    """Print the source that was picked among its siblings.

    Args:
        drawn: of `draw_source` or `verify_draw`.
        as_json: one JSON document instead of the table.
    """
    if as_json:
        print_json(drawn, "siblings.draw")
        return
    table = make_table(("model", ""), ("accuracy",))
    for name, accuracy in drawn["accuracies"].items():
        mark = "source" if name == drawn["source"] else ""
        table.add_row(Text(escape_text(name)), mark, "" if accuracy is None else f"{accuracy:.1%}")
    screen = console()
    screen.print(table)
    rank, count = drawn["accuracy_rank"], len(drawn["accuracies"])
    print_pairs(
        {
            "source": drawn["source"],
            "weights": drawn["weights"] or "not in the folder",
            "picked": "by the committed draw" if drawn["choice"] == "committed" else "as the best",
            "commitment": drawn["commitment"],
            "accuracy": "not known of all" if rank is None else f"number {rank} of {count}",
            "effect": drawn["effect"],
        }
    )
    if "problems" not in drawn:
        return
    for problem in drawn["problems"]:
        print(escape_text(f"sac-fast: the draw does not hold: {problem}"), file=sys.stderr)
    if not drawn["problems"]:
        screen.print("the draw holds: seed, commitment, members and weights give this source")
