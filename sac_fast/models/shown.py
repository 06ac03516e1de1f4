"""How outputs show themselves: a table for notebooks, and a figure of their correlations."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..io.figure import make_figure, save_figure
from ..io.files import StrPath
from ..io.html import html_pairs
from ..io.text import escape_text

_MAX_PROBES = 400  # more would be smaller than a pixel
_MAX_NAME = 60
_SHOWN = ("kind", "output_form", "probe_hash", "model_hash", "created")


class ShownOutputs:
    """Base of a class with an ``array`` of outputs ``(n, k)`` and ``provenance``, JSON values with a ``name``."""

    array: NDArray[Any]
    provenance: dict[str, Any]

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        notes = self.provenance.get("notes")
        pairs = {key.replace("_", " "): self.provenance.get(key) for key in _SHOWN}
        return html_pairs(repr(self), pairs, notes if isinstance(notes, list) else ())

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw the cosine correlations of the outputs on the first 400 probes: what is compared of two models.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            FigureError: matplotlib is not installed.
            ValueError: outputs on one probe have no correlation.
        """
        from ..ops import correlation_matrix

        rows = self.array[:_MAX_PROBES]
        matrix = correlation_matrix(rows)
        figure = make_figure((5.6, 4.8))
        axes = figure.add_subplot()
        image = axes.imshow(matrix.numpy(), vmin=-1, vmax=1, cmap="PuOr", interpolation="nearest")
        figure.colorbar(image, label="cosine correlation of two probes' outputs")
        of = "" if len(rows) == len(self.array) else f", the first {len(rows)} of {len(self.array)}"
        axes.set(xlabel=f"probe{of}", ylabel="probe")
        axes.set_title(escape_text(self.provenance["name"], _MAX_NAME), fontsize=10, parse_math=False)
        return save_figure(figure, path)
