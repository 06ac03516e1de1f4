"""An evaluation as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.text import csv_text, map_texts, markdown_text
from .loaded_zoo import is_adaptive

RATES = ("0.01", "0.05")


def markdown(results: Mapping[str, Any], command: str | None = None) -> str:
    """Tables: the zoo, the methods, attack × method with intervals, with explanations.

    Args:
        results: results of `evaluate`.
        command: command line to name as their origin.
    """
    results = map_texts(results, markdown_text)
    methods = results["methods"]
    kinds = list(dict.fromkeys(kind for method in methods for kind in method["mean_auc_by_kind"]))
    lines = ["# Evaluation", ""]
    if command:
        lines += [f"Made by `{command}` in {results['seconds']:.0f} s.", ""]
    lines += [*_zoo(results["zoo"]), "", "## Methods", ""]
    head = ["method", "probes", "s a suspect", "mean AUC", *kinds, "TPR at 1 % FPR", "TPR at 5 % FPR"]
    lines += format_rows(head, [_method_cells(method, kinds) for method in methods])
    lines += ["", "Means over the non-adaptive attacks, each attack alike, against all independents (columns by kind: "
              "against that kind alone). In brackets: 95 % intervals over other models of the same kinds."]  # fmt: skip
    lines += ["", "Time of a suspect: its comparison, and its outputs where both were timed (peers run the models "
              "themselves; ours with --time-queries)."]  # fmt: skip
    if any(method["not_comparable"] for method in methods):
        lines += ["A method that cannot compare models of other classes counts ½ (AUC) and 0 (TPR) for those attacks "
                  "(–)."]  # fmt: skip
    lines += ["", "## AUC, attack × method", ""]
    rows = [[attack, str(count), *(_attack(m, attack) for m in methods)] for attack, count in _attacks(results)]
    lines += format_rows(["attack", "models", *(m["name"] for m in methods)], rows)
    lines += ["", "## Accusation matrix: independents of one kind judged by nulls of another", "", *_matrix(methods)]
    for name, reason in results["not_evaluated"].items():
        lines += ["", f"Not evaluated: {name}: {reason}"]
    for method in methods:
        for note in method["details"].get("notes", []):
            lines += ["", f"Note on {method['name']}: {note}"]
    if "grid" in results:
        figures = ("mean_auc", "mean_auc_same_data", "mean_tpr_5")
        rows = [[row["score"], *(_number(row[key]) for key in figures)] for row in results["grid"][:20]]
        lines += ["", "## The best fixed scores of the grid", ""]
        lines += format_rows(["score", "mean AUC", "same-data independents", "TPR at 5 % FPR"], rows)
    return "\n".join(lines) + "\n"


def csv_rows(results: Mapping[str, Any]) -> str:
    """One line for each method and suspect, with its distance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "queries", "member", "role", "origin", "architecture", "accuracy", "distance"])
    for method in results["methods"]:
        for name, distance in method["distances"].items():
            who = results["members"][name]
            cells = [method["name"], method["queries"], name, who["role"], who["origin"], who["architecture"]]
            cells = [csv_text(cell) if isinstance(cell, str) else cell for cell in cells]
            writer.writerow([*cells, who["accuracy"], "" if distance is None else repr(distance)])
    return text.getvalue()


def format_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _zoo(zoo: Mapping[str, Any]) -> list[str]:
    source = zoo["source"]
    accuracy = "" if source["accuracy"] is None else f", {source['accuracy']:.1%} of the test images right"
    probes = ", ".join(f"{name} {count}" for name, count in zoo["probes"].items())
    rows = []
    for group in sorted(zoo["groups"], key=lambda g: (g["role"] != "source", g["role"], g["adaptive"], g["origin"])):
        known = group["accuracy"]
        shares = ["–"] * 3 if known is None else [f"{known[key]:.1%}" for key in ("lowest", "median", "highest")]
        name = group["origin"] if group["role"] == "source" else f"{group['role']}: {group['origin']}"
        rows.append([name, str(group["count"]), *shares])
    lines = [f"Source: {source['architecture']}{accuracy}. Probes: {probes}.", ""]
    lines += format_rows(["models", "number", "accuracy, lowest", "median", "highest"], rows)
    if zoo["skipped"]:
        lines += ["", f"Left out, without outputs to all probes: {len(zoo['skipped'])} models."]
    return lines


def _method_cells(method: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    by_kind = [_number(method["mean_auc_by_kind"].get(kind)) for kind in kinds]
    rates = [_mean(method, f"tpr_at_fpr:{rate}", method["mean_tpr"][rate], 2) for rate in RATES]
    cells = [method["name"], str(method["queries"]), _seconds(method), _mean(method, "auc", method["mean_auc"], 3)]
    return [*cells, *by_kind, *rates]


def _attacks(results: Mapping[str, Any]) -> list[tuple[str, int]]:
    groups = [g for g in results["zoo"]["groups"] if g["role"] == "stolen"]
    return [(g["origin"], g["count"]) for g in sorted(groups, key=lambda g: (g["adaptive"], g["origin"]))]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _estimate(estimate: Mapping[str, Any] | None, digits: int = 2) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    interval = estimate["over_models"]
    value = f"{estimate['value']:.{digits}f}"
    return value if interval is None else f"{value} [{interval['low']:.2f}, {interval['high']:.2f}]"


def _mean(method: Mapping[str, Any], key: str, value: float | None, digits: int) -> str:
    evaluated = method["non_adaptive"]
    # The interval is of the mean over the comparable attacks, which is another figure if there are others.
    if evaluated is None or any(not is_adaptive(attack) for attack in method["not_comparable"]):
        return _number(value, digits)
    return _estimate(evaluated["mean_over_attacks"][key], digits)


def _attack(method: Mapping[str, Any], attack: str) -> str:
    evaluated = method["adaptive" if is_adaptive(attack) else "non_adaptive"]
    if evaluated is None or attack not in evaluated["attacks"]:
        return "–"
    return _estimate(evaluated["attacks"][attack]["auc"])


def _seconds(method: Mapping[str, Any]) -> str:
    known = [s for s in (method["query_seconds"], method["compare_seconds"]) if s is not None]
    return f"{sum(known):.3g}" if known else "–"


def _matrix(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [(method["name"], cell) for method in methods for cell in method["accusation_matrix"]]
    if not cells:
        return ["No kind has enough nulls."]
    judged = list(dict.fromkeys(cell["judged"] for _, cell in cells))
    rows = []
    for name, alpha, nulls in dict.fromkeys((name, cell["alpha"], cell["nulls"]) for name, cell in cells):
        at = {cell["judged"]: f"{cell['accused']}/{cell['models']}" for of, cell in cells
              if (of, cell["alpha"], cell["nulls"]) == (name, alpha, nulls)}  # fmt: skip
        rows.append([name, f"{alpha:.0%}", nulls, *(at.get(kind, "–") for kind in judged)])
    lines = format_rows(["method", "α", "nulls ↓, judged →", *judged], rows)
    return [*lines, "", "Accused of judged models; those of the nulls' own kind are judged by the others of it."]
