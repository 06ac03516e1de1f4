"""From scores to AUCs, for every attack and every kind of independent model, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sac_fast.labelled_zoo.folder import NULL_KINDS, ZooMember
from sac_fast.verdict import auc


def _auc(near: Sequence[float], far: Sequence[float]) -> float | None:
    return auc(near, far) if near and far else None


def summarise(scores: Mapping[str, float | None], members: Sequence[ZooMember]) -> dict[str, Any]:
    """AUCs of one method: the chance that a stolen model scores below an independent one.

    Members without a score, to which the method does not apply, are left out of every AUC and named.

    Args:
        scores: of the members, by name; None where the method does not apply.
        members: of the zoo; the source does not count.

    Returns:
        ``overall``; ``by_attack`` (against all independents); ``mean_over_attacks`` and the same without the
        adaptive ones;
        ``by_null_kind`` (all stolen models against one kind); ``by_attack_and_null_kind``; ``counts``;
        ``not_applicable``. An AUC without models on both sides is None.
    """
    known = {m.name: score for m in members if m.role != "source" and (score := scores.get(m.name)) is not None}
    stolen = {m.name: m.origin for m in members if m.role == "stolen" and m.name in known}
    independent = {m.name: m.origin for m in members if m.role == "independent" and m.name in known}
    attacks = sorted({m.origin for m in members if m.role == "stolen"})
    kinds = [kind for kind in NULL_KINDS if any(m.origin == kind for m in members)]

    def of(origins: Mapping[str, str], origin: str | None = None) -> list[float]:
        return [known[name] for name, found in origins.items() if origin is None or found == origin]

    by_attack = {attack: _auc(of(stolen, attack), of(independent)) for attack in attacks}
    values = {attack: value for attack, value in by_attack.items() if value is not None}
    plain = [value for attack, value in values.items() if not attack.startswith("adaptive")]
    return {
        "overall": _auc(of(stolen), of(independent)),
        "mean_over_attacks": statistics.mean(values.values()) if values else None,
        "mean_over_non_adaptive_attacks": statistics.mean(plain) if plain else None,
        "by_attack": by_attack,
        "by_null_kind": {kind: _auc(of(stolen), of(independent, kind)) for kind in kinds},
        "by_attack_and_null_kind": {
            attack: {kind: _auc(of(stolen, attack), of(independent, kind)) for kind in kinds} for attack in attacks
        },
        "counts": {"stolen": len(stolen), "independent": len(independent)},
        "not_applicable": sorted(m.name for m in members if m.role != "source" and scores.get(m.name, 0) is None),
    }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: one line for each method and budget.

    Args:
        results: as `run_methods` returns them.
    """
    attacks = sorted({attack for result in results for attack in result["auc"]["by_attack"]})
    kinds = [kind for kind in NULL_KINDS if any(kind in result["auc"]["by_null_kind"] for result in results)]
    head = ["method", "queries", "make (CPU s)", "suspect (CPU ms)", "n/a", "all", "mean", *kinds, *attacks]
    lines = [head, ["---"] * len(head)]
    for result in results:
        aucs = result["auc"]
        lines.append(
            [
                result["title"],
                str(result["queries"]),
                f"{result['prepare_cpu_seconds']:.1f}",
                f"{1000 * result['median_suspect_cpu_seconds']:.0f}",
                str(len(aucs["not_applicable"])),
                _figure(aucs["overall"]),
                _figure(aucs["mean_over_non_adaptive_attacks"]),
                *(_figure(aucs["by_null_kind"].get(kind)) for kind in kinds),
                *(_figure(aucs["by_attack"].get(attack)) for attack in attacks),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
