"""What `sac-fast relatives` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table

if TYPE_CHECKING:
    from ...lineage.relatives import Lineage

_MAX_ROWS = 200  # of a table; --json has all


def show_relatives(found: Lineage, probe_hash: str, notes: tuple[str, ...], as_json: bool) -> None:
    """Print relatives, groups and notes."""
    if as_json:
        print_json({"probe_hash": probe_hash, **found.to_dict(), "notes": [*notes, *found.notes]})
        return
    out = console()
    everyone = len(found.relatives) > 1
    rows = [(name, relative) for name, near in found.relatives.items() for relative in (near[:1] if everyone else near)]
    if everyone:
        rows.sort(key=lambda row: row[1].distance)
    table = make_table(("model", "nearest" if everyone else "relative"), ("distance", "p", "p (Holm)"))
    for name, relative in rows[:_MAX_ROWS]:
        related = found.threshold is not None and relative.distance < found.threshold
        table.add_row(
            Text(escape_text(name)),
            Text(escape_text(relative.name), style="bold red" if related else ""),
            f"{relative.distance:.5f}",
            "" if relative.p_value is None else f"{relative.p_value:.3g}",
            "" if relative.p_holm is None else f"{relative.p_holm:.3g}",
        )
    out.print(table)
    if len(rows) > _MAX_ROWS:
        out.print(Text(f"… and {len(rows) - _MAX_ROWS} more models (--json has all)"))
    if found.threshold is not None:
        out.print(Text(f"\nrelated: nearer than {found.threshold:.5g} (α = {found.alpha:g})"))
        for number, group in enumerate(found.groups, 1):
            shown = ", ".join(escape_text(name) for name in group[:20])
            more = f", … ({len(group)} models)" if len(group) > 20 else ""
            out.print(Text(f"group {number}: {shown}{more}"))
        if not found.groups:
            out.print(Text("no groups"))
    if found.attainable_p_value is not None:
        out.print(Text(f"{len(found.independents)} independents; no p-value below {found.attainable_p_value:.3g}"))
    else:
        out.print(Text("no p-values: tag models that are known to be independent (zoo.toml, zoo.csv)"))
    for note in (*notes, *found.notes):
        out.print(Text(escape_text(f"note: {note}")))
