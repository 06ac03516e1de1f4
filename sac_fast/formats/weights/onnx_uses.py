"""What uses each array of an ONNX graph: the operator that takes it, through casts, transposes and dequantisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .arrays import GraphNode
from .flat_graph import FlatGraph

_MAX_STEPS = 64  # from an operator back to its array
_MAX_PIECES = 1024  # values that one is put together from
_SAME = {"Identity", "Cast", "Dropout", "QuantizeLinear"}
_RESHAPES = {"Reshape", "Unsqueeze", "Squeeze", "Flatten"}
_PIECES = {"Slice", "Concat", "Split"}
_CONVS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcConv": 1, "NhwcFusedConv": 1}
_PRODUCTS = {
    **{"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "FusedMatMul": 1, "MatMulIntegerToFloat": 1},
    **{"DynamicQuantizeMatMul": 1, "Gemm": 1, "FusedGemm": 1, "QGemm": 3},
}
_NORMS = {
    **{"BatchNormalization": range(1, 5), "LayerNormalization": range(1, 3), "InstanceNormalization": range(1, 3)},
    **{"GroupNormalization": range(1, 3), "SkipLayerNormalization": range(2, 4), "RMSNormalization": range(1, 2)},
    **{"SimplifiedLayerNormalization": range(1, 2), "SkipSimplifiedLayerNormalization": range(2, 3)},
}
_BIASES = {"Conv": 2, "FusedConv": 2, "ConvTranspose": 2, "QLinearConv": 8, "Gemm": 2, "FusedGemm": 2, "QGemm": 6}
# Where scale and zero point of an operator's weights are among its inputs; -1: nowhere.
_SCALES = {
    **{"ConvInteger": (-1, 3), "QLinearConv": (4, 5), "MatMulInteger": (-1, 3), "QLinearMatMul": (4, 5)},
    **{"QGemm": (4, 5), "MatMulIntegerToFloat": (3, 5), "DynamicQuantizeMatMul": (2, 3)},
}
_GATES = {"LSTM": (4, "iofc", "ifgo"), "DynamicQuantizeLSTM": (4, "iofc", "ifgo"), "GRU": (3, "zrh", "rzn")}


class Scale(NamedTuple):
    """How an array is quantised: ``(q - zero) · scale``.

    Attributes:
        scale: name of the array of scales; ``""``: 1.
        zero: name of the array of zero points; ``""``: 0.
        axes: along which they go; a single one fits too, or one along the first of two.
        block: values a scale along the only axis; 0: one value.
    """

    scale: str
    zero: str
    axes: tuple[int, ...]
    block: int = 0


class Use(NamedTuple):
    """How an array is used. ``part`` is one of several directions, or None for the whole."""

    axes: str
    operator: str
    gates: str = ""
    shape: tuple[int, ...] | None = None
    part: int | None = None


@dataclass
class Found:
    """The uses of one array."""

    uses: list[Use]
    scale: Scale | None = None
    nodes: list[int] = field(default_factory=list)


@dataclass
class _Source:
    """The array behind an operator's input, and how it becomes that input."""

    name: str
    permutations: list[tuple[int, ...]]
    reshaped: bool = False
    pieces: bool = False
    scale: Scale | None = None


class UseFinder:
    """Looks at all nodes of one graph."""

    def __init__(self, flat: FlatGraph) -> None:
        self._flat = flat
        self._index = 0
        self.found: dict[str, Found] = {}

    def find(self) -> dict[str, Found]:
        """The uses of all arrays that an operator takes; those of one array in a list where it holds directions."""
        for index, node in enumerate(self._flat.nodes):
            self._index = index
            if node.op in _CONVS or node.op == "ConvTranspose":
                self._conv(node)
            elif node.op in _PRODUCTS:
                self._product(node)
            elif node.op in _GATES:
                self._recurrent(node)
            elif node.op in _NORMS:
                for place in _NORMS[node.op]:
                    self._plain(node, place, "norm")
            elif node.op == "Gather":
                self._embedding(node)
            if node.op in _BIASES:
                self._plain(node, _BIASES[node.op], "bias")
        for node in self._flat.nodes:
            if node.op == "Add":
                for place in (0, 1):
                    self._plain(node, place, "bias")
        return self.found

    def _conv(self, node: GraphNode) -> None:
        place = _CONVS.get(node.op, 1)
        source = self._source(node, place)
        if source is None:
            return
        shape = self._flat.arrays[source.name].shape
        if not 3 <= len(shape) <= 5:
            return
        spatial = {3: "w", 4: "hw", 5: "dhw"}[len(shape)]
        letters = ("io" if node.op == "ConvTranspose" else "oi") + spatial
        axes = letters if source.reshaped else _before(letters, source.permutations)
        group = node.attributes.get("group", 1)
        grouped = isinstance(group, int) and group > 1 and "i" in axes and shape[axes.index("i")] == 1
        operator = "depthwise" if grouped and node.op != "ConvTranspose" else "conv"
        self._add(source, Use(axes, operator), self._scale(node, source, axes.find("o")))

    def _product(self, node: GraphNode) -> None:
        place = _PRODUCTS[node.op]
        source, letters = self._source(node, place), "io"
        if "Gemm" in node.op or node.op == "FusedMatMul":
            letters = "oi" if node.attributes.get("transB") else "io"
        if source is None and node.op in ("MatMul", "Gemm"):
            source, letters = self._source(node, 0), "io" if node.attributes.get("transA") else "oi"
        if source is None:
            return
        shape = self._flat.arrays[source.name].shape
        if len(shape) != 2:
            return
        axes = letters if source.reshaped else _before(letters, source.permutations)
        if source.reshaped and source.permutations:
            axes = ""
        self._add(source, Use(axes, "dense"), self._scale(node, source, axes.find("o")))

    def _recurrent(self, node: GraphNode) -> None:
        count, given, exported = _GATES[node.op]
        kind = "gru" if node.op == "GRU" else "lstm"
        quantised = node.op == "DynamicQuantizeLSTM"
        for place, operator in ((1, f"{kind}-input"), (2, f"{kind}-hidden")):
            source = self._source(node, place)
            if source is None or source.permutations:
                continue
            shape = self._flat.arrays[source.name].shape
            rows = (-1 if quantised else -2) if len(shape) >= 2 else 0
            if len(shape) not in (2, 3) or shape[rows] % count:
                continue
            split = (count, shape[rows] // count)
            single = (shape[-2], *split) if quantised else (*split, shape[-1])
            # The exporter of PyTorch cuts its own matrix into gates and puts them together in the other order.
            gates = exported if source.pieces else given
            directions = shape[0] if len(shape) == 3 else 1
            use = Use("igo" if quantised else "goi", operator, gates, single)
            uses = [use] if directions == 1 else [use._replace(part=part) for part in range(min(directions, 2))]
            scale = None
            if quantised:
                names = self._names(node, *((8, 9) if place == 1 else (10, 11)))
                scale = self._fitting(names, (0, 2) if len(shape) == 3 else (1,), shape)
            self._add(source, uses, scale)
        self._plain(node, 3, "bias")

    def _embedding(self, node: GraphNode) -> None:
        source = self._source(node, 0)
        if source is not None and len(self._flat.arrays[source.name].shape) == 2 and not source.permutations:
            self._add(source, Use("vo", "embedding"), source.scale)

    def _plain(self, node: GraphNode, place: int, operator: str) -> None:
        """A vector: norm or bias."""
        source = self._source(node, place)
        if source is not None and source.name not in self.found:
            shape = self._flat.arrays[source.name].shape
            if sum(side > 1 for side in shape) <= 1 and shape:
                self._add(source, Use("o" if len(shape) == 1 else "", operator), source.scale)

    def _add(self, source: _Source, uses: Use | list[Use], scale: Scale | None) -> None:
        found = self.found.setdefault(source.name, Found(uses if isinstance(uses, list) else [uses], scale))
        found.nodes.append(self._index)

    def _source(self, node: GraphNode, place: int) -> _Source | None:
        """The array behind one of a node's inputs."""
        if place >= len(node.inputs):
            return None
        value, source = node.inputs[place], _Source("", [])
        for _ in range(_MAX_STEPS):
            if value in self._flat.arrays:
                source.name = value
                return source
            before = self._flat.producer(value)
            if before is None or not before.inputs:
                return None
            if before.op == "DequantizeLinear":
                source.scale = source.scale or self._linear(before)
            elif before.op == "Transpose":
                found = before.attributes.get("perm")
                source.permutations.append(found if isinstance(found, tuple) else ())  # type: ignore[arg-type]
            elif before.op in _RESHAPES:
                source.reshaped = True
            elif before.op in _PIECES:
                names = set(self._pieces(before))
                source.name, source.pieces = min(names, default=""), True
                return source if len(names) == 1 else None
            elif before.op not in _SAME:
                return None
            value = before.inputs[0]
        return None

    def _pieces(self, node: GraphNode) -> Iterator[str]:
        """Matrices that a value is put together from."""
        stack, seen = [node], 0
        while stack and seen < _MAX_PIECES:
            found = stack.pop()
            seen += 1
            for value in found.inputs if found.op == "Concat" else found.inputs[:1]:
                before = self._flat.producer(value)
                if value in self._flat.arrays:
                    if len(self._flat.arrays[value].shape) >= 2:
                        yield value
                elif before is not None and before.op in _PIECES | _RESHAPES | _SAME:
                    stack.append(before)

    def _linear(self, node: GraphNode) -> Scale | None:
        """Scale of a DequantizeLinear whose array is behind its first input."""
        array = self._flat.arrays.get(node.inputs[0])
        names = self._names(node, 1, 2)
        if array is None or not names[0]:
            return None
        said, block = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
        rank = len(array.shape)
        if not isinstance(said, int) or not isinstance(block, int):
            return None
        axis = said + rank if said < 0 else said
        if block > 0:
            found = self._flat.arrays[names[0]].shape
            wanted = tuple(math.ceil(side / block) if at == axis else side for at, side in enumerate(array.shape))
            return Scale(*names, (axis,), block) if found == wanted else None
        return self._fitting(names, (axis,), array.shape)

    def _scale(self, node: GraphNode, source: _Source, axis: int) -> Scale | None:
        """Scale and zero point that an operator takes for its weights, one or one an output unit."""
        if node.op not in _SCALES:
            return source.scale
        shape = self._flat.arrays[source.name].shape
        return self._fitting(self._names(node, *_SCALES[node.op]), (axis,) if axis >= 0 else (), shape)

    def _names(self, node: GraphNode, scale: int, zero: int) -> tuple[str, str]:
        found = []
        for place in (scale, zero):
            source = self._source(node, place) if place >= 0 else None
            found.append(source.name if source is not None else "")
        return found[0], found[1]

    def _fitting(self, names: tuple[str, str], axes: tuple[int, ...], shape: tuple[int, ...]) -> Scale | None:
        """The scale, where scales and zero points fit the array."""
        counts = [math.prod(self._flat.arrays[name].shape) for name in names if name]
        fits = all(scale_shape(count, axes, shape) is not None for count in counts)
        return Scale(*names, axes) if counts and fits else None


def scale_shape(count: int, axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape by which so many scales broadcast to an array: one, one along the axes, or along the first of them."""
    for along in ((), axes, axes[:1]):
        if all(axis < len(shape) for axis in along):
            found = tuple(side if at in along else 1 for at, side in enumerate(shape))
            if math.prod(found) == count:
                return found
    return None


def _before(letters: str, permutations: list[tuple[int, ...]]) -> str:
    """The letters of an array's axes from those after its transposes, the last transpose first."""
    for found in permutations:
        order = found or tuple(reversed(range(len(letters))))
        if sorted(order) != list(range(len(letters))):
            return ""
        before = [""] * len(letters)
        for after, place in enumerate(order):
            before[place] = letters[after]
        letters = "".join(before)
    return letters
