"""Figures of matplotlib without a window, and without state shared with the caller's own plots."""

from __future__ import annotations

import io
from typing import Any

from ..errors import SacFastError, describe_error
from .files import StrPath, atomic_write

# Okabe and Ito's palette, distinguishable by everyone; dashes and markers distinguish lines without colour.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7F7F7F")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 1, 2)))
MARKERS = "osD^vPX*"
#: Of dots that something is seen among, and of the mark on it.
OTHERS_COLOUR, OWN_COLOUR = "#0072B2", "#D55E00"


class FigureError(SacFastError, RuntimeError):
    """A figure cannot be drawn: matplotlib is missing, or there is nothing to draw."""


def make_figure(size: tuple[float, float]) -> Any:
    """An empty matplotlib figure.

    Args:
        size: width and height in inches.

    Raises:
        FigureError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as PlainFigure
        from PIL import Image
    except ImportError as error:
        hint = "figures need matplotlib (pip install 'sac-fast[plots]')"
        raise FigureError(f"{hint}, which is not there: {describe_error(error)}") from error

    class Figure(PlainFigure):
        """A figure that notebooks show, whatever their backend."""

        def _repr_png_(self) -> bytes:
            drawn, content = io.BytesIO(), io.BytesIO()
            self.savefig(drawn, format="rgba", dpi=70)
            width, height = (int(inches * 70) for inches in self.get_size_inches())
            image = Image.frombytes("RGBA", (width, height), drawn.getvalue())
            # a palette: a notebook is a file to commit
            image.convert("RGB").quantize(64).save(content, format="png", optimize=True)
            return content.getvalue()

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: StrPath | None, *, dpi: int = 140) -> Any:
    """Write a figure as PNG, all or nothing; None writes nothing. Returns the figure."""
    if path is not None:
        with atomic_write(path) as handle:
            figure.savefig(handle, format="png", dpi=dpi)
    return figure
