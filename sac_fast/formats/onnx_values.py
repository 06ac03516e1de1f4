"""The values inside an ONNX graph and the graphs in it: their sizes, and whether they are the same in every run.

Source: https://onnx.ai/onnx/repo-docs/IR.html and the operators' specification.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

with contextlib.suppress(ImportError):  # `onnx_model` names the extra before it calls anything here
    import onnx

from .limits import Limits, refuse, refuse_errors
from .onnx_order import sort_nodes

# Bits of the dtypes of which several values share a byte.
_NARROW = {"INT2": 2, "UINT2": 2, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4}
# A graph input that stands for a weight whose values shape inference does not need.
_SMALL_BYTES = 1024
# Of If, Loop and Scan: they are copied several times, and hold a few small constants in what exporters write.
_MAX_INNER_BYTES = 16 << 20
_RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)


def value_bits(data_type: int) -> int:
    """Bits of one value; 0 of an unknown dtype."""
    try:
        bits = _NARROW.get(onnx.TensorProto.DataType.Name(data_type))
        return bits or int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8
    except (KeyError, ValueError):
        return 0


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs that a node holds, those of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def check_random(graphs: list[Any], name: str) -> None:
    """Refuse operators whose outputs differ from run to run.

    Args:
        graphs: all of a model, before `check_values`.
        name: what messages call the file.

    Raises:
        ModelRefusedError: there are some, or a Dropout that may be in training mode.
    """
    off = {""}  # names of values that are certainly false
    for graph in graphs:
        off.update(tensor.name for tensor in graph.initializer if _is_false(tensor))
        for node in graph.node:
            values = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
            if node.op_type == "Constant" and values and _is_false(values[0]):
                off.update(node.output)
    for node in (node for graph in graphs for node in graph.node):
        training = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] not in off
        if node.op_type in _RANDOM or training:
            refuse("random", f"{name} must give the same outputs in every run, got the operator {node.op_type}")


def _is_false(tensor: Any) -> bool:
    is_flag = tensor.data_type == onnx.TensorProto.BOOL and _is_small(tensor)
    return is_flag and not onnx.numpy_helper.to_array(tensor).any()


def check_values(model: Any, name: str, limits: Limits, file_bytes: int) -> None:
    """Infer the shapes of all values, and refuse those that no model of this size needs.

    Args:
        model: a ModelProto; large weights are taken out of it.
        name: what messages call the file.
        limits: on values.
        file_bytes: of the whole file.

    Raises:
        ModelRefusedError: there are some, or onnx does not accept the graph.
    """
    _take_out_weights(model, name)
    sort_nodes(model.graph)
    with refuse_errors(f"{name} must be a graph that onnx accepts", "graph"):
        _check_model(model)
        for number, node in enumerate(list(model.graph.node)):
            _inline(node, {}, f"{number}", model.graph)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    constant = {tensor.name for tensor in inferred.graph.initializer}
    sizes = {value.name: _value_bytes(value) for value in [*inferred.graph.value_info, *inferred.graph.output]}
    for node in inferred.graph.node:
        inputs = [text for text in node.input if text]
        fixed = all(text in constant for text in inputs) and not any(subgraphs(node))
        for text in node.output:
            size = sizes.get(text, 0)
            if fixed:
                # Known without any input: whatever it is, it is in the file already.
                constant.add(text)
                limits.check_expansion(name, f"{node.op_type} {text}", size, file_bytes)
            if size > limits.max_activation_bytes:
                wanted = f"at most {limits.max_activation_bytes:,} bytes a value"
                refuse("too-large", f"{name} must need {wanted}, got {size:,} for {node.op_type} {text!r}")


def _check_model(model: Any) -> None:
    """onnx's own check, which wants shapes of outputs that no runtime needs."""
    outputs = list(model.graph.output)
    del model.graph.output[:]
    kinds = (value.type.WhichOneof("value") for value in outputs)
    is_bare = [
        kind == "tensor_type" and not o.type.tensor_type.HasField("shape")
        for kind, o in zip(kinds, outputs, strict=True)
    ]
    model.graph.output.extend(value for value, bare in zip(outputs, is_bare, strict=True) if not bare)
    onnx.checker.check_model(model)
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def _inline(node: Any, scope: Mapping[str, str], prefix: str, flat: Any) -> None:
    """Copy the nodes inside of a node to the end of a flat graph, under names of their own.

    Inference goes into inner graphs, but forgets there what it knows of the values outside. The inputs of a Loop's
    body are taken for those of its first iteration.
    """
    for number, inner in enumerate(subgraphs(node)):
        place = f"{prefix}/{number}"
        own = {**scope, **{value.name: f"{place}/{value.name}" for value in inner.input}}
        if node.op_type == "Loop":
            given = (scope.get(text, text) for text in node.input[2:])
            own.update(zip((value.name for value in inner.input[2:]), given, strict=False))
        for tensor in inner.initializer:
            own[tensor.name] = f"{place}/{tensor.name}"
            _add_weight(flat, tensor, own[tensor.name])
        for index, one in enumerate(inner.node):
            copy = flat.node.add()
            copy.op_type, copy.domain = one.op_type, one.domain
            copy.input.extend(own.get(text, text) for text in one.input)
            own.update((text, f"{place}/{text}") for text in one.output if text)
            copy.output.extend(own.get(text, "") for text in one.output)
            copy.attribute.extend(a for a in one.attribute if not a.HasField("g") and not len(a.graphs))
            if any(subgraphs(one)):
                del flat.node[-1]  # its outputs stay unknown
                _inline(one, own, f"{place}.{index}", flat)


def _add_weight(graph: Any, tensor: Any, name: str) -> None:
    """Add a weight to a graph: a large one as an input of its shape, so that the checks that follow copy no weights."""
    if _is_small(tensor):
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    else:
        graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))


def _is_small(tensor: Any) -> bool:
    return tensor.ByteSize() <= _SMALL_BYTES and not tensor.data_location


def _take_out_weights(model: Any, name: str) -> None:
    """Large weights and constants of the main graph become inputs of their shape; the graphs inside have few."""
    graph, rest = model.graph, onnx.GraphProto()
    given = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if tensor.name not in given or _is_small(tensor):
            _add_weight(rest, tensor, tensor.name)
    inside = 0
    for number in reversed(range(len(graph.node))):
        node = graph.node[number]
        inside += sum(inner.ByteSize() for inner in subgraphs(node))
        (tensor,) = [a.t for a in node.attribute if a.HasField("t")][:1] or [None]
        if node.op_type == "Constant" and tensor is not None and len(node.output) == 1 and not _is_small(tensor):
            _add_weight(rest, tensor, node.output[0])
            del graph.node[number]
    if inside > _MAX_INNER_BYTES:
        wanted = f"at most {_MAX_INNER_BYTES:,} bytes in graphs inside others"
        refuse("too-large", f"{name} must hold {wanted}, got {inside:,}")
    del graph.initializer[:]
    graph.initializer.extend(rest.initializer)
    graph.input.extend(rest.input)


def _value_bytes(value: Any) -> int:
    """Bytes of a value for one input; a dimension that is not known counts as 1."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return 0
    kind = value.type.tensor_type
    values: int = math.prod(max(1, side.dim_value) for side in kind.shape.dim)
    return values * (value_bits(kind.elem_type) or 64) // 8
