"""Arrays of TFLite models with the operators that use them.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs of TensorFlow.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..limits import MAX_DIMENSIONS, Limits, refuse
from .arrays import Graph, GraphNode, WeightArray
from .flat_graph import FINAL, WEIGHTED, FlatGraph, final_nodes
from .flatbuffer import Flatbuffer, Table
from .names import Use
from .nibbles import unpack_nibbles
from .ranges import FileRanges, item_size
from .state_dict import StoredArray

_DTYPES = {
    **{0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 8: "complex64"},
    **{9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4"},
    18: "bfloat16",
}
_NO_WEIGHTS = {"int32", "int64", "bool", "uint32", "uint64"}
_OPERATORS = {
    **{0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP", 9: "FULLY_CONNECTED"},
    **{
        16: "LSTM",
        18: "MUL",
        22: "RESHAPE",
        25: "SOFTMAX",
        36: "GATHER",
        39: "TRANSPOSE",
        54: "PRELU",
        67: "TRANSPOSE_CONV",
    },
    **{44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 77: "SHAPE", 126: "BATCH_MATMUL", 132: "CONV_3D"},
}
# Operator to the input that has its weights, what it is, and the axes by their number.
_USES = {
    "CONV_2D": (1, "conv", {4: "ohwi"}),
    "DEPTHWISE_CONV_2D": (1, "depthwise", {4: "ihwo"}),
    "TRANSPOSE_CONV": (1, "conv", {4: "ohwi"}),
    "CONV_3D": (1, "conv", {5: "dhwio"}),
    "FULLY_CONNECTED": (1, "dense", {2: "oi"}),
    "BATCH_MATMUL": (1, "dense", {2: "io"}),
    "EMBEDDING_LOOKUP": (1, "embedding", {2: "vo"}),
    "GATHER": (0, "embedding", {2: "vo"}),
}
_BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3, "CONV_3D": 2, "ADD": 1}
_LSTMS = {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


class _Scale(NamedTuple):
    scale: list[float]
    zero: list[int]
    axis: int


@dataclass
class _Parsed:
    """What is kept of the model while it is read."""

    ranges: FileRanges
    limits: Limits
    buffers: list[Table]
    flat: FlatGraph
    scales: dict[str, _Scale]
    total: int = 0


def tflite_arrays(handle: BinaryIO, name: str, limits: Limits) -> tuple[tuple[WeightArray, ...], dict[str, str], Graph]:
    """The arrays of a model.

    Args:
        handle: the open file; it must stay open while arrays are read.
        name: what messages call it.
        limits: on number and sizes.

    Returns:
        Arrays in the file's order, dequantised when they are read; texts about the model; its operators.

    Raises:
        ModelRefusedError: offsets outside of the file, sparse or unknown tensors, or a limit.
    """
    ranges = FileRanges(handle, name)
    model = Flatbuffer(ranges).root()
    parsed = _Parsed(ranges, limits, model.tables(4), FlatGraph(), {})
    limits.check_count(name, len(parsed.buffers), "buffers")
    codes = [_operator(code) for code in model.tables(1)]
    for number, subgraph in enumerate(model.tables(2)):
        _add_subgraph(subgraph, codes, parsed, number)
    flat = parsed.flat
    uses, nodes = _uses(flat)
    final = final_nodes(flat, {node for key, node in nodes.items() if uses[key].operator in WEIGHTED})
    arrays = []
    for key, stored in flat.arrays.items():
        use = uses.get(key, Use(stored.shape, "", "unknown" if stored.shape else "constant"))
        if use.operator in ("unknown", "constant") and (stored.dtype in _NO_WEIGHTS or not stored.shape):
            continue
        output = nodes[key] in final if use.operator in FINAL else None
        read = functools.partial(_dequantised, stored, parsed.scales.get(key), use.shape)
        arrays.append(WeightArray(key, use.shape, stored.dtype, use.axes, use.operator, read, use.gates, output))
    if not arrays:
        refuse("no-state-dict", f"{name} must hold arrays, got none")
    said = {"description": model.text(3)}
    return tuple(arrays), {key: text for key, text in said.items() if text}, flat.graph()


def _operator(code: Table) -> str:
    number = max(code.number(0, "<b"), code.number(3, "<i"))  # codes above 127 are in the second field alone
    return code.text(1) or _OPERATORS.get(number, f"BUILTIN_{number}")


def _add_subgraph(subgraph: Table, codes: list[str], parsed: _Parsed, number: int) -> None:
    flat, name = parsed.flat, parsed.ranges.name
    names = []
    for at, tensor in enumerate(subgraph.tables(0)):
        key = tensor.text(3) or f"tensor {at}"
        key = f"{number}:{at}/{key}" if key in flat.arrays or key in names or number else key
        names.append(key)
        parsed.limits.check_count(name, len(names))
        array = _array(tensor, key, parsed)
        if array is not None:
            flat.arrays[key] = array

    def named(indices: list[int]) -> tuple[str, ...]:
        if any(not -1 <= index < len(names) for index in indices):
            refuse("malformed", f"{name} must refer to tensors that are there, got number {max(indices)}")
        return tuple("" if index < 0 else names[index] for index in indices)

    for operator in subgraph.tables(3):
        code = operator.number(0, "<I")
        if code >= len(codes):
            refuse("malformed", f"{name} must refer to operators that are there, got number {code:,}")
        outputs = named(operator.numbers(2, "<i4"))
        for value in outputs:
            flat.producers.setdefault(value, len(flat.nodes))
        flat.nodes.append(GraphNode(codes[code], named(operator.numbers(1, "<i4")), outputs))
    if number == 0:
        flat.inputs, flat.outputs = named(subgraph.numbers(1, "<i4")), named(subgraph.numbers(2, "<i4"))


def _array(tensor: Table, key: str, parsed: _Parsed) -> StoredArray | None:
    """A tensor whose values are in the file; None for others."""
    name, index = parsed.ranges.name, tensor.number(2, "<I")
    if index >= len(parsed.buffers):
        refuse("malformed", f"{name} must refer to buffers that are there, got number {index:,}")
    buffer = parsed.buffers[index]
    start, size = buffer.vector(0, 1)
    if not size and buffer.number(1, "<Q") > 1:
        start, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")  # of files above 2 GB
        if start + size > parsed.ranges.size:
            refuse("truncated", f"{name} must hold the values of {key[:80]!r}, got its end before")
    dtype = _DTYPES.get(tensor.number(1, "<b"))
    if not size or dtype is None:  # none, or texts and handles
        return None
    if tensor.table(6) is not None:
        refuse("sparse", f"{name} must hold dense tensors only, got a sparse one at {key[:80]!r}")
    shape = tuple(tensor.numbers(0, "<i4"))
    if len(shape) > MAX_DIMENSIONS or any(side < 0 for side in shape):
        refuse("malformed", f"{name} must hold tensors of whole, positive sizes, got another at {key[:80]!r}")
    count = math.prod(shape)
    needed = (count + 1) // 2 if dtype == "int4" else count * item_size(dtype)
    if needed != size:
        reason = "expanded" if size < needed else "malformed"
        refuse(reason, f"{name} must store the {needed:,} bytes of {key[:80]!r}, got {size:,}")
    parsed.total += max(needed, count)
    parsed.limits.check_tensor(name, key, max(needed, count), parsed.total)
    # Several tensors may refer to one buffer.
    parsed.limits.check_expansion(name, key, parsed.total, parsed.ranges.size)
    scale = _scale(tensor, shape)
    if scale is not None and dtype not in ("float32", "float16"):
        parsed.scales[key] = scale
    return StoredArray(dtype, shape, functools.partial(_read, parsed.ranges, start, dtype, shape))


def _scale(tensor: Table, shape: tuple[int, ...]) -> _Scale | None:
    """One scale, or one a place of an axis; None where they do not fit."""
    said = tensor.table(4)
    if said is None:
        return None
    found = _Scale(said.reals(2), said.numbers(3, "<i8"), said.number(6, "<i"))
    if not 0 <= found.axis < max(1, len(shape)):
        return None
    counts = {1, shape[found.axis] if shape else 1}
    fits = len(found.scale) in counts and len(found.zero) in counts | {0} and all(map(math.isfinite, found.scale))
    return found if fits else None


def _read(ranges: FileRanges, start: int, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if dtype == "int4":
        packed = np.frombuffer(ranges.read(start, (math.prod(shape) + 1) // 2), np.uint8)
        return unpack_nibbles(packed, dtype, shape)
    return ranges.array(start, dtype, shape)


def _dequantised(stored: StoredArray, scale: _Scale | None, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """``(q - zero) · scale``, in the shape of the array's use."""
    values = stored.read()
    if scale is not None:
        along = [-1 if axis == scale.axis else 1 for axis in range(values.ndim)]
        zero = np.asarray(scale.zero or [0], np.float32).reshape(along if len(scale.zero) > 1 else [1] * values.ndim)
        factor = np.asarray(scale.scale, np.float32).reshape(along if len(scale.scale) > 1 else [1] * values.ndim)
        values = (values.astype(np.float32) - zero) * factor
    return values.reshape(shape)


def _uses(flat: FlatGraph) -> tuple[dict[str, Use], dict[str, int]]:
    """The use of each array that an operator takes, and the number of that operator."""
    uses: dict[str, Use] = {}
    nodes: dict[str, int] = {}

    def add(node: GraphNode, number: int, place: int, operator: str, axes: dict[int, str], gates: str = "") -> None:
        value = node.inputs[place] if place < len(node.inputs) else ""
        before = flat.producer(value)
        if before is not None and before.op == "DEQUANTIZE" and before.inputs:
            value = before.inputs[0]  # weights of half precision
        stored = flat.arrays.get(value)
        if stored is None or value in uses or len(stored.shape) not in axes:
            return
        shape = (1, *stored.shape) if gates else stored.shape
        uses[value], nodes[value] = Use(shape, axes[len(stored.shape)], operator, gates), number

    for number, node in enumerate(flat.nodes):
        if node.op in _USES:
            add(node, number, *_USES[node.op])
        if node.op in _LSTMS:
            for place, gate in enumerate("ifco"):
                add(node, number, 1 + place, "lstm-input", {2: "goi"}, gate)
                add(node, number, 5 + place, "lstm-hidden", {2: "goi"}, gate)
                add(node, number, 12 + place, "bias", {1: "o"})
        if node.op in _BIASES:
            add(node, number, _BIASES[node.op], "bias", {1: "o"})
    return uses, nodes
