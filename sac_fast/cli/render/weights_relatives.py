"""What `sac-fast weights FOLDER` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from ...verify.weights.result import format_log10_p
from .common import make_table, print_pairs

if TYPE_CHECKING:
    from ...lineage.weights_result import WeightsRelatives

_MAX_ROWS = 200  # of a table; --json has all
_MAX_NAMES = 20  # of a group


def show_weights_relatives(found: WeightsRelatives, as_json: bool) -> None:
    """Print related pairs, groups, copies and failures."""
    if as_json:
        print_json(found.to_dict(), "weights.folder")
        return
    out = console()
    table = make_table(("a", "b", "verdict", "values"), ("p", "p (Holm)"))
    for pair in found.pairs[:_MAX_ROWS]:
        facts = [f"{share:.0%} {relation}" for relation, share in pair.shares.items()]
        if pair.leaf is not None:
            facts.append(f"{escape_text(pair.leaf)} is the copy: {pair.leaf_because}")
        table.add_row(
            Text(escape_text(pair.a)),
            Text(escape_text(pair.b)),
            Text(pair.verdict, style="bold red"),
            Text("; ".join(facts)),
            format_log10_p(pair.log10_p),
            f"{pair.p_holm:.3g}",
        )
    if found.pairs:
        out.print(table)
    if len(found.pairs) > _MAX_ROWS:
        out.print(Text(f"… and {len(found.pairs) - _MAX_ROWS} more pairs (--json has all)"))
    for number, group in enumerate(found.groups, 1):
        out.print(Text(f"group {number}: {_list(group)}"))
    for group in found.duplicates:
        out.print(Text(f"same weights: {_list(group)}"))
    print_pairs(
        {
            "models": f"{found.models}, {len(found.failures)} failures",
            "pairs": f"{found.tests}, of which {found.candidates} had sketches that agree and were tested exactly",
            "related": f"{len(found.pairs)} pairs in {len(found.groups)} groups",
            "hypothesis": found.hypothesis,
            "error rate": f"{found.alpha:g} for all pairs together",
        }
    )
    for name, reason in found.failures.items():
        out.print(Text(escape_text(f"failed: {name}: {reason}"), style="yellow"))
    if found.not_comparable:
        out.print(Text(f"too few comparable layers (inconclusive): {_list(found.not_comparable)}", style="yellow"))
    for note in (*found.conditions, *found.warnings):
        out.print(Text(escape_text(f"note: {note}"), style="dim"))


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(escape_text(name) for name in names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown}, … ({len(names)} models)"
