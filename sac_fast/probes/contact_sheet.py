"""The images of a probe set on one sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..io.figure import make_figure, save_figure
from ..io.files import StrPath

_COLUMNS, _MAX_IMAGES = 8, 48


def draw_images(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64] | None, path: StrPath | None) -> Any:
    """Draw up to 48 images, evenly spaced, with position and label.

    Args:
        images: ``(n, H, W, 3)``.
        labels: ``(n,)``; None: there are none.
        path: PNG that is written; None: none.

    Returns:
        The matplotlib figure.

    Raises:
        FigureError: matplotlib is not installed.
    """
    shown = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MAX_IMAGES)).astype(int))
    rows = -(-len(shown) // _COLUMNS)
    figure = make_figure((1.1 * _COLUMNS, 0.3 + 1.25 * rows))
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, index in zip(panels, shown.tolist(), strict=False):
        axes.imshow(images[index])
        axes.set_title(f"{index}" if labels is None else f"{index}: {labels[index]}", fontsize=7)
    return save_figure(figure, path)
