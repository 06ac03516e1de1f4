"""An ONNX graph with its inner graphs laid out in one list, every name unique.

A name that an inner graph defines is its own; both branches of an If may use the same one.
"""

from __future__ import annotations

from ..limits import refuse
from .arrays import GraphNode
from .flat_graph import FlatGraph
from .onnx_messages import Messages, Node, Tensor
from .onnx_tensors import TensorReader


class Flattener:
    """Lays out one file's graphs."""

    def __init__(self, tensors: TensorReader, name: str) -> None:
        self._tensors = tensors
        self._name = name
        self._flat = FlatGraph()
        self._names: set[str] = set()

    def flatten(self, messages: Messages) -> FlatGraph:
        """The whole of it.

        Raises:
            ModelRefusedError: a tensor that is not sound, or an initializer twice.
        """
        scope: dict[str, str] = {}
        outputs = self._lay_out(messages, scope, "")
        self._flat.outputs = tuple(outputs)
        self._flat.inputs = tuple(
            scope[value] for value in messages.inputs if scope.get(value) not in (None, *self._flat.arrays)
        )
        return self._flat

    def _lay_out(self, messages: Messages, scope: dict[str, str], path: str) -> list[str]:
        """Add a graph's nodes; returns what its outputs are."""
        for tensor in messages.tensors:
            self._add_array(tensor, tensor.name, scope, path)
        defined = {tensor.name for tensor in messages.tensors}
        if len(defined) != len(messages.tensors):
            refuse("duplicate-keys", f"{self._name} must name every initializer once, got one twice")
        for value in messages.inputs:
            if value not in defined:
                self._define(value, scope, path)
        for number, node in enumerate(messages.nodes):
            self._add_node(node, scope, path, number)
        return [scope.get(value, value) for value in messages.outputs]

    def _add_node(self, node: Node, scope: dict[str, str], path: str, number: int) -> None:
        inputs = [scope.get(value, value) for value in node.inputs]
        for which, inner in enumerate(node.graphs):
            # What a branch defines is not seen outside of it.
            inputs += self._lay_out(inner, _Layer(scope), f"{path}{number}:{which}/")
        if node.op == "Constant" and node.tensors and node.outputs:
            self._add_array(node.tensors[0], node.outputs[0], scope, path)
            return
        outputs = tuple(self._define(value, scope, path) for value in node.outputs)
        for value in outputs:
            self._flat.producers.setdefault(value, len(self._flat.nodes))
        self._flat.nodes.append(GraphNode(node.op, tuple(inputs), outputs, node.attributes))

    def _add_array(self, tensor: Tensor, name: str, scope: dict[str, str], path: str) -> None:
        array = self._tensors.array(tensor)
        unique = self._define(name, scope, path)
        if array is not None and unique:
            self._flat.arrays[unique] = array

    def _define(self, name: str, scope: dict[str, str], path: str) -> str:
        """A unique name for one that a graph defines: its own, or with the graph's place before it."""
        if not name:
            return ""
        unique = name if name not in self._names else f"{path}{name}"
        while unique in self._names:
            unique += "'"
        self._names.add(unique)
        scope[name] = unique
        return unique


class _Layer(dict[str, str]):
    """Names of an inner graph, over those of the graphs around it."""

    def __init__(self, outer: dict[str, str]) -> None:
        super().__init__()
        self._outer = outer

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        if name in self:
            return self[name]
        return self._outer.get(name, default)
