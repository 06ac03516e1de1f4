"""What `sac-fast relatives` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import make_table

if TYPE_CHECKING:
    from ...lineage.result import Lineage, Relative

_MAX_ROWS = 200  # of a table; --json has all
_MAX_NAMES = 20
_MAX_INDENTED = 1_000


def show_relatives(found: Lineage, probe_hash: str, notes: tuple[str, ...], as_json: bool) -> None:
    """Print relatives, why they are called related, groups and notes."""
    if as_json:
        values = {"probe_hash": probe_hash, **found.to_dict(), "notes": [*notes, *found.notes]}
        print_json(values, "relatives", is_large=len(found.relatives) > _MAX_INDENTED)
        return
    out = console()
    everyone = len(found.relatives) > 1
    rows = [(name, relative) for name, near in found.relatives.items() for relative in (near[:1] if everyone else near)]
    if everyone:
        rows.sort(key=lambda row: row[1].distance)
    columns = _columns(found)
    table = make_table(("model", "nearest" if everyone else "relative"), columns)
    table.add_column("related by", overflow="fold")
    for name, relative in rows[:_MAX_ROWS]:
        cells = _cells(relative)
        table.add_row(
            Text(escape_text(_with_others(found, name))),
            Text(escape_text(_with_others(found, relative.name)), style="bold red" if relative.grounds else ""),
            *(cells[column] for column in columns),
            ", ".join(relative.grounds),
        )
    out.print(table)
    if len(rows) > _MAX_ROWS:
        out.print(Text(f"… and {len(rows) - _MAX_ROWS} more models (--json has all)"))
    _show_groups(found)
    for line in _explain(found):
        out.print(Text(escape_text(line)))
    for note in (*notes, *found.notes):
        out.print(Text(escape_text(f"note: {note}")))


def _columns(found: Lineage) -> list[str]:
    """Of what there is evidence at all."""
    near = [relative for of in found.relatives.values() for relative in of]
    columns = ["distance"]
    if any(relative.p_value is not None for relative in near):
        columns += ["p", "p (Holm)"]
    if found.siblings is not None:
        columns.append("p (siblings)")
    if found.weights:
        columns.append("weights")
    return columns


def _cells(relative: Relative) -> dict[str, str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    return {
        "distance": f"{relative.distance:.5f}",
        "p": number(relative.p_value),
        "p (Holm)": number(relative.p_holm),
        "p (siblings)": number(relative.p_siblings),
        "weights": relative.weights or "",
    }


def _with_others(found: Lineage, name: str) -> str:
    """The name, and the other names of the same model."""
    others = found.duplicates.get(name, ())
    return name if not others else f"{name} (= {_listed(others)})"


def _listed(names: tuple[str, ...]) -> str:
    more = f", … ({len(names)} models)" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _show_groups(found: Lineage) -> None:
    out = console()
    out.print("")
    if found.threshold is not None:
        out.print(Text(f"related by distance: nearer than {found.threshold:.5g} (α = {found.alpha:g}), in one group"))
    for number, group in enumerate(found.groups, 1):
        out.print(Text(f"group {number}: {escape_text(_listed(group))}"))
    if not found.groups:
        out.print(Text("no groups"))


def _explain(found: Lineage) -> list[str]:
    """What the p-values are p-values of, and what the weights tell of the direction."""
    lines = []
    if found.attainable_p_value is not None:
        lines.append(f"{len(found.independents)} independents; no p-value below {found.attainable_p_value:.3g}")
        lines.append(f"p: what a small one rejects: {found.hypothesis}")
        lines += [f"condition: {condition}" for condition in found.conditions]
    else:
        lines.append(
            "no p-values by independents: tag models that are known to be independent (zoo.toml, zoo.csv); "
            "distances alone are a ranking and accuse nobody"
        )
    if found.siblings is not None:
        tested = found.siblings
        derived = tuple(name for name, word in tested.verdict.items() if word.startswith("derived"))
        lines.append(
            f"siblings of {tested.source} ({len(tested.siblings)}), {len(tested.verdict)} suspects: "
            f"{'none' if not derived else _listed(derived)} derived{'' if tested.exact else ' (approximate)'}; "
            f"a small p rejects: {tested.hypothesis}"
        )
    related = [pair for pair in found.weights if pair.is_related]
    if found.weights:
        lines.append(
            f"weights of {len(found.weights)} near pairs: {len(related)} related, by a copy in either direction or by "
            "a common ancestor"
        )
    for pair in related:
        if pair.leaf is not None:
            other = pair.b if pair.leaf == pair.a else pair.a
            lines.append(f"direction: {pair.leaf} lost values that {other} has, so {other} was not made from it")
        if pair.older is not None:
            lines.append(f"claim: by its time stamp the file of {pair.older} is the older of {pair.a} and {pair.b}")
    return lines
