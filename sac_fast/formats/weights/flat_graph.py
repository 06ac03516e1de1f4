"""A file's graphs with their arrays, laid out in one list."""

from __future__ import annotations

from dataclasses import dataclass, field

from .arrays import Graph, GraphNode
from .state_dict import StoredArray

#: Operators whose arrays are layers of a network.
WEIGHTED = {"conv", "depthwise", "dense", "embedding", "lstm-input", "lstm-hidden", "gru-input", "gru-hidden"}
#: Those whose units mean something where nothing with weights follows.
FINAL = {"conv", "depthwise", "dense"}
# Operators whose outputs are sizes, and inputs that say only which graph is run, and how often.
_NO_VALUES = {"Shape", "Size", "SHAPE"}
_CONTROLS = {"If": 1, "Loop": 2}


@dataclass
class FlatGraph:
    """All nodes and arrays of a file.

    Attributes:
        nodes: of all graphs, outer ones after the inner ones that they hold.
        arrays: initializers and constants of all graphs by their unique names.
        producers: the node that gives a value, by the value's name.
        inputs: of the outer graph, arrays left out.
        outputs: of the outer graph.
    """

    nodes: list[GraphNode] = field(default_factory=list)
    arrays: dict[str, StoredArray] = field(default_factory=dict)
    producers: dict[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def graph(self) -> Graph:
        """Without the arrays."""
        return Graph(tuple(self.nodes), self.inputs, self.outputs)

    def producer(self, value: str) -> GraphNode | None:
        """The node that gives a value."""
        index = self.producers.get(value)
        return None if index is None else self.nodes[index]


def final_nodes(flat: FlatGraph, weighted: set[int]) -> set[int]:
    """Weighted nodes from which a way leads to an output of the graph past no other weighted node."""
    final: set[int] = set()
    seen: set[str] = set()
    stack = list(flat.outputs)
    while stack:
        value = stack.pop()
        index = flat.producers.get(value)
        if value in seen or index is None:
            continue
        seen.add(value)
        node = flat.nodes[index]
        if index in weighted:
            final.add(index)
        elif node.op not in _NO_VALUES:
            stack += node.inputs[_CONTROLS.get(node.op, 0) :]
    return final
