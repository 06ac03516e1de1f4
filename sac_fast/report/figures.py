"""Places of the marks in the page's figures, in percent of the width, so that letters keep their size on any screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..verify.weights.result import format_log10_p

# Share of the width that is left free on both sides, so that no mark is cut.
_MARGIN = 4.0
_ROW, _TOP, _AXIS = 26, 16, 40  # pixels


class Mark(NamedTuple):
    """A value of a strip: percent of the width, pixels from the top, and the value for its tooltip."""

    x: float
    y: float
    value: str


class Row(NamedTuple):
    """Values of one group."""

    label: str
    y: float
    marks: list[Mark]


class Strip(NamedTuple):
    """One figure: the suspect's value as a line through rows of other values."""

    what: str
    direction: str
    height: int
    axis: float
    rows: list[Row]
    marked: Mark | None
    ticks: list[tuple[float, str]]


def place_strip(strip: dict[str, Any]) -> Strip:
    """Where everything of a strip of report.json is drawn.

    Values that are no numbers (null) are left out.
    """
    groups = {label: _numbers(values) for label, values in strip["groups"].items()}
    own = _numbers([strip["marked"]])
    everything = [value for values in groups.values() for value in values] + own
    low, high = (min(everything), max(everything)) if everything else (0.0, 1.0)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return round(_MARGIN + (100 - 2 * _MARGIN) * (value - low) / span, 3)

    rows = []
    for number, (label, values) in enumerate(groups.items()):
        y = _TOP + _ROW * number + _ROW / 2
        rows.append(Row(f"{label} ({len(values)})", y, [Mark(x(value), y + 6, f"{value:.4g}") for value in values]))
    bottom = _TOP + _ROW * max(1, len(rows)) + 6
    marked = Mark(x(own[0]), bottom, f"{own[0]:.4g}") if own else None
    ticks = [(x(low), f"{low:.3g}"), (x(high), f"{high:.3g}")] if everything and high > low else []
    return Strip(strip["what"], strip["direction"], bottom + _AXIS, bottom, rows, marked, ticks)


def layer_rows(weights: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Compared layers of a weights test: names, shares in percent for the bars, and texts.

    Args:
        weights: `WeightsResult.to_dict`.
        limit: most rows; of more layers, evenly spaced ones are taken.
    """
    layers = [layer for layer in weights["layers"] if layer["left_out"] is None]
    step = max(1, -(-len(layers) // limit))
    return [
        {
            "name": layer["name"],
            "other": layer["other"] if layer["other"] != layer["name"] else None,
            "variant": layer["variant"],
            "matched": round(100 * min(1.0, (layer["matches"] or 0) / (layer["units"] or 1)), 2),
            "matches": f"{layer['matches']} of {layer['units']}",
            "cosine": round(100 * min(1.0, layer["cosine"] or 0.0), 2),
            "cosine_text": f"{layer['cosine'] or 0.0:.2f}",
            "p": format_log10_p(layer["log10_p"]),
        }
        for layer in layers[::step]
    ]


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
