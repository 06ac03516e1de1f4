"""Print the summary of a labelled zoo."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table


def show_zoo(summary: dict[str, Any], as_json: bool) -> None:
    """Print the groups of a labelled zoo, and which models are below the goals.

    Args:
        summary: of `sac_fast.labelled_zoo.summary.summarise`.
        as_json: one JSON document instead of the table.
    """
    if as_json:
        print_json(summary, "testbed")
        return
    table = make_table(("role", "origin"), ("models", "accuracy, min", "mean", "seconds each"))
    for group in summary["groups"]:
        seconds = group["seconds_mean"]
        table.add_row(
            group["role"],
            Text(escape_text(group["origin"])),
            str(group["count"]),
            _percent(group["accuracy_min"]),
            _percent(group["accuracy_mean"]),
            "" if seconds is None else f"{seconds:.1f}",
        )
    screen = console()
    screen.print(table)
    probes = ", ".join(summary["probes"]) or "none yet"
    trained = f"trained in {summary['seconds']:.0f} s"
    screen.print(f"{summary['models']} models in {escape_text(summary['folder'])}, {trained}; probes: {probes}")
    for row in summary.get("left_out", ()):
        screen.print(Text(escape_text(f"left out: {row['file']}: {row['reason']}")))
    for row in summary["below"]:
        screen.print(Text(f"below {row['goal']:.0%}: {row['name']}, {row['accuracy']:.1%}"))


def show_zoos(summaries: dict[str, dict[str, Any]], as_json: bool) -> None:
    """Print the summaries of several sources' zoos.

    Args:
        summaries: of `sac_fast.labelled_zoo.summary.summarise`, by the source's name.
        as_json: one JSON document instead of the tables.
    """
    if as_json:
        print_json({"sources": summaries}, "testbed.sources")
        return
    for name, summary in summaries.items():
        console().print(Text(escape_text(f"source {name}")))
        show_zoo(summary, as_json=False)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
