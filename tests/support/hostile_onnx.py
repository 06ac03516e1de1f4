"""Hostile ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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


def _weights_bin(folder: Path, name: str, *, link: Callable[[Path, Path], Any] | None = None) -> None:
    real = folder / ".hidden" / f"real-{name}"
    real.write_bytes(np.ones(36, np.float32).tobytes())
    if link is not None:
        link(real, folder / ".hidden" / name)


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
        "two-inputs": ("graph", two),
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
        "onnx-damaged.onnx": ("graph", fixed_bytes(raw.replace(b"MatMul", b"MatM\xff\xff"))),
        "onnx-swarm.onnx": ("expanded", fixed_bytes(swarm)),
        "onnx-traversal.onnx": ("external-data", _external("../../../../etc/passwd", length="144")),
        "onnx-absolute.onnx": ("external-data", _external("/etc/passwd", length="144")),
        "onnx-missing.onnx": ("external-data", _external(".hidden/nothing.bin")),
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
