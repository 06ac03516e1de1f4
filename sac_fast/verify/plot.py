"""A suspect on the strip of siblings or nulls, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..io.figure import OTHERS_COLOUR, OWN_COLOUR, FigureError, make_figure, save_figure
from ..io.files import StrPath
from ..io.text import escape_text

_MAX_NAME = 60


def draw_strips(
    strips: Mapping[str, tuple[float, Mapping[str, Sequence[float]]]], label: str, path: StrPath | None
) -> Any:
    """Draw one panel for each suspect: its value as a line through rows of dots.

    Args:
        strips: by suspect: its value, and the values of each group that it is seen among.
        label: of the axis.
        path: PNG that is written; None: none.

    Returns:
        The matplotlib figure.

    Raises:
        FigureError: matplotlib is not installed, or there is no suspect.
    """
    if not strips:
        raise FigureError("a figure needs at least one suspect that was compared, got none")
    heights = [0.6 + 0.3 * len(groups) for _, groups in strips.values()]
    figure = make_figure((8, 0.9 + sum(heights)))
    panels = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, (own, groups)) in zip(panels, strips.items(), strict=True):
        for place, values in enumerate(groups.values()):
            axes.plot(list(values), [place] * len(values), "o", color=OTHERS_COLOUR, alpha=0.6)
        axes.axvline(own, color=OWN_COLOUR)
        axes.set_yticks(range(len(groups)), [f"{escape_text(kind, 30)} ({len(groups[kind])})" for kind in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_title(escape_text(name, _MAX_NAME), fontsize=10, loc="left", parse_math=False)
    panels[-1].set_xlabel(label)
    return save_figure(figure, path)


def draw_pools(results: Mapping[str, Any], path: StrPath | None) -> Any:
    """Draw the distances of `Verification`s, by suspect, among those of the nulls; see `draw_strips`."""
    scores = ", ".join(dict.fromkeys(result.score for result in results.values()))
    strips = {name: result.strip for name, result in results.items()}
    return draw_strips(strips, f"distance to the source, {scores} (line: the suspect)", path)
