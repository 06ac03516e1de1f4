"""The evaluation of several sources as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..io.text import map_texts, markdown_text
from .paper_tables import paper_markdown
from .rates import ALL
from .rulings import COHORT, EXACT, KIN, LARGE_POOL, MIXED_POOL, POOL, STUDENT
from .sources import PAPER
from .tables import format_rows

_ALPHA = 0.05


def protocol_markdown(results: Mapping[str, Any], command: str | None = None) -> str:
    """Tables: sources, accusations by kind, matrix, thefts found, statistics, choices, cost.

    Args:
        results: results of `evaluate_sources`.
        command: command line to name as their origin.
    """
    results = map_texts(results, markdown_text)
    lines = ["# Evaluation on several sources", ""]
    if command:
        lines += [f"Made by `{command}` in {results['seconds']:.0f} s from recorded outputs.", ""]
    lines += [*_sources(results), "", *_accusations(results), "", *_matrix(results), "", *_found(results), ""]
    lines += [
        *_weights(results),
        "",
        *_by_count(results),
        "",
        *paper_markdown(results),
        *_statistics(results),
        "",
        *_choices(results),
        "",
        *_cost(results),
    ]
    return "\n".join(lines) + "\n"


def _sources(results: Mapping[str, Any]) -> list[str]:
    rows = []
    for source in results["sources"]:
        honest = [group for group in source["groups"] if group["role"] == "independent"]
        stolen = sum(group["count"] for group in source["groups"] if group["role"] == "stolen")
        kinds = ", ".join(f"{group['origin']} {group['count']}" for group in honest)
        accuracy = "–" if source["accuracy"] is None else f"{source['accuracy']:.1%}"
        little = len(source["stole_little"])
        rows.append(
            [
                source["key"], accuracy, str(source["siblings"]), f"{stolen} ({little} stole little)", kinds,
                f"{source['probe_count']} {source['probe_set']}",
            ]
        )  # fmt: skip
    lines = [f"{len(rows)} sources, {sum(s['models'] for s in results['sources'])} models.", ""]
    lines += format_rows(["source", "accuracy", "siblings", "thefts", "honest models", "probes"], rows)
    lines += [
        "",
        "A theft that lost more than 5 points of the source's accuracy stole little: it is listed, not counted.",
    ]
    for folder, reason in results["left_out"].items():
        lines += ["", f"Left out: {folder}: {reason}"]
    return lines


def _accusations(results: Mapping[str, Any]) -> list[str]:
    rows = [row for row in results["accusations"] if row["probes"] is None and row["alpha"] == _ALPHA]
    kinds = list(dict.fromkeys(row["of"] for row in rows))
    lines = [f"## Honest models accused at α = {_ALPHA:.0%}", ""]
    cells = {(row["ground"], row["siblings"], row["of"]): row for row in rows}
    table = [
        [_ground(ground, siblings), *(_share(cells.get((ground, siblings, kind))) for kind in kinds)]
        for ground, siblings in dict.fromkeys((row["ground"], row["siblings"]) for row in rows)
    ]
    lines += format_rows(["ground", *(f"{kind} (left-over)" if kind == KIN else kind for kind in kinds)], table)
    lines += ["", "Accused of judged models, exact (Clopper–Pearson) 95 % interval over models; after the bar the "
              "interval over sources (Student's t), which is the one to trust: honest models of one source are right "
              "or wrong together."]  # fmt: skip
    if results["rotated"]:
        lines += ["", "With each of source and siblings in the role of the source, Student's t:", ""]
        rows = [row for row in results["rotated"] if row["alpha"] == _ALPHA]
        kinds = list(dict.fromkeys(row["of"] for row in rows))
        at = {(row["siblings"], row["of"]): row for row in rows}
        counts = sorted({row["siblings"] for row in rows})
        lines += format_rows(
            ["siblings", *kinds], [[str(count), *(_share(at.get((count, kind))) for kind in kinds)] for count in counts]
        )
    for row in results["family_wise"]:
        lines += ["", f"Max-T at α = {row['alpha']:.0%}: any honest model accused in {row['hits']} of {row['models']} "
                  "sources."]  # fmt: skip
    return lines


def _matrix(results: Mapping[str, Any]) -> list[str]:
    lines = ["## Accusation matrix: nulls' kind × judged kind", ""]
    if not results["matrix"]:
        return [*lines, "No kind has enough nulls."]
    for statistic, alpha in dict.fromkeys((row["statistic"], row["alpha"]) for row in results["matrix"]):
        rows = [row for row in results["matrix"] if (row["statistic"], row["alpha"]) == (statistic, alpha)]
        judged = list(dict.fromkeys(row["judged"] for row in rows))
        at = {(row["nulls"], row["judged"]): row for row in rows}
        table = [
            [nulls, *(_share(at.get((nulls, kind))) for kind in judged)]
            for nulls in dict.fromkeys(row["nulls"] for row in rows)
        ]
        lines += [f"{statistic}, α = {alpha:.0%}:", "", *format_rows(["nulls ↓, judged →", *judged], table), ""]
    return lines[:-1]


def _found(results: Mapping[str, Any]) -> list[str]:
    rows = [row for row in results["found"] if row["probes"] is None and row["working"]]
    lines = [f"## Thefts found at α = {_ALPHA:.0%}, by attack", ""]
    at = {(row["ground"], row["siblings"], row["of"]): row for row in rows if row["alpha"] == _ALPHA}
    grounds = list(dict.fromkeys((ground, siblings) for ground, siblings, _ in at))
    attacks = list(dict.fromkeys(row["of"] for row in rows if row["level"] == "attack"))
    pools = (MIXED_POOL, f"{LARGE_POOL}, {COHORT}", f"{LARGE_POOL}, contrast")
    shown = [ground for ground in grounds if ground[0] in (EXACT, STUDENT) or ground[0].startswith(pools)]
    table = [[attack, *(_count(at.get((*ground, attack))) for ground in shown)] for attack in (*attacks, ALL)]
    paper = [attack for attack in attacks if attack.startswith(PAPER)]
    of_paper = [_sum([at.get((*ground, attack)) for attack in paper]) for ground in shown]
    lines += format_rows(
        ["attack", *(_ground(*ground) for ground in shown)], [*table, ["the paper's attacks", *of_paper]]
    )
    every = {ground: at[*ground, ALL] for ground in shown if (*ground, ALL) in at}
    lines += ["", *_by_task(every, results["sources"])]
    little = [row for row in results["found"] if row["probes"] is None and not row["working"] and row["of"] == ALL
              and row["alpha"] == _ALPHA]  # fmt: skip
    lines += [
        "",
        *(f"Of those that stole little, {_ground(row['ground'], row['siblings'])}: {_count(row)}." for row in little),
    ]
    lines += ["", "The exact sibling test has no p below 1/(K + 1), and a null pool accuses nobody where a kind has "
              "fewer than 1/α − 1 nulls: the verdict is then inconclusive."]  # fmt: skip
    lines += ["", "All thefts, by rate:", ""]
    totals = {(row["ground"], row["siblings"], row["alpha"]): row for row in rows if row["level"] == "all"}
    alphas = sorted({alpha for *_, alpha in totals})
    table = [[_ground(*ground), *(_share(totals.get((*ground, alpha))) for alpha in alphas)] for ground in grounds]
    lines += format_rows(["ground", *(f"α = {alpha:.0%}" for alpha in alphas)], table)
    return lines


def _by_task(rows: Mapping[tuple[str, int], Mapping[str, Any]], sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """All thefts, task by task, by the grounds that all sources have."""
    task_of = [source["key"].split("/")[0] for source in sources]
    tasks = list(dict.fromkeys(task_of))
    table = []
    for ground, row in rows.items():
        if len(row["by_source"]) != len(sources):
            continue
        cells = [_ground(*ground)]
        for task in tasks:
            pairs = [pair for of, pair in zip(task_of, row["by_source"], strict=True) if of == task]
            cells.append(f"{sum(hits for hits, _ in pairs)}/{sum(models for _, models in pairs)}")
        table.append(cells)
    return format_rows(["ground, all thefts", *tasks], table)


def _weights(results: Mapping[str, Any]) -> list[str]:
    lines = ["## Weights test against the source's file, α = 0.1 %", ""]
    if not results["weights"]:
        return [*lines, "No weights are kept."]
    verdicts = sorted({name for row in results["weights"] for name in row["verdicts"]})
    table = [
        [row["task"], row["role"], row["origin"], *(str(row["verdicts"].get(name, 0)) for name in verdicts)]
        for row in results["weights"]
    ]
    lines += format_rows(["task", "role", "origin", *verdicts], table)
    return [*lines, "", "Models of one public backbone, siblings included, have related weights without any theft."]


def _by_count(results: Mapping[str, Any]) -> list[str]:
    rows = [row for row in results["found"] if row["probes"] is not None and row["working"] and row["level"] == "all"
            and row["alpha"] == _ALPHA and row["ground"] in (EXACT, STUDENT)]  # fmt: skip
    if not rows:
        return ["## Queries", "", "Too few probes to leave some out."]
    accused = {
        (row["ground"], row["probes"]): row
        for row in results["accusations"]
        if row["of"] == ALL and row["alpha"] == _ALPHA
    }
    lines = ["## Queries: thefts found and honest models accused, most disputed probes first", ""]
    table = []
    for row in sorted(rows, key=lambda row: (row["ground"], row["probes"])):
        honest = accused.get((row["ground"], row["probes"]))
        table.append([str(row["probes"]), row["ground"], str(row["siblings"]), _share(row), _share(honest)])
    return lines + format_rows(["probes", "ground", "siblings", "found", "honest accused"], table)


def _statistics(results: Mapping[str, Any]) -> list[str]:
    rows = []
    ordered = sorted(results["statistics"], key=lambda row: (row["queries"] or 1 << 40, -(row["mean_auc"] or 0.0)))
    for row in ordered:
        values = [v for v in row["mean_auc_by_source"].values() if v is not None]
        spread = f"{min(values):.3f} … {max(values):.3f}" if values else "–"
        queries = str(row["queries"] or f"all, up to {row['most_queries']}")
        cells = [row["statistic"], queries, str(row["sources"]), _number(row["mean_auc"]), spread]
        rows.append([*cells, _number(row["mean_tpr_5"], 2), f"{1e3 * row['seconds']:.2g}"])
    head = ["statistic", "queries", "sources", "mean AUC", "over sources", "TPR at 5 % FPR", "ms a suspect"]
    return ["## Statistics: mean over attacks and sources (adaptive ones apart)", "", *format_rows(head, rows)]


def _choices(results: Mapping[str, Any]) -> list[str]:
    lines = ["## A statistic chosen without a leak", ""]
    for name, said in (
        ("other_tasks", "the other tasks"),
        ("other_tasks_and_families", "other tasks and other attacks"),
    ):
        made = results["choices"][name]
        chosen = sorted({cell["statistic"] for cell in made["cells"]})
        lines += [
            f"Chosen on {said}: mean AUC {_number(made['mean_auc'])} over tasks and families ({', '.join(chosen)}).",
            "",
        ]
        rows = [
            [cell["task"], cell["family"], cell["statistic"], _number(cell["figure"]), _number(cell["best"])]
            for cell in made["cells"]
        ]
        lines += [*format_rows(["task", "family", "chosen", "AUC", "best there"], rows), ""]
    return lines[:-1]


def _cost(results: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            source["key"],
            str(source["siblings"]),
            f"{source['sibling_seconds']:.0f} s",
            f"{source['training_seconds']:.0f} s",
        ]
        for source in results["sources"]
    ]
    lines = ["## Cost", "", *format_rows(["source", "siblings", "their training", "all models' training"], rows), ""]
    each = {
        (row["ground"], row["siblings"]): row["seconds"]
        for row in results["accusations"]
        if row["probes"] is None and row["of"] == ALL
    }
    table = [[_ground(*ground), f"{1e3 * seconds:.3g} ms"] for ground, seconds in each.items()]
    return lines + format_rows(["ground", "comparison, a suspect"], table)


def _ground(ground: str, siblings: int) -> str:
    return f"{ground}, K = {siblings}" if siblings else ground.replace(POOL, "pool by kind")


def _share(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["models"]:
        return "–"
    low, high = row["exact"]
    text = f"{row['hits']}/{row['models']} [{low:.0%}, {high:.0%}]"
    if row["clustered"]:
        text += f" \\| [{row['clustered'][0]:.0%}, {row['clustered'][1]:.0%}]"
    return text


def _count(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else f"{row['hits']}/{row['models']}"


def _sum(rows: Sequence[Mapping[str, Any] | None]) -> str:
    known = [row for row in rows if row is not None]
    return f"{sum(row['hits'] for row in known)}/{sum(row['models'] for row in known)}" if known else "–"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
