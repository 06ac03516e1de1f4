"""Distances of models to their nearest relatives, and pairs with related weights, drawn with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.figure import OTHERS_COLOUR, OWN_COLOUR, make_figure, save_figure
from ..io.files import StrPath
from ..io.text import escape_text, figure_text

_MAX_ROWS = 60  # a model or a pair each; of more, those with the nearest relatives or the smallest p are drawn
_MAX_NAME = 40


def draw_distances(
    distances: Mapping[str, Sequence[float]], threshold: float | None, metric: str, path: StrPath | None
) -> Any:
    """Draw a row of dots for each model: the distances of its nearest relatives.

    Args:
        distances: by model.
        threshold: below it two models are called related; None: there is none.
        metric: of the distances.
        path: PNG that is written; None: none.

    Returns:
        The matplotlib figure.

    Raises:
        FigureError: matplotlib is not installed.
    """
    names = sorted((name for name in distances if distances[name]), key=lambda name: min(distances[name]))[:_MAX_ROWS]
    figure = make_figure((8, 1.4 + 0.24 * max(1, len(names))))
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        axes.plot(list(distances[name]), [place] * len(distances[name]), "o", color=OTHERS_COLOUR, alpha=0.6)
    if threshold is not None:
        axes.axvline(threshold, color=OWN_COLOUR)
    axes.set_yticks(range(len(names)), [figure_text(name) for name in names], fontsize=8)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    left_out = f"; {len(names)} of {len(distances)} models" if len(names) < len(distances) else ""
    line = "" if threshold is None else " (line: threshold)"
    axes.set_xlabel(f"distance to the nearest relatives, {metric}{line}{left_out}")
    return save_figure(figure, path)


def draw_pairs(result: Any, path: StrPath | None) -> Any:
    """Draw a bar for each pair of related models: the digits of its corrected p-value.

    Args:
        result: a `WeightsRelatives`.
        path: PNG that is written; None: none.

    Returns:
        The matplotlib figure.

    Raises:
        FigureError: matplotlib is not installed.
    """
    pairs = result.pairs[:_MAX_ROWS]
    figure = make_figure((9, 1.4 + 0.24 * max(1, len(pairs))))
    axes = figure.add_subplot()
    places = range(len(pairs))
    digits = [-min(0.0, pair.log10_p + math.log10(max(1, result.tests))) for pair in pairs]
    axes.barh(places, digits, color=OTHERS_COLOUR, height=0.7)
    axes.axvline(-math.log10(result.alpha), color=OWN_COLOUR)
    names = [" – ".join(figure_text(escape_text(name, _MAX_NAME)) for name in (pair.a, pair.b)) for pair in pairs]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(max(1, len(pairs)) - 0.5, -0.5)
    left_out = f"; {len(pairs)} of {len(result.pairs)} pairs" if len(pairs) < len(result.pairs) else ""
    axes.set_xlabel(f"−log10 of p times {result.tests} pairs (line: α = {result.alpha:g}){left_out}")
    return save_figure(figure, path)
