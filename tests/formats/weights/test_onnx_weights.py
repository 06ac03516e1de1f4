"""ONNX graphs as named arrays: files that the onnx package writes, values by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.weights import Graph, WeightArray

onnx = pytest.importorskip("onnx", reason="needs onnx, which is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(7)


def values(*shape: int, dtype: Any = np.float32) -> Any:
    if np.issubdtype(dtype, np.integer):
        return RNG.integers(0, 100, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


def model(nodes: list[Any], weights: Mapping[str, Any], outputs: tuple[str, ...] = ("y",)) -> Any:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, producer_name="test")


def read(path: Path, found: Any) -> tuple[dict[str, WeightArray], dict[str, Any], Graph]:
    """Arrays and their values, with the values read while the file is open."""
    path.write_bytes(found.SerializeToString())
    with sac_fast.open_weights(path) as opened:
        assert opened.format == "onnx"
        assert opened.graph is not None
        read_values = {array.name: array.read() for array in opened.arrays}
        for array in opened.arrays:
            assert read_values[array.name].shape == array.shape
        return {array.name: array for array in opened.arrays}, read_values, opened.graph


def test_operators_axes_and_outputs(tmp_path: Path) -> None:
    weights = {
        "conv": values(8, 3, 3, 3),
        "conv bias": values(8),
        "depth": values(8, 1, 3, 3),
        "scale": values(8),
        "shift": values(8),
        "mean": values(8),
        "variance": values(8) ** 2,
        "grouped": values(8, 4, 1, 1),
        "up": values(8, 4, 2, 2),
        "gemm": values(5, 16),
        "gemm t": values(16, 5),
        "matmul": values(16, 9),
        "left": values(3, 16),
        "added": values(9),
        "words": values(100, 16),
        "table": np.arange(4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv", "conv bias"], ["a"]),
        helper.make_node("Conv", ["a", "depth"], ["b"], group=8),
        helper.make_node("BatchNormalization", ["b", "scale", "shift", "mean", "variance"], ["c"]),
        helper.make_node("Conv", ["c", "grouped"], ["d"], group=2),
        helper.make_node("ConvTranspose", ["d", "up"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "gemm"], ["g1"], transB=1),
        helper.make_node("Gemm", ["f", "gemm t"], ["g2"]),
        helper.make_node("MatMul", ["f", "matmul"], ["h"]),
        helper.make_node("Add", ["h", "added"], ["y"]),
        helper.make_node("MatMul", ["left", "f"], ["i"]),
        helper.make_node("Gather", ["words", "table"], ["j"]),
        helper.make_node("Shape", ["g1"], ["k"]),
        helper.make_node("Concat", ["k", "i"], ["z"], axis=0),
    ]
    found, read_values, graph = read(tmp_path / "m", model(nodes, weights, ("y", "z")))
    assert set(found) == set(weights) - {"table"}
    for name, value in read_values.items():
        assert np.array_equal(value, weights[name])
    assert {name: (array.operator, array.axes, array.output) for name, array in found.items()} == {
        "conv": ("conv", "oihw", False),
        "conv bias": ("bias", "o", None),
        "depth": ("depthwise", "oihw", False),
        **{name: ("norm", "o", None) for name in ("scale", "shift", "mean", "variance")},
        "grouped": ("conv", "oihw", False),
        "up": ("conv", "iohw", False),
        "gemm": ("dense", "oi", False),
        "gemm t": ("dense", "io", False),
        "matmul": ("dense", "io", True),
        "left": ("dense", "oi", True),
        "added": ("bias", "o", None),
        "words": ("embedding", "vo", None),
    }
    assert (graph.inputs, graph.outputs) == (("x",), ("y", "z"))
    assert (graph.nodes[1].op, graph.nodes[1].inputs, graph.nodes[1].attributes) == (
        "Conv",
        ("a", "depth"),
        {"group": 8},
    )


def test_arrays_behind_casts_transposes_and_reshapes(tmp_path: Path) -> None:
    weights = {"half": values(4, 16, dtype=np.float16), "kernel": values(3, 3, 6, 8), "one": values(8, 6, 3)}
    nodes = [
        helper.make_node("Cast", ["half"], ["single"], to=1),
        helper.make_node("Transpose", ["single"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["a"]),
        helper.make_node("Transpose", ["kernel"], ["oihw"], perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["a", "oihw"], ["b"]),
        helper.make_node("Unsqueeze", ["one", "axes"], ["two"]),
        helper.make_node("Conv", ["b", "two"], ["y"]),
    ]
    found, _, _ = read(tmp_path / "m", model(nodes, weights))
    assert {name: (array.operator, array.axes, array.dtype) for name, array in found.items()} == {
        "half": ("dense", "oi", "float16"),
        "kernel": ("conv", "hwio", "float32"),
        "one": ("conv", "oiw", "float32"),
    }


def test_constants_in_both_branches_and_outer_graphs(tmp_path: Path) -> None:
    outer, then, other = values(4, 3, 3), values(4, 4, 3), values(4, 4, 3)

    def branch(weight: Any) -> Any:
        nodes = [
            helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)),
            helper.make_node("Conv", ["a", "w"], ["b"]),
            helper.make_node("Conv", ["b", "outer"], ["out"]),
        ]
        return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch(then), else_branch=branch(other)),
    ]
    found, read_values, graph = read(tmp_path / "m", model(nodes, {"outer": outer, "flag": np.array(True)}))
    assert list(found) == ["outer", "w", "1:1/w"]
    assert [found[name].operator for name in found] == ["conv"] * 3
    assert [found[name].output for name in found] == [True, False, False]
    assert np.array_equal(read_values["w"], other)  # onnx writes attributes in the order of their names
    assert np.array_equal(read_values["1:1/w"], then)
    assert (graph.nodes[-1].op, graph.nodes[-1].inputs) == ("If", ("flag", "out", "1:1/out"))
    assert [node.inputs for node in graph.nodes if node.op == "Conv"] == [
        *(("a", "w"), ("b", "outer"), ("a", "1:1/w"), ("1:1/b", "outer")),
    ]


def test_quantised_operators(tmp_path: Path) -> None:
    kernel = values(4, 3, 3, 3, dtype=np.uint8)
    dense = values(6, 5, dtype=np.int8)
    scales, zeros = np.float32([0.5, 0.25, 2, 1]), np.uint8([1, 2, 3, 4])
    columns, shifts = np.float32([1, 2, 3, 4, 5]), np.int8([0, 1, 2, 3, 4])
    weights = {
        **{
            "scales": scales,
            "zeros": zeros,
            "columns": columns,
            "shifts": shifts,
            "xs": np.float32(1),
            "xz": np.uint8(0),
        },
        **{name: kernel for name in ("conv integer", "qlinear conv", "dq conv")},
        **{name: dense for name in ("matmul integer", "qlinear matmul", "blocked")},
        "blocks": np.float32([[1, 2, 3, 4, 5], [10, 20, 30, 40, 50]]),
    }
    nodes = [
        helper.make_node("ConvInteger", ["x", "conv integer", "xz", "zeros"], ["a"]),
        helper.make_node("QLinearConv", ["x", "xs", "xz", "qlinear conv", "scales", "zeros", "xs", "xz"], ["b"]),
        helper.make_node("DequantizeLinear", ["dq conv", "scales", "zeros"], ["d"], axis=0),
        helper.make_node("Conv", ["x", "d"], ["c"]),
        helper.make_node("MatMulInteger", ["x", "matmul integer", "xz", "shifts"], ["e"]),
        helper.make_node("QLinearMatMul", ["x", "xs", "xz", "qlinear matmul", "columns", "shifts", "xs", "xz"], ["f"]),
        helper.make_node("DequantizeLinear", ["blocked", "blocks"], ["g"], axis=0, block_size=4),
        helper.make_node("MatMul", ["x", "g"], ["y"]),
    ]
    found, read_values, _ = read(tmp_path / "m", model(nodes, weights))
    shifted = kernel.astype(np.float32) - zeros.reshape(4, 1, 1, 1)
    scaled = shifted * scales.reshape(4, 1, 1, 1)
    assert (found["conv integer"].operator, found["conv integer"].dtype) == ("conv", "uint8")
    assert np.array_equal(read_values["conv integer"], shifted)
    assert np.array_equal(read_values["qlinear conv"], scaled)
    assert np.array_equal(read_values["dq conv"], scaled)
    assert read_values["dq conv"].dtype == np.float32
    assert np.array_equal(read_values["matmul integer"], dense.astype(np.float32) - shifts)
    assert np.array_equal(read_values["qlinear matmul"], (dense.astype(np.float32) - shifts) * columns)
    blocks = np.array([[1, 2, 3, 4, 5]] * 4 + [[10, 20, 30, 40, 50]] * 2)
    assert np.array_equal(read_values["blocked"], dense.astype(np.float32) * blocks)
    assert found["blocked"].axes == "io"


def test_recurrent_layers(tmp_path: Path) -> None:
    two, hidden = values(2, 20, 3), values(2, 20, 5)
    cut = values(20, 3)
    quantised, scale, zero = values(1, 3, 20, dtype=np.uint8), values(1, 20), values(1, 20, dtype=np.uint8)
    recurrent = values(1, 5, 20, dtype=np.int8)
    gru = values(1, 15, 3)
    weights = {
        **{"two": two, "hidden": hidden, "cut": cut, "gru": gru, "q": quantised, "qr": recurrent},
        **{"scale": scale, "zero": zero, "one": np.float32([2]), "nought": np.int8([3])},
    }
    pieces = [helper.make_node("Slice", ["cut", f"start {n}", f"end {n}"], [f"gate {n}"]) for n in range(4)]
    nodes = [
        helper.make_node("LSTM", ["x", "two", "hidden"], ["a"], hidden_size=5, direction="bidirectional"),
        *pieces,
        helper.make_node("Concat", ["gate 0", "gate 3", "gate 1", "gate 2"], ["joined"], axis=0),
        helper.make_node("Unsqueeze", ["joined", "axes"], ["ready"]),
        helper.make_node("LSTM", ["x", "ready", "hidden"], ["b"], hidden_size=5),
        helper.make_node("GRU", ["x", "gru", "nothing"], ["c"], hidden_size=5),
        helper.make_node(
            "DynamicQuantizeLSTM",
            ["x", "q", "qr", "", "", "", "", "", "scale", "zero", "one", "nought"],
            ["y"],
            domain="com.microsoft",
            hidden_size=5,
        ),
    ]
    found, read_values, _ = read(tmp_path / "m", model(nodes, weights))
    uses = {name: (array.operator, array.axes, array.gates, array.shape) for name, array in found.items()}
    assert uses["two[0]"] == uses["two[1]"] == ("lstm-input", "goi", "iofc", (4, 5, 3))
    assert np.array_equal(read_values["two[1]"], two[1].reshape(4, 5, 3))
    assert uses["hidden[0]"] == ("lstm-hidden", "goi", "iofc", (4, 5, 5))
    assert uses["cut"] == ("lstm-input", "goi", "ifgo", (4, 5, 3))
    assert uses["gru"] == ("gru-input", "goi", "zrh", (3, 5, 3))
    assert uses["q"] == ("lstm-input", "igo", "iofc", (3, 4, 5))
    assert np.array_equal(
        read_values["q"].reshape(1, 3, 20), (quantised.astype(np.float32) - zero[:, None]) * scale[:, None]
    )
    assert np.array_equal(read_values["qr"].reshape(1, 5, 20), (recurrent.astype(np.float32) - 3) * 2)


def typed(name: str, data_type: int, shape: tuple[int, ...], numbers: list[Any]) -> Any:
    return helper.make_tensor(name, data_type, shape, numbers)


@pytest.mark.parametrize(
    ("data_type", "numbers"),
    [
        (TensorProto.FLOAT, [1.5, -2.0, 3.0]),
        (TensorProto.DOUBLE, [1.5, -2.0, 3.0]),
        (TensorProto.FLOAT16, [1.5, -2.0, 3.0]),
        (TensorProto.BFLOAT16, [1.5, -2.0, 3.0]),
        (TensorProto.FLOAT8E4M3FN, [1.5, -2.0, 3.0]),
        (TensorProto.INT8, [1, -2, 127]),
        (TensorProto.UINT16, [1, 2, 40_000]),
        (TensorProto.UINT64, [1, 2, 1 << 60]),
        (TensorProto.INT4, [1, -2, 7]),
        (TensorProto.UINT4, [1, 2, 15]),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_values_in_every_field(tmp_path: Path, data_type: int, numbers: list[Any], raw: bool) -> None:
    tensor = typed("w", data_type, (3, 1), numbers)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
        assert tensor.HasField("raw_data")
    found = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {})
    found.graph.initializer.append(tensor)
    _, read_values, _ = read(tmp_path / "m", found)
    assert read_values["w"].astype(np.float64).reshape(-1).tolist() == numbers


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    weight = values(12, 3)
    found = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    onnx.save_model(found, str(tmp_path / "m"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with sac_fast.open_weights(tmp_path / "m") as opened:
        assert np.array_equal(opened.arrays[0].read(), weight)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelRefusedError) as caught:
        sac_fast.open_weights(tmp_path / "m")
    assert caught.value.reason == "external-data"


def test_metadata_are_claims(tmp_path: Path) -> None:
    found = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": values(2, 2)})
    helper.set_model_props(found, {"base_model": "someone/else"})
    (tmp_path / "m").write_bytes(found.SerializeToString())
    with sac_fast.open_weights(tmp_path / "m") as opened:
        said = opened.claims["metadata"]
    assert (said["producer_name"], said["metadata base_model"], said["graph"]) == ("test", "someone/else", "graph")
