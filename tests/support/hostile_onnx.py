"""Hostile ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .hostile import Maker, fixed_bytes


def onnx_model(nodes: list[Any], weights: Mapping[str, Any], **options: Any) -> Any:
    """x (n, 12) -> y: the nodes, which must make y, with opset 17."""
    from onnx import TensorProto, helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 12]) for name in options.get("inputs", ["x"])
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    domains = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in options.get("domains", ()))]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def linear_onnx(weight: Any) -> Any:
    """x (n, 12) -> x @ weight."""
    from onnx import helper

    return onnx_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})


def _onnx_bomb(operator: str, **weights: Any) -> Any:
    from onnx import helper

    nodes = [
        helper.make_node(operator, list(weights), ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return onnx_model(nodes, weights)


def _external(location: str, *, prepare: Callable[[Path], Any] = lambda folder: None, **fields: str) -> Maker:
    from onnx import TensorProto

    def make(path: Path) -> None:
        prepare(path.parent)
        model = linear_onnx(np.ones((12, 3), np.float32))
        (tensor,) = model.graph.initializer
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **fields}.items():
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())

    return make


def _memory_file(folder: Path) -> None:
    """A file of the name by which the runtime means its own memory."""
    place = folder / ".hidden" / "*" / "_ORT_MEM_ADDR_"
    place.mkdir(parents=True)
    (place / "*").write_bytes(bytes(200))


def _weights_bin(folder: Path, name: str, *, link: Callable[[Path, Path], Any] | None = None) -> None:
    real = folder / ".hidden" / f"real-{name}"
    real.write_bytes(np.ones(36, np.float32).tobytes())
    if link is not None:
        link(real, folder / ".hidden" / name)


def _constant(name: str, value: Any) -> Any:
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def _graph(nodes: list[Any], output: str, shape: list[int] | None = None) -> Any:
    from onnx import TensorProto, helper

    return helper.make_graph(nodes, "inner", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)])


def _branches(nodes: list[Any], result: str, before: Sequence[Any] = (), **weights: Any) -> Any:
    """x + (a condition that is true: what the nodes give)."""
    from onnx import helper

    other = _graph([_constant("zero", np.float32(0))], "zero", [])
    branch = helper.make_node("If", ["true"], ["chosen"], then_branch=_graph(nodes, result), else_branch=other)
    ends = [_constant("true", np.array(True)), *before, branch, helper.make_node("Add", ["x", "chosen"], ["y"])]
    return onnx_model(ends, weights)


def loop_onnx(condition: bool, inside: Sequence[Any] = (), result: str = "v", times: int | None = None) -> Any:
    """x after a Loop that changes nothing, or does what is inside; endless where no number of times is given."""
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("i", TensorProto.INT64, []),
            ("before", TensorProto.BOOL, []),
            ("v", TensorProto.FLOAT, None),
            ("after", TensorProto.BOOL, []),
            ("w", TensorProto.FLOAT, None),
        )
    ]
    nodes = [
        helper.make_node("Identity", ["before"], ["after"]),
        *inside,
        helper.make_node("Identity", [result], ["w"]),
    ]
    body = helper.make_graph(nodes, "body", values[:3], values[3:])
    ends = [_constant("go", np.array(condition))] + ([] if times is None else [_constant("times", np.int64(times))])
    loop = helper.make_node("Loop", ["" if times is None else "times", "go", "x"], ["y"], body=body)
    return onnx_model([*ends, loop], {})


def _inner_bombs() -> dict[str, tuple[str, Any]]:
    from onnx import helper

    huge = np.array([10**9])
    fill, total = (
        helper.make_node("ConstantOfShape", ["sizes"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
    )
    nested = helper.make_node(
        "If", ["true"], ["in"], then_branch=_graph([fill, total], "sum"), else_branch=_graph([_constant("n", 0.0)], "n")
    )
    rows = [
        helper.make_node("Shape", ["v"], ["shape"]),
        helper.make_node("Mul", ["shape", "factor"], ["sizes"]),
        _constant("factor", np.array([1, 10**9])),
        fill,
        helper.make_node("Add", ["v", "sum"], ["result"]),
    ]
    weights = [_constant(f"w{number}", np.ones(1 << 20, np.float32)) for number in range(5)]
    return {
        "if": ("expanded", _branches([_constant("sizes", huge), fill, total], "sum")),
        "if-outer-constant": ("expanded", _branches([fill, total], "sum", [_constant("sizes", huge)])),
        "if-outer-weight": ("expanded", _branches([fill, total], "sum", sizes=huge)),
        "if-nested": ("expanded", _branches([nested], "in", [_constant("sizes", huge)])),
        "if-weights": ("too-large", _branches([*weights, helper.make_node("Sum", ["w0"], ["sum"])], "sum")),
        "loop": ("expanded", loop_onnx(True, [_constant("sizes", huge), fill, total, rows[-1]], "result", 1)),
        "loop-shape": ("too-large", loop_onnx(True, [rows[2], *rows[:2], fill, total, rows[-1]], "result", 1)),
        "random": ("random", onnx_model([helper.make_node("RandomNormalLike", ["x"], ["y"])], {})),
        "if-random": ("random", _branches([helper.make_node("Bernoulli", ["x"], ["b"])], "b")),
        "dropout": ("random", onnx_model([helper.make_node("Dropout", ["x", "r", "t"], ["y"])], _DROPOUT)),
    }


_DROPOUT = {"r": np.float32(0.5), "t": np.array(True)}


def onnx_files() -> dict[str, tuple[str, Maker]]:
    from onnx import helper

    linear = linear_onnx(np.ones((12, 3), np.float32))
    lying = linear_onnx(np.ones((12, 3), np.float32))
    lying.graph.initializer[0].dims[1] = 1_000_000_000
    functions = linear_onnx(np.ones((12, 3), np.float32))
    functions.functions.append(
        helper.make_function(
            "", "Mine", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
        )
    )
    custom = onnx_model([helper.make_node("Run", ["x"], ["y"], domain="evil")], {}, domains=["evil"])
    sizes, one, zero = np.array([100_000, 100_000]), np.ones((1, 1), np.float32), np.float32(0)
    late = onnx_model(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Mul", ["shape", "factor"], ["sizes"]),
            helper.make_node("ConstantOfShape", ["sizes"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        {"factor": np.array([1, 10**10])},
    )
    two = onnx_model([helper.make_node("Add", ["x", "z"], ["y"])], {}, inputs=["x", "z"])
    models: dict[str, tuple[str, Any]] = {
        "lying": ("expanded", lying),
        "functions": ("custom-domain", functions),
        "custom": ("custom-domain", custom),
        "range": ("expanded", _onnx_bomb("Range", start=zero, limit=np.float32(1e10), delta=np.float32(1))),
        "constant-of-shape": ("expanded", _onnx_bomb("ConstantOfShape", sizes=sizes)),
        "expand": ("expanded", _onnx_bomb("Expand", one=one, sizes=sizes)),
        "tile": ("expanded", _onnx_bomb("Tile", one=one, sizes=sizes)),
        "pad": ("expanded", _onnx_bomb("Pad", one=one, sizes=np.array([0, 0, 100_000, 100_000]))),
        "late": ("too-large", late),
        **_inner_bombs(),
        "two-inputs": ("more-inputs", two),
        "unknown-operator": ("graph", onnx_model([helper.make_node("NoSuchThing", ["x"], ["y"])], {})),
    }
    files = {
        f"onnx-{name}.onnx": (reason, fixed_bytes(model.SerializeToString()))
        for name, (reason, model) in models.items()
    }
    cut, raw = linear.SerializeToString()[:-7], linear.SerializeToString()
    # A graph of empty nodes, two bytes each.
    empty = b"\x0a\x00" * 1_500_000
    swarm = b"\x08\x09" + b"\x3a" + varint(len(empty)) + empty
    return {
        **files,
        "onnx-cut.onnx": ("unknown-format", fixed_bytes(cut)),
        "onnx-damaged.onnx": ("malformed", fixed_bytes(raw.replace(b"MatMul", b"MatM\xff\xff"))),
        "onnx-swarm.onnx": ("expanded", fixed_bytes(swarm)),
        "onnx-traversal.onnx": ("external-data", _external("../../../../etc/passwd", length="144")),
        "onnx-absolute.onnx": ("external-data", _external("/etc/passwd", length="144")),
        "onnx-missing.onnx": ("external-data", _external(".hidden/nothing.bin")),
        "onnx-memory.onnx": (
            "external-data",
            _external(".hidden/*/_ORT_MEM_ADDR_/*", prepare=_memory_file, offset="16", length="144"),
        ),
        "onnx-beyond.onnx": (
            "external-data",
            _external(".hidden/real-beyond", prepare=lambda f: _weights_bin(f, "beyond"), offset="1"),
        ),
        "onnx-symlink.onnx": (
            "external-data",
            _external(".hidden/soft", prepare=lambda f: _weights_bin(f, "soft", link=lambda a, b: b.symlink_to(a))),
        ),
        "onnx-hardlink.onnx": (
            "external-data",
            _external(".hidden/hard", prepare=lambda f: _weights_bin(f, "hard", link=os.link)),
        ),
    }


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(128 | value & 127)
        value >>= 7
    return bytes([*parts, value])
