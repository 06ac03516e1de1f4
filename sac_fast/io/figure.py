"""Figures of matplotlib without a window, and without state shared with the caller's own plots."""

from __future__ import annotations

from typing import Any

from ..errors import SacFastError, describe_error


def make_figure(size: tuple[float, float]) -> Any:
    """An empty matplotlib figure.

    Args:
        size: width and height in inches.

    Raises:
        SacFastError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = "the plot needs matplotlib (pip install 'sac-fast[plots]')"
        raise SacFastError(f"{hint}, which is not there: {describe_error(error)}") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
