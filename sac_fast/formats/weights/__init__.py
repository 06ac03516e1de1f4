"""Weights without a module: named arrays of any format, as data."""

from typing import TYPE_CHECKING

from ...io.lazy import lazy_names

if TYPE_CHECKING:
    from .arrays import OPERATORS, Graph, GraphNode, OpenedWeights, WeightArray
    from .opening import open_weights

__all__ = ["OPERATORS", "Graph", "GraphNode", "OpenedWeights", "WeightArray", "open_weights"]

__getattr__ = lazy_names(
    __name__,
    {".arrays": "OPERATORS Graph GraphNode OpenedWeights WeightArray", ".opening": "open_weights"},
)
