"""Weights without a module: named arrays of any format, as data."""

from .arrays import OPERATORS, Graph, GraphNode, OpenedWeights, WeightArray
from .opening import open_weights

__all__ = ["OPERATORS", "Graph", "GraphNode", "OpenedWeights", "WeightArray", "open_weights"]
