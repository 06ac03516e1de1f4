"""Figures of an evaluation as PNG files, legible without colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io.figure import COLOURS, DASHES, MARKERS, make_figure, save_figure
from ..io.text import figure_text, map_texts
from ..scores import PRESETS
from ..verdict import roc_curve
from .heatmap import draw_heatmap
from .loaded_zoo import LoadedZoo, is_adaptive

_MAX_ROC_CURVES = 6


def write_figures(results: Mapping[str, Any], loaded: LoadedZoo, folder: Path) -> list[Path]:
    """Draw all figures of an evaluation.

    Args:
        results: results of `evaluate`.
        loaded: the same zoo, for the heat map.
        folder: existing folder for the PNG files.

    Returns:
        The files written.

    Raises:
        FigureError: matplotlib is not installed.
    """
    results = map_texts(results, figure_text)
    panels: dict[str, tuple[tuple[float, float], Callable[[Any], bool]]] = {
        "roc": ((6.0, 5.2), lambda figure: _roc(figure, results)),
        "distances": ((10.0, 5.6), lambda figure: _distances(figure, results)),
        "probes": (
            (6.0, 4.4),
            lambda figure: _curves(figure, results["auc_by_count"], "number of probes", "logarithmic"),
        ),
        "quality": ((6.0, 4.4), lambda figure: _curves(figure, results["auc_by_quality"], "JPEG quality", "1 … 100")),
        "heatmap": ((10.0, 3.9), lambda figure: draw_heatmap(figure, loaded)),
        "time": ((7.0, 5.6), lambda figure: _time(figure, results)),
    }
    return draw_figures(panels, folder)


def draw_figures(panels: Mapping[str, tuple[tuple[float, float], Callable[[Any], bool]]], folder: Path) -> list[Path]:
    """Draw figures by name and write those that have something to show.

    Args:
        panels: by name: size in inches, and a function that draws on a figure and says whether it did.
        folder: existing folder for the PNG files.

    Returns:
        The files written.

    Raises:
        FigureError: matplotlib is not installed.
    """
    written = []
    for name, (size, draw) in panels.items():
        figure = make_figure(size)
        if not draw(figure):
            continue
        save_figure(figure, folder / f"{name}.png", dpi=110)
        written.append(folder / f"{name}.png")
    return written


def _chosen(results: Mapping[str, Any], maximum: int) -> list[Mapping[str, Any]]:
    """The presets, then the best setting of every peer, best peers first, then other scores."""
    ours = [m for m in results["methods"] if m["from"] == "sac_fast"]
    peers = [m for m in results["methods"] if m["from"] != "sac_fast"]
    best: dict[str, Mapping[str, Any]] = {}
    for method in sorted(peers, key=_mean_auc, reverse=True):
        best.setdefault(method["from"], method)
    presets = [m for m in ours if m["name"] in PRESETS]
    return [*presets, *best.values(), *(m for m in ours if m not in presets)][:maximum]


def _mean_auc(method: Mapping[str, Any]) -> float:
    """Mean AUC for sorting; −inf without non-adaptive attacks."""
    return -math.inf if method["mean_auc"] is None else float(method["mean_auc"])


def _groups(method: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Distances of the stolen (non-adaptive) and of the independent models that can be compared."""
    who = results["members"]
    near = [d for n, d in method["distances"].items() if d is not None and who[n]["role"] == "stolen"
            and not is_adaptive(who[n]["origin"])]  # fmt: skip
    far = [d for n, d in method["distances"].items() if d is not None and who[n]["role"] == "independent"]
    return near, far


def _roc(figure: Any, results: Mapping[str, Any]) -> bool:
    drawn = [(method, *_groups(method, results)) for method in _chosen(results, _MAX_ROC_CURVES)]
    drawn = [(method, near, far) for method, near, far in drawn if near and far]
    if not drawn:
        return False
    axes = figure.subplots()
    inset = axes.inset_axes((0.47, 0.14, 0.5, 0.5))
    for number, (method, near, far) in enumerate(drawn):
        curve = roc_curve(near, far)
        for where in (axes, inset):
            where.plot(curve.false_positive_rate, curve.true_positive_rate, label=method["name"],
                       color=COLOURS[number], linestyle=DASHES[number], linewidth=1.8)  # fmt: skip
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(xlabel="false positive rate: share of the independents accused",
             ylabel="true positive rate: share of the stolen models found")  # fmt: skip
    axes.set_title("ROC, all non-adaptive attacks against all independents", fontsize=10)
    inset.set(xlim=(0, 0.1), ylim=(0, 1.02))
    inset.set_title("false positive rate ≤ 0.1", fontsize=8, backgroundcolor="white")
    inset.tick_params(labelsize=7)
    for where in (axes, inset):
        where.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2)
    return True


def _distances(figure: Any, results: Mapping[str, Any]) -> bool:
    ours = [m for m in results["methods"] if m["from"] == "sac_fast"][:3]
    if not ours:
        return False
    who = results["members"]
    groups: dict[str, list[str]] = {}
    for name, member in who.items():
        label = member["origin"] if member["role"] == "stolen" else f"independent: {member['origin']}"
        groups.setdefault(label, []).append(name)
    order = sorted(groups, key=lambda label: (label.startswith("independent"), is_adaptive(label), label))
    for number, (axes, method) in enumerate(zip(figure.subplots(1, len(ours), sharey=True, squeeze=False)[0], ours,
                                                strict=True)):  # fmt: skip
        for row, label in enumerate(order):
            values = [method["distances"][n] for n in groups[label] if method["distances"][n] is not None]
            independent = label.startswith("independent")
            # Jitter, so that equal distances are visible.
            jitter = row + 0.22 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.full(len(values), row)
            axes.plot(values, jitter, linestyle="", marker="o" if independent else "x", markersize=4,
                      color="black" if independent else "#D55E00", fillstyle="none")  # fmt: skip
            if values:
                axes.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color="0.35", linewidth=1.4)
        axes.set_yticks(range(len(order)), order, fontsize=8)
        axes.set_title(method["name"], fontsize=10)
        axes.set_xlabel("distance to the source" + (" (−log P)" if method["name"] == "calibrated" else ""))
        axes.grid(axis="x", alpha=0.3)
        if number == 0:
            axes.invert_yaxis()
    figure.suptitle("Distances by how the models came about (× stolen, ○ independent, bar: median)", fontsize=10)
    return True


def _curves(figure: Any, curves: Mapping[str, Sequence[Sequence[Any]]], quantity: str, scale: str) -> bool:
    """Draw AUCs against a quantity; points without an AUC are left out."""
    known = {name: [point for point in points if point[1] is not None] for name, points in curves.items()}
    drawn = {name: points for name, points in known.items() if points}
    if not drawn:
        return False
    axes = figure.subplots()
    for number, (name, points) in enumerate(drawn.items()):
        axes.plot(*zip(*points, strict=True), label=name, color=COLOURS[number], linestyle=DASHES[number],
                  marker=MARKERS[number], markersize=5)  # fmt: skip
    ticks = sorted({x for points in drawn.values() for x, _ in points})
    if scale == "logarithmic":
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7, rotation=45)
        axes.minorticks_off()
    else:
        axes.set_xticks(ticks)
    axes.axhline(0.5, color="0.7", linewidth=0.8)
    axes.set_title(f"AUC against the {quantity}", fontsize=10)
    axes.set(xlabel=f"{quantity} ({scale})", ylabel="mean AUC over the non-adaptive attacks")
    axes.grid(alpha=0.3)
    # The legend is below the axes, where it hides no line.
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return True


def _time(figure: Any, results: Mapping[str, Any]) -> bool:
    known = (m for m in results["methods"] if m["mean_auc"] is not None)
    timed = [m for m in known if (m["query_seconds"] or 0) + (m["compare_seconds"] or 0) > 0]
    if not timed:
        return False
    axes = figure.subplots()
    families = list(dict.fromkeys(m["name"] if m["from"] == "sac_fast" else m["from"] for m in timed))
    for number, family in enumerate(families):
        of_it = [m for m in timed if family in (m["name"], m["from"])]
        ours = of_it[0]["from"] == "sac_fast"
        points = [((m["query_seconds"] or 0) + (m["compare_seconds"] or 0), m["mean_auc"]) for m in of_it]
        # Beyond eight families the markers are repeated without fill, distinct without colour.
        axes.plot(*zip(*points, strict=True), marker=MARKERS[number % len(MARKERS)], linestyle="",
                  color=COLOURS[number % len(COLOURS)], markersize=8 if ours else 6, label=family,
                  fillstyle="full" if number < len(MARKERS) else "none")  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.1)
    answered = "its outputs and their comparison" if timed[0]["query_seconds"] else "ours: the comparison alone"
    axes.set_xlabel(f"time for one suspect, seconds ({answered}; logarithmic)")
    axes.set_ylabel("mean AUC over the non-adaptive attacks")
    axes.set_title("Time against AUC of all methods; several points: several numbers of probes", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    return True
