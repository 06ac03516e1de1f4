"""Figures of an evaluation of several sources as PNG files, legible without colour and at a README's width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..io.figure import COLOURS, DASHES, MARKERS
from ..io.text import figure_text, map_texts
from .figures import draw_figures
from .merits import CONTRAST, ROC_RATES
from .rates import ALL
from .rulings import EXACT, KIN, STUDENT
from .sources import FAMILIES

_ALPHA = 0.05
#: Statistics whose ROC curves are drawn.
_CURVES = ("siblings", CONTRAST, "calibrated", "robust", "sac-jc", "agreement")
_COLOURS, _DASHES, _MARKERS = (*COLOURS, "#882255"), (*DASHES, (0, (2, 4))), MARKERS + "h"
Rows = list[Mapping[str, Any]]


def write_protocol_figures(
    results: Mapping[str, Any], folder: Path, *, prefix: str = "", alone: Mapping[str, Any] | None = None
) -> list[Path]:
    """Draw all figures of `evaluate_sources`.

    Args:
        results: its results.
        folder: existing folder for the PNG files.
        prefix: of their names.
        alone: results of one source with more siblings, whose curves join those against the number of siblings.

    Returns:
        The files written.

    Raises:
        FigureError: matplotlib is not installed.
    """
    results = map_texts(results, figure_text)
    alone = None if alone is None else map_texts(alone, figure_text)
    panels: dict[str, tuple[tuple[float, float], Callable[[Any], bool]]] = {
        "found_by_siblings": ((8.0, 4.2), lambda figure: _against(figure, results, "siblings", "siblings K", alone)),
        "found_by_queries": ((8.0, 4.2), lambda figure: _against(figure, results, "probes", "queries")),
        "accusations": ((8.0, 5.2), lambda figure: _accusations(figure, results)),
        "roc": ((8.0, 4.4), lambda figure: _roc(figure, results)),
    }
    return draw_figures({prefix + name: panel for name, panel in panels.items()}, folder)


def _against(
    figure: Any, results: Mapping[str, Any], quantity: str, called: str, alone: Mapping[str, Any] | None = None
) -> bool:
    """Two panels: thefts found by family, and honest models accused, against a quantity of the sibling test."""
    by_siblings = quantity == "siblings"
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    drawn, ticks = False, set()
    families = [ALL, *(name for name in FAMILIES if name != "adaptive"), "adaptive"]
    for number, name in enumerate(families):
        level = "all" if name == ALL else "family"
        rows = [
            row
            for row in results["found"]
            if row["ground"] == STUDENT and row["of"] == name and row["level"] == level and row["working"]
        ]
        points = _points(rows, by_siblings, _most_probes(results))
        if not points:
            continue
        drawn = True
        ticks |= {x for x, _ in points}
        label = "all thefts" if name == ALL else f"{name} ({points[-1][1]['models']})"
        left.plot([x for x, _ in points], [row["share"] for _, row in points], label=label,
                  color=_COLOURS[number], linestyle=_DASHES[number], marker=_MARKERS[number], markersize=5,
                  linewidth=2.6 if name == ALL else 1.3)  # fmt: skip
    for number, ground in enumerate((EXACT, STUDENT)):
        rows = [row for row in results["accusations"] if row["ground"] == ground and row["of"] == ALL]
        points = _points(rows, by_siblings, _most_probes(results))
        if not points:
            continue
        xs = [x for x, _ in points]
        shares = [row["share"] for _, row in points]
        low = [share - row["exact"][0] for share, (_, row) in zip(shares, points, strict=True)]
        high = [row["exact"][1] - share for share, (_, row) in zip(shares, points, strict=True)]
        right.errorbar(xs, shares, yerr=[low, high], label=ground, color=COLOURS[number], linestyle=DASHES[number],
                       marker=MARKERS[number], markersize=5, capsize=3, linewidth=1.3)  # fmt: skip
    if not drawn:
        return False
    if alone is not None:
        ticks |= _alone(left, right, alone)
    right.axhline(_ALPHA, color="0.4", linewidth=1.0, linestyle=":")
    right.text(0.92, _ALPHA, "α", transform=right.get_yaxis_transform(), va="bottom", fontsize=9)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [f"{tick:,}" for tick in sorted(ticks)], fontsize=8, rotation=45)
        axes.minorticks_off()
        axes.set_xlabel(called)
        axes.grid(alpha=0.3)
    left.set(ylim=(-0.02, 1.02), ylabel="share of the thefts found")
    left.set_title(f"found by the sibling test, Student's t, α = {_ALPHA:.0%}", fontsize=10)
    right.set(ylim=(0, max(0.2, 1.3 * right.get_ylim()[1])), ylabel="share accused")
    right.yaxis.set_major_formatter("{x:.0%}")
    left.yaxis.set_major_formatter("{x:.0%}")
    right.set_title("honest models accused", fontsize=10)
    right.legend(fontsize=8, loc="upper right")
    figure.legend(*left.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=4)
    return True


def _alone(left: Any, right: Any, results: Mapping[str, Any]) -> set[int]:
    """The curves of one source with more siblings, drawn apart from the means over all; returns its numbers."""
    name = results["sources"][0]["key"]
    style = {"color": "0.25", "linestyle": ":", "marker": "*", "markersize": 8, "linewidth": 1.3}
    found, accused = (
        _points([row for row in results[key] if row["ground"] == STUDENT and row["of"] == ALL
                 and row.get("working", True)], True, 0)
        for key in ("found", "accusations")
    )  # fmt: skip
    models = found[-1][1]["models"]
    left.plot([x for x, _ in found], [row["share"] for _, row in found], label=f"{name} alone ({models})", **style)
    right.plot([x for x, _ in accused], [row["share"] for _, row in accused], label=f"{name} alone", **style)
    return {x for x, _ in found}


def _most_probes(results: Mapping[str, Any]) -> int:
    return int(max(source["probe_count"] for source in results["sources"]))


def _points(rows: Rows, by_siblings: bool, most: int) -> list[tuple[int, Mapping[str, Any]]]:
    """(x, row) in ascending order: by K at all probes, or by the number of probes at the K that was asked with few."""
    rows = [row for row in rows if row["alpha"] == _ALPHA]
    if by_siblings:
        return sorted(((row["siblings"], row) for row in rows if row["probes"] is None), key=lambda point: point[0])
    few = [row for row in rows if row["probes"] is not None]
    if not few:
        return []
    usual, sources = few[0]["siblings"], max(row["sources"] for row in rows)
    # Numbers of probes that some sources do not have are left out: their points would be of other models.
    rows = [row for row in rows if row["siblings"] == usual and row["sources"] == sources]
    points = [(row["probes"] or most, row) for row in rows]
    return sorted(points, key=lambda point: point[0])


def _accusations(figure: Any, results: Mapping[str, Any]) -> bool:
    """Share of honest models accused, by ground and kind, with exact intervals and the line of α."""
    rows = [row for row in results["accusations"] if row["probes"] is None and row["alpha"] == _ALPHA]
    if not rows:
        return False
    axes = figure.subplots()
    grounds = list(dict.fromkeys((row["ground"], row["siblings"]) for row in rows))
    kinds = [kind for kind in dict.fromkeys(row["of"] for row in rows) if kind != ALL]
    step = 0.8 / max(1, len(kinds))
    for number, kind in enumerate(kinds):
        points = [
            (place + (number - (len(kinds) - 1) / 2) * step, row)
            for place, ground in enumerate(grounds)
            for row in rows
            if (row["ground"], row["siblings"]) == ground and row["of"] == kind
        ]
        shares = [row["share"] for _, row in points]
        low = [row["share"] - row["exact"][0] for _, row in points]
        high = [row["exact"][1] - row["share"] for _, row in points]
        label = "siblings that did not judge" if kind == KIN else kind
        axes.errorbar(shares, [y for y, _ in points], xerr=[low, high], linestyle="", marker=MARKERS[number % 8],
                      color=COLOURS[number % 8], markersize=5, capsize=2, linewidth=1.1, label=label)  # fmt: skip
    axes.axvline(_ALPHA, color="0.3", linewidth=1.2, linestyle="--")
    axes.text(_ALPHA, -0.75, " stated rate α", fontsize=8, va="center")
    named = [ground if not siblings else f"{ground}, K = {siblings}" for ground, siblings in grounds]
    axes.set_yticks(range(len(grounds)), named, fontsize=8)
    axes.set(xlim=(-0.01, 1.0), ylim=(len(grounds) - 0.4, -1.1), xlabel="share of honest models accused (bar: 95 %)")
    axes.set_xscale("symlog", linthresh=0.1)
    ticks = (0, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"Honest models accused at α = {_ALPHA:.0%}, by kind", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    return True


def _roc(figure: Any, results: Mapping[str, Any]) -> bool:
    """ROC curves averaged over sources, the whole and the part of low false positive rates."""
    most = {row["statistic"]: row for row in results["statistics"] if row["queries"] is None and row["roc"]}
    drawn = [most[name] for name in _CURVES if name in most and most[name]["mean_auc"] is not None]
    if not drawn:
        return False
    whole, low = figure.subplots(1, 2)
    for number, row in enumerate(drawn):
        for axes in (whole, low):
            axes.plot(ROC_RATES, row["roc"], label=f"{row['statistic']} ({row['mean_auc']:.3f})", color=COLOURS[number],
                      linestyle=DASHES[number], linewidth=1.8)  # fmt: skip
    whole.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    low.set(xlim=(0, 0.1), ylim=(0, 1.02), xlabel="false positive rate, up to 10 %")
    whole.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate", ylabel="true positive rate")
    whole.set_title("mean over sources, attacks together", fontsize=10)
    low.set_title("low false positive rates", fontsize=10)
    for axes in (whole, low):
        axes.grid(alpha=0.3)
    figure.legend(*whole.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2,
                  title="statistic (mean AUC over attacks)", title_fontsize=8)  # fmt: skip
    return True
