"""What `sac-fast verify` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from ...verify.sibling_result import format_student
from .common import STYLES, make_table, print_pairs

if TYPE_CHECKING:
    from ...verify.pool import Verification
    from ...verify.verdicts import Verdicts


def show_verdicts(result: Verdicts, as_json: bool) -> None:
    """Print verdicts, their ground, hypothesis and conditions."""
    if as_json:
        print_json(result.to_dict(), "verify")
        return
    names = list(result.verdict)
    out = console()
    if len(names) == 1:
        _show_one(result, names[0])
    else:
        table = make_table(("suspect", "verdict"), ("p", "adjusted"))
        table.add_column("why", overflow="fold")
        for name in sorted(names, key=lambda name: result.p_value[name]):
            verdict = Text(result.verdict[name], style=STYLES[result.verdict[name]])
            numbers = (f"{result.p_value[name]:.4g}", f"{result.adjusted[name]:.4g}")
            table.add_row(Text(escape_text(name)), verdict, *numbers, Text(escape_text(result.reason[name])))
        out.print(table)
    pairs = {
        "source": result.source,
        "ground": f"{result.ground} ({result.why})",
        "score": ", ".join(dict.fromkeys(str(one["score"]) for tried in result.tried.values() for one in tried)),
        "hypothesis": result.hypothesis,
        "false-accusation rate": f"{result.alpha:g}; of this ground {result.realised_rate:.3g} on average",
        "smallest p": f"{result.smallest_p:.4g}",
    }
    if result.siblings is not None:
        pairs["source among siblings"] = "; ".join(one.describe() for one in result.siblings.diagnostics)
    for name, against in result.thefts.items():
        if against:
            of = "" if len(names) == 1 else f", {name}"
            pairs[f"p against thefts{of}"] = ", ".join(f"{attack} {p:.3g}" for attack, p in against.items())
    for name, weights in result.weights.items():
        of = "" if len(names) == 1 else f", {name}"
        pairs[f"weights{of}"] = f"{weights.verdict}: {weights.reason} (no part of the verdict)"
    print_pairs(pairs)
    for condition in result.conditions:
        out.print(Text(escape_text(f"condition: {condition}")))
    for warning in result.warnings:
        out.print(Text(escape_text(f"note: {warning}"), style="yellow"))


def _show_one(result: Verdicts, name: str) -> None:
    out = console()
    out.print(Text.assemble("verdict: ", (result.verdict[name], STYLES[result.verdict[name]])))
    out.print(Text(escape_text(result.reason[name])))
    pairs = {"suspect": name, "p-value": f"{result.p_value[name]:.4g}"}
    if result.siblings is not None:
        pairs["siblings"] = (
            f"exact rank p {result.siblings.p_exact[name]:.4g}, by Student's t "
            f"{format_student(result.siblings.p_student[name])}"
        )
    if name in result.pool:
        pairs |= _pool_pairs(result.pool[name])
    print_pairs(pairs)


def _pool_pairs(found: Verification) -> dict[str, str]:
    verdict, nulls = found.verdict, sorted(found.null_distances.values())
    ratio = "none" if found.ratio is None else f"the suspect is at {found.ratio:.3g} of its correlation distance"
    return {
        "distance": f"{verdict.distance:.6g} ({found.score})",
        "nulls": f"{len(nulls)}, distances {nulls[0]:.6g} … {nulls[-1]:.6g}" if nulls else "none",
        "p by kind": ", ".join(f"{kind} {p:.4g}" for kind, p in verdict.by_kind.items()),
        "nearest null": ratio,
    }
