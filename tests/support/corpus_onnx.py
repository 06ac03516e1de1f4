"""ONNX files of the corpus: one linear network as graphs of every kind that people and tools write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .corpus import BIAS, NETWORK, PROBES, WEIGHT, Case, content, network

N = len(PROBES)
_INTO = WEIGHT.T.copy()
_LINEAR = (
    helper.make_node("Flatten", ["p"], ["f"]),
    helper.make_node("MatMul", ["f", "w"], ["m"]),
    helper.make_node("Add", ["m", "b"], ["y"]),
)
_WEIGHTS = {"w": _INTO, "b": BIAS}
#: Mean of each channel, which a resize to twice the size leaves as it is.
_MEANS = PROBES.images.astype(np.float64).mean((1, 2)) / 255
_LUMA = PROBES.images.reshape(N, 4, 3).astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
_GREY = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), output.split(), **attributes)


def _model(
    nodes: Sequence[Any],
    weights: Mapping[str, Any] = _WEIGHTS,
    shape: Sequence[Any] = ("n", 3, 2, 2),
    dtype: int = TensorProto.FLOAT,
    *,
    more: Mapping[str, tuple[int, Sequence[Any]]] | None = None,
    outputs: Mapping[str, int] | None = None,
    domains: Sequence[str] = (),
    opset: int = 17,
) -> Any:
    """``x`` (n, 3, 2, 2) → ``y``; the network itself begins at ``p``."""
    inputs = {"x": (dtype, shape), **(more or {})}
    known = {name for node in nodes for name in node.output}
    start = [] if "p" in known or not any("p" in node.input for node in nodes) else [_node("Identity", "x", "p")]
    graph = helper.make_graph(
        [*start, *nodes],
        "graph",
        [helper.make_tensor_value_info(name, kind, list(sides)) for name, (kind, sides) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in (outputs or {"y": TensorProto.FLOAT}).items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _case(name: str, model: Any, outcome: Any = NETWORK, says: str = "", **options: Any) -> Case:
    return Case(name, content(model.SerializeToString()), "onnx", outcome, says, options)


def _cast(kind: int, scale: float) -> list[Any]:
    """Nodes that make the pixels of whole numbers or of another float."""
    divisor = numpy_helper.from_array(np.float32(scale))
    constant = helper.make_node("Constant", [], ["scale"], value=divisor)
    return [_node("Cast", "x", "c", to=TensorProto.FLOAT), constant, _node("Div", "c scale", "p")]


def input_cases() -> list[Case]:
    """What the main input declares, and further inputs."""
    fixed: Any = {"state": (TensorProto.FLOAT, [1, 3]), "sr": (TensorProto.INT64, [])}
    half = [*_cast(TensorProto.FLOAT16, 1), *_LINEAR]
    stateful = [
        *_LINEAR[:2],
        _node("Add", "m b", "a"),
        _node("Add", "a state", "s"),
        _node("Cast", "sr", "r", to=TensorProto.FLOAT),
        _node("Add", "s r", "y"),
    ]
    mean = [_node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0)]
    grey = [_node("Flatten", "x", "f"), _node("MatMul", "f w", "y")]
    same = [_node("Identity", "x", "y")]
    transposed = [_node("Transpose", "x", "p", perm=[0, 3, 1, 2]), *_LINEAR]
    narrow = (PROBES.images.astype(np.float32) / np.float32(255)).astype(np.float16)
    halved = network(pixels=narrow.astype(np.float64).transpose(0, 3, 1, 2).reshape(N, 12))
    return [
        _case("net.onnx", _model(_LINEAR)),
        _case("nothing-declared.onnx", _model(_LINEAR, shape=(None, None, None, None))),
        _case("named-sides.onnx", _model(_LINEAR, shape=("batch", 3, "height", "width"))),
        *(_case(f"batch-{rows}.onnx", _model(_LINEAR, shape=(rows, 3, 2, 2))) for rows in (1, 3, N, 16)),
        _case("uint8.onnx", _model([*_cast(2, 255), *_LINEAR], dtype=TensorProto.UINT8), NETWORK, "pixels as uint8"),
        _case("int32.onnx", _model([*_cast(6, 255), *_LINEAR], dtype=TensorProto.INT32), NETWORK, "pixels as int32"),
        _case("double.onnx", _model([*_cast(11, 1), *_LINEAR], dtype=TensorProto.DOUBLE)),
        _case("half.onnx", _model(half, dtype=TensorProto.FLOAT16), halved),
        _case("channels-last.onnx", _model(transposed, shape=("n", 2, 2, 3)), NETWORK, "layout NHWC"),
        _case("twice-as-large.onnx", _model(mean, {}, ("n", 3, 4, 4)), _MEANS, "size 4x4"),
        _case("grey.onnx", _model(grey, {"w": _GREY}, ("n", 1, 2, 2)), _LUMA @ _GREY, "grey images"),
        _case("state.onnx", _model(stateful, more=fixed), "more-inputs", "--input state=zeros --input sr=zeros"),
        _case(
            "state-given.onnx",
            _model(stateful, more=fixed),
            NETWORK + [1, 2, 3] + 8,
            "fixed inputs state=[[1, 2, 3]], sr=8",
            inputs={"state": [[1, 2, 3]], "sr": 8},
        ),
        _case("state-zeros.onnx", _model(stateful, more=fixed), inputs={"state": "zeros", "sr": "zeros"}),
        _case("flat.onnx", _model(same, shape=("n", 12)), "no-images", "must take images"),
        _case("sound.onnx", _model(same, shape=("n", 1, 16000)), "no-images", "must take images"),
        _case("video.onnx", _model(same, shape=("n", 3, 4, 2, 2)), "no-images", "must take images"),
        _case("six-channels.onnx", _model(same, shape=("n", 6, 2, 2)), "no-images", "1 or 3 channels"),
        _case("texts.onnx", _model([_node("Shape", "x", "y")], {}, ("n",), 8, outputs={"y": 7}), "graph"),
        _case("no-inputs.onnx", _constant(), "graph", "an input that takes the probes"),
    ]


def _constant() -> Any:
    model = _model([helper.make_node("Identity", ["b"], ["y"])])
    del model.graph.input[:]
    return model


def output_cases() -> list[Case]:
    """What the outputs are."""
    pair = {"m": TensorProto.FLOAT, "y": TensorProto.FLOAT}
    number, many = {"y": TensorProto.INT64}, np.tile(_INTO, (1, 3))[:, :N].copy()
    one = np.int64([2])
    logits = [*_LINEAR[:2], _node("Add", "m b", "z")]
    classes = NETWORK.argmax(1)[:, None]
    top = [*logits, _node("TopK", "z k", "v y")]
    wide = [_node("Flatten", "x", "f"), _node("MatMul", "f w", "m"), _node("Transpose", "m", "y")]
    cube = [*logits, helper.make_node("Unsqueeze", ["z", "k"], ["y"])]
    total = [*logits, _node("ReduceSum", "z", "y", keepdims=0)]
    root = [*logits, _node("Abs", "z", "u"), _node("Neg", "u", "v"), _node("Sqrt", "v", "y")]
    return [
        _case("two-outputs.onnx", _model(_LINEAR, outputs=pair), "run-failed", "--output"),
        _case("two-outputs-named.onnx", _model(_LINEAR, outputs=pair), output="y"),
        _case("two-outputs-first.onnx", _model(_LINEAR, outputs=pair), NETWORK - BIAS, output=0),
        _case("classes.onnx", _model([*logits, _node("ArgMax", "z", "y", axis=1)], outputs=number), classes, "ArgMax"),
        _case("top-2.onnx", _model(top, {**_WEIGHTS, "k": one}, outputs=number), "class-numbers", "TopK"),
        _case("time-first.onnx", _model(wide, {"w": many}), "batch-axis", "one row a probe"),
        _case("other-rows.onnx", _model(wide, {"w": _INTO}), "wrong-shape", "got 3"),
        _case("three-axes.onnx", _model(cube, {**_WEIGHTS, "k": one})),
        _case("one-number.onnx", _model(total), "wrong-shape", "a single number"),
        _case("root.onnx", _model(root), "not-finite", "got nan for probe 0"),
        _case("truth.onnx", _model([*logits, _node("Greater", "z b", "y")], outputs={"y": 9}), "run-failed", "bool"),
    ]


def graph_cases() -> list[Case]:
    """What graphs are made of: operators, domains, dtypes of weights, other files."""
    scale = np.float32(0.05)
    codes = np.rint(BIAS / scale).clip(-128, 127).astype(np.int8)
    # Of the bias: onnxruntime itself multiplies quantised matrices with rounded activations.
    quantised = [_node("DequantizeLinear", "q s z", "b"), *_LINEAR]
    values = {"q": codes, "s": scale, "z": np.int8(0), "w": _INTO}
    narrow = WEIGHT.astype(np.float16)
    widened = [_node("Cast", "h", "w", to=TensorProto.FLOAT), *_LINEAR]
    fused = [_node("Flatten", "p", "f"), _node("FusedMatMul", "f w", "m"), _LINEAR[2]]
    fused[1].domain = "com.microsoft"
    custom = [helper.make_node("Mine", ["x"], ["y"], domain="mine")]
    random = [*_LINEAR[:2], _node("RandomNormalLike", "m", "r"), _node("Add", "m r", "y")]
    branch = helper.make_graph(
        [_node("Add", "m b", "yes")], "branch", [], [helper.make_tensor_value_info("yes", TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [_node("Sub", "m b", "no")], "other", [], [helper.make_tensor_value_info("no", TensorProto.FLOAT, None)]
    )
    chosen = [*_LINEAR[:2], helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=other)]
    made = _model(_LINEAR)
    return [
        _case("opset-13.onnx", _model(_LINEAR, opset=13)),
        _case("opset-21.onnx", _model(_LINEAR, opset=21)),
        _case("unused-domains.onnx", _model(_LINEAR, domains=("com.microsoft", "ai.onnx.ml", "mine"))),
        _case("of-microsoft.onnx", _model(fused, domains=("com.microsoft",))),
        _case("quantised.onnx", _model(quantised, values), network(bias=codes * scale.astype(np.float64))),
        _case("half-weights.onnx", _model(widened, {"h": narrow.T.copy(), "b": BIAS}), network(narrow)),
        _case("branches.onnx", _model(chosen, {**_WEIGHTS, "t": np.bool_(True)})),
        _case("custom.onnx", _model(custom, {}, domains=("mine",)), "custom-domain", "of the domain 'mine'"),
        _case("random.onnx", _model(random), "random"),
        Case("beside/m.onnx", _external(), "onnx", NETWORK),
        Case("beside-missing/m.onnx", _external(written=False), "onnx", "external-data", "come with its weights"),
        Case("beside-outside/m.onnx", _external("../w.bin"), "onnx", "external-data", "in its own folder"),
        Case("cut.onnx", content(made.SerializeToString()[:-20]), "unknown", "unknown-format"),
    ]


def _external(location: str = "w.bin", *, written: bool = True) -> Callable[[Path], Any]:
    def write(path: Path) -> None:
        model = _model(_LINEAR)
        tensor = next(found for found in model.graph.initializer if found.name == "w")
        if written:
            (path.parent / "w.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        path.write_bytes(model.SerializeToString())

    return write


def onnx_cases() -> list[Case]:
    """All of this module."""
    return [*input_cases(), *output_cases(), *graph_cases()]
