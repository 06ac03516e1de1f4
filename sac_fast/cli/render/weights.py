"""What `sac-fast weights` prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from ...verify.weights.result import format_log10_p
from .common import make_table, print_pairs

if TYPE_CHECKING:
    from ...verify.weights import MergeResult, WeightsResult

_STYLES = {
    "identical": "bold red",
    "weights related": "bold red",
    "not distinguished": "green",
    "inconclusive": "yellow",
}
_MAX_ROWS = 200  # of the table; --json has all
_MAX_NAME = 48


def show_weights(result: WeightsResult, as_json: bool) -> None:
    """Print the verdict, the layers compared, and why the others were not."""
    if as_json:
        print_json(result.to_dict(), "weights")
        return
    out = console()
    out.print(Text.assemble("verdict: ", (result.verdict, _STYLES[result.verdict])))
    out.print(Text(result.reason))
    compared = result.compared
    table = make_table(("layer of a", "of b", "stored as"), ("units", "matches", "|cos|", "p"))
    for layer in compared[:_MAX_ROWS]:
        table.add_row(
            Text(escape_text(layer.name, _MAX_NAME)),
            Text("" if layer.other == layer.name else escape_text(layer.other, _MAX_NAME)),
            Text(layer.variant or ""),
            str(layer.units),
            str(layer.matches),
            f"{layer.cosine:.2f}",
            format_log10_p(layer.log10_p),
        )
    out.print(table)
    if len(compared) > _MAX_ROWS:
        out.print(Text(f"… and {len(compared) - _MAX_ROWS} more layers (--json has all)"))
    print_pairs(_summary(result))
    for note in (*result.conditions, *result.warnings):
        out.print(Text(escape_text(f"note: {note}"), style="yellow" if note in result.warnings else "dim"))


def _summary(result: WeightsResult) -> dict[str, str]:
    """Names and values below the table."""
    reasons = Counter(layer.left_out for layer in result.layers if layer.left_out is not None and layer.side == "a")
    facts = {name: value for name, value in result.facts.items() if isinstance(value, dict) and value.get("arrays")}
    smallest = format_log10_p(result.attainable_log10_p)
    rows = {
        "a": result.a,
        "b": result.b,
        "p-value": f"{format_log10_p(result.log10_p)} (smallest attainable: {smallest})",
        "hypothesis": result.hypothesis,
        "error rate": f"{result.alpha:g}",
        "compared": ", ".join(f"{share:.1%} of the values of {name}" for name, share in result.coverage.items()),
    }
    if reasons:
        rows["left out of a"] = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
    if result.reordered is not None:
        found = result.reordered
        rows["units in another order"] = (
            f"{found['verdict']}: {found['share']:.0%} agree once they are matched, p = {found['p_value']:.3g} beside "
            f"{len(found['independents'])} independents (smallest attainable: {found['attainable_p_value']:.3g})"
        )
    if result.ancestor is not None:
        rows["ancestor"] = f"{result.ancestor['name']}: {result.ancestor['statement']} Approximate."
    if (adapter := result.facts.get("adapter")) is not None:
        ranks = ", ".join(map(str, adapter["ranks"]))
        rows["adapter"] = f"of rank {ranks}: {adapter['fitting']} of its {adapter['targets']} layers fit by shape"
    pairs = result.facts["pairs_of_arrays"]
    for name, fact in facts.items():
        rows[name] = f"{fact['arrays']} of {pairs} arrays, {fact['values']:.1%} of their values"
    return rows


def show_merge(child: str, result: MergeResult, as_json: bool) -> None:
    """Print what parents explain of a model, layer by layer."""
    if as_json:
        print_json(result.to_dict(), "weights.merge")
        return
    out = console()
    shares = ", ".join(f"{share:.2f} of {name}" for share, name in zip(result.shares, result.parents, strict=True))
    out.print(
        Text(escape_text(f"{child}: {shares} explain {result.explained:.1%} of held-out rows (medians of layers)"))
    )
    table = make_table(("layer",), (*(escape_text(name, _MAX_NAME) for name in result.parents), "explained"))
    for layer in result.layers[:_MAX_ROWS]:
        shown = [f"{share:.3f}" for share in layer.shares]
        table.add_row(Text(escape_text(layer.name, _MAX_NAME)), *shown, f"{layer.explained:.1%}")
    out.print(table)
    out.print(Text(f"note: {result.compared:.1%} of the values compared; geometry, without a p-value.", style="dim"))
