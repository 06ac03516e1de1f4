"""Matches and |cosine| of every compared layer."""

from __future__ import annotations

from typing import Any

from ...io.figure import OTHERS_COLOUR, OWN_COLOUR, make_figure, save_figure
from ...io.files import StrPath
from ...io.text import escape_text, figure_text

_MAX_ROWS = 60  # a layer each; of more, evenly spaced ones are drawn
_MAX_NAME = 40


def draw_layers(result: Any, path: StrPath | None) -> Any:
    """Draw a result.

    Args:
        result: a `WeightsResult`.
        path: PNG that is written; None: none.

    Returns:
        The matplotlib figure.

    Raises:
        FigureError: matplotlib is not installed.
    """
    layers = result.compared
    step = -(-len(layers) // _MAX_ROWS) if layers else 1
    layers = layers[::step]
    figure = make_figure((9, 1.9 + 0.24 * max(1, len(layers))))
    axes = figure.add_subplot()
    places = list(range(len(layers)))
    shares = [(layer.matches or 0) / (layer.units or 1) for layer in layers]
    axes.barh(places, shares, color=OTHERS_COLOUR, height=0.7, label="units matched with themselves")
    cosines = [layer.cosine or 0 for layer in layers]
    axes.plot(cosines, places, "D", color=OWN_COLOUR, markersize=5, label="median |cosine|")
    for place, layer in zip(places, layers, strict=True):
        p = f"1e{layer.log10_p:.0f}" if layer.log10_p else "1"
        text = f"{layer.matches} of {layer.units}, p = {p}"
        axes.annotate(text, (1.02, place), va="center", fontsize=8, annotation_clip=False)
    axes.set_yticks(places, [figure_text(escape_text(layer.name, _MAX_NAME)) for layer in layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the layer's units; cosine")
    shown = "" if step == 1 else f", every {step}th layer"
    names = " and ".join(figure_text(escape_text(name, _MAX_NAME)) for name in (result.a, result.b))
    figures = f"log10 p = {result.log10_p:.1f}, α = {result.alpha:g}{shown}"
    axes.set_title(f"{names}: {result.verdict}\n{figures}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save_figure(figure, path)
