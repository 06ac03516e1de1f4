"""Print the demo's table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from ...verify.sibling_result import format_student
from .common import make_table


def show_demo(results: dict[str, Any], out: Path, as_json: bool) -> None:
    """Print the verdicts on all suspects, the null pool's view, and the commands that reproduce a row.

    Args:
        results: of `run_demo`.
        out: its folder.
        as_json: one JSON document instead of the table.
    """
    if as_json:
        print_json(results, "demo")
        return
    screen = console()
    source, siblings = results["source"], results["siblings"]
    shown, probes = [member["accuracy"] for member in siblings], results["settings"]["probes"]
    screen.print(
        f"source: {source['architecture']}, {source['accuracy']:.1%} of the test patches right; {len(siblings)} "
        f"siblings, trained alike with other seeds, {min(shown):.1%} … {max(shown):.1%}; {probes:,} probes"
    )
    screen.print(f"hypothesis: {results['hypothesis']}")
    table = make_table(("suspect", "what it is"), ("accuracy", "p exact", "adjusted", "Student"))
    for heading in ("weights", "verdict", "right?"):
        table.add_column(heading, no_wrap=True)
    for row in results["models"]:
        table.add_row(
            Text(row["name"]),
            Text(row["origin"]),
            f"{row['accuracy']:.1%}",
            f"{row['p_exact']:.2f}",
            f"{row['p_adjusted']:.2f}",
            format_student(row["p_student"]),
            Text(row["weights"]["verdict"] if row["weights"] else "no file"),
            Text(row["verdict"], style="bold red" if row["verdict"].startswith("derived") else "green"),
            "right" if row["correct"] else "wrong",
        )
    screen.print(table)
    rank = "the exact rank" if results["exact"] else "Student's t, approximate"
    pool, labels = results["null_pool"], results["summary"]["by_labels"]
    everything = results["summary"]["verdict"]
    rest = f"{everything['found'] - labels['found']} of {everything['thefts'] - labels['thefts']}"
    screen.print(
        f"siblings, α = {results['alpha']:.0%} for each suspect, verdicts by {rank} (p ≥ {results['smallest_p']:.2f}): "
        f"{_count(everything)}\n"
        f"of the thefts by labels, which leave little of one source (labels are at least half of the thief's loss), "
        f"{labels['found']} of {labels['thefts']} found; of all others {rest}\n"
        f"null pool of the {pool['count']} honest models, one score ({pool['metric']}, {pool['comparison']}), "
        f"α = {pool['alpha']:.0%} (p ≥ {pool['smallest_p']:.2f}): {_count(results['summary']['null_verdict'])}\n"
        "weights related: also an honest model from the same public backbone is\n"
        f"everything is in {escape_text(out)} (results.json)\n"
        "one row again, by hand:"
    )
    for command in results["reproduce"]:
        print("  " + escape_text(command))


def _count(summary: Mapping[str, int]) -> str:
    return (
        f"{summary['found']} of {summary['thefts']} thefts found, "
        f"{summary['accused']} of {summary['honest']} honest models accused"
    )
