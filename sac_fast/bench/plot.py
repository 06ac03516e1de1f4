"""Time against n, k and m, ours and the peers, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.figure import COLOURS, MARKERS, FigureError, make_figure, save_figure
from .harness import OURS

PLOT = "plot.png"
_MEANING = {"n": "n, probes", "k": "k, outputs of a model", "m": "m, models"}


def write_plot(results: Mapping[str, Any], path: Path) -> None:
    """Draw the sweeps of a run as PNG.

    Args:
        results: of `run_bench`.
        path: replaced if it is there; its folder must be.

    Raises:
        FigureError: matplotlib is not installed, or the run has no sweeps.
    """
    sweeps = {letter: [r for r in results["records"] if r["sweep"] == letter] for letter in _MEANING}
    sweeps = {letter: records for letter, records in sweeps.items() if records}
    if not sweeps:
        raise FigureError("the plot needs a run with sweeps, got one without")
    figure = make_figure((5.2 * len(sweeps), 6))
    hardware, versions = results["hardware"], results["versions"]
    figure.suptitle(
        f"sac_fast {versions['sac_fast']}: {hardware['processor']}, {hardware['threads']} threads, "
        f"{hardware['instruction_set']}, torch {versions['torch']}",
        fontsize=10,
    )
    for axes, (letter, records) in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps.items(), strict=True):
        _panel(axes, letter, records)
    save_figure(figure, path)


def _panel(axes: Any, letter: str, records: list[Mapping[str, Any]]) -> None:
    peers = [name for name in dict.fromkeys(n for r in records for n in r["implementations"]) if name != OURS]
    for number, name in enumerate([OURS, *peers]):  # ours is black
        timed = [(r["shape"][letter], r["implementations"].get(name, {}).get("seconds")) for r in records]
        points = [(x, seconds) for x, seconds in timed if seconds is not None]
        if not points:
            continue
        ours = name == OURS
        axes.plot(
            *zip(*points, strict=True),
            label=name,
            color=COLOURS[number % len(COLOURS)],
            linewidth=2.4 if ours else 1.4,
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
        )
    fixed = ", ".join(f"{name} = {value:,}" for name, value in records[0]["shape"].items() if name != letter)
    axes.set_xscale("log")
    axes.set_yscale("log")
    vectors = "; peers from ready-made vectors" if letter == "m" else ""
    axes.set_title(f"{records[0]['op']}\n{records[0]['metric']}, {fixed}{vectors}", fontsize=10)
    axes.set_xlabel(_MEANING[letter])
    axes.set_ylabel("time of one call, seconds")
    axes.grid(True, which="major", alpha=0.4)
    axes.grid(True, which="minor", alpha=0.12)
    # below the axes, where it hides no line
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
