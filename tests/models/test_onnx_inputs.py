"""ONNX files as people have them: of onnxruntime's tools, with further inputs, whole numbers, declared sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from support.opened_models import opened

from sac_fast import ProbeSet, fingerprint
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import Preprocessing

RNG = np.random.default_rng(0)
PROBES = ProbeSet.from_arrays(RNG.integers(0, 256, (5, 8, 8, 3), np.uint8))
KERNEL = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
DENSE = RNG.standard_normal((4, 2)).astype(np.float32)


def graph(
    nodes: list[Any], inputs: dict[str, tuple[int, list[Any]]], weights: dict[str, Any], domains: tuple[str, ...] = ()
) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def convolutional(shape: list[Any], **options: Any) -> onnx.ModelProto:
    """A convolution, its mean over the picture, and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    kernel = KERNEL[:, : shape[1]] if isinstance(shape[1], int) else KERNEL
    return graph(nodes, {"x": (TensorProto.FLOAT, shape)}, {"k": kernel, "w": DENSE}, **options)


def runtime(path: Path, **inputs: Any) -> Any:
    """What onnxruntime itself gives, as its users call it."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def pixels(**options: Any) -> Any:
    return Preprocessing(**options)(torch.from_numpy(PROBES.images.copy())).numpy()


def agree(path: Path, expected: Any, **options: Any) -> Any:
    """The fingerprint has onnxruntime's outputs; returns its provenance."""
    made = fingerprint(opened(path, **options), PROBES)
    np.testing.assert_allclose(made.outputs.numpy(), expected, rtol=0, atol=1e-5)
    return made.provenance


class Calibration(quantization.CalibrationDataReader):
    def __init__(self) -> None:
        self.batches = iter([{"x": pixels()}])

    def get_next(self) -> Any:
        return next(self.batches, None)


@pytest.mark.parametrize("how", ["dynamic", "static QDQ", "static operators", "fp16", "optimised", "blocked"])
def test_what_the_tools_of_onnxruntime_write(tmp_path: Path, how: str) -> None:
    onnx.save(convolutional(["n", 3, 8, 8], domains=("com.microsoft", "ai.onnx.unused")), tmp_path / "m.onnx")
    plain, ready, out = tmp_path / "m.onnx", tmp_path / "p.onnx", tmp_path / "o.onnx"
    quantization.quant_pre_process(plain, ready, skip_symbolic_shape=True)
    agree(ready, runtime(ready, x=pixels()))
    if how == "dynamic":
        quantization.quantize_dynamic(ready, out)
    elif how.startswith("static"):
        form = quantization.QuantFormat.QDQ if how == "static QDQ" else quantization.QuantFormat.QOperator
        quantization.quantize_static(ready, out, Calibration(), quant_format=form)
    elif how == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(ready), keep_io_types=True), out)
    else:
        options = onnxruntime.SessionOptions()
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if how == "blocked" else level.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(out)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(ready, options, providers=["CPUExecutionProvider"])
    agree(out, runtime(out, x=pixels()))


@pytest.mark.parametrize(
    ("domain", "operator"),
    [("com.microsoft", "EPContext"), ("com.microsoft", "BeamSearch"), ("ai.onnx.contrib", "PyOp"), ("mine", "Relu")],
)
def test_operators_that_are_not_built_in_are_refused(tmp_path: Path, domain: str, operator: str) -> None:
    model = graph(
        [helper.make_node(operator, ["x"], ["y"], domain=domain)],
        {"x": (TensorProto.FLOAT, ["n", 3, 8, 8])},
        {},
        (domain,),
    )
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelRefusedError, match=f"got '{operator}' of the domain '{domain}'") as caught:
        opened(tmp_path / "m.onnx")
    assert caught.value.reason == "custom-domain"


def with_state() -> onnx.ModelProto:
    """y = mean over the picture + state of two layers + rate / 1000."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceSum", ["state", "axis"], ["s"], keepdims=0),
        helper.make_node("Cast", ["sr"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["f", "thousand"], ["d"]),
        helper.make_node("Add", ["m", "s"], ["a"]),
        helper.make_node("Add", ["a", "d"], ["y"]),
    ]
    inputs = {
        "x": (TensorProto.FLOAT, ["n", 3, 8, 8]),
        "state": (TensorProto.FLOAT, [2, None, 3]),
        "sr": (TensorProto.INT64, []),
    }
    return graph(nodes, inputs, {"axis": np.array([0]), "thousand": np.float32(1000)})


def test_further_inputs_are_given_fixed_values(tmp_path: Path) -> None:
    onnx.save(with_state(), tmp_path / "m.onnx")
    with pytest.raises(ModelRefusedError) as caught:
        fingerprint(opened(tmp_path / "m.onnx"), PROBES)
    assert caught.value.reason == "more-inputs"
    assert "state float32 (2, ?, 3), sr int64 ()" in str(caught.value)
    assert "(--input state=zeros --input sr=zeros)" in str(caught.value)
    means = PROBES.images.astype(np.float64).mean((1, 2)) / 255
    zeros = agree(tmp_path / "m.onnx", means + 16, inputs={"state": "zeros", "sr": 16000})
    assert zeros["notes"][0] == "fixed inputs state=zeros, sr=16000"
    state = [[[1.0, 2.0, 3.0]], [[0.5, 0.5, 0.5]]]
    other = agree(tmp_path / "m.onnx", means + 8 + np.array([1.5, 2.5, 3.5]), inputs={"state": state, "sr": 8000})
    assert other["model_hash"] != zeros["model_hash"]
    agree(tmp_path / "m.onnx", means + 8 + 2, inputs={"state": 1, "sr": 8000, "not one of its inputs": 3})
    for wrong in ([[1.0, 2.0]], "ones", None, [["a"]], 1e400):
        with pytest.raises(ModelError, match="fixed value of the input state"):
            opened(tmp_path / "m.onnx", inputs={"state": wrong, "sr": 8000})
    with pytest.raises(ModelError, match="fixed value of the input sr"):
        opened(tmp_path / "m.onnx", inputs={"state": 0, "sr": 0.5})


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_whole_numbers_are_pixels_as_they_are(tmp_path: Path, kind: str) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["y"], axes=[2, 3], keepdims=0),
    ]
    onnx.save(graph(nodes, {"x": (getattr(TensorProto, kind.upper()), ["n", 3, 8, 8])}, {}), tmp_path / "m.onnx")
    made = agree(tmp_path / "m.onnx", PROBES.images.astype(np.float64).mean((1, 2)))
    assert made["notes"] == [f"pixels as {kind} as its input declares (x {kind} (n, 3, 8, 8))"]
    assert made["preprocessing"]["std"] == [1 / 255] * 3
    with pytest.raises(ModelError, match=r"whole numbers .* name --mean and --std"):
        fingerprint(opened(tmp_path / "m.onnx"), PROBES, preprocessing=Preprocessing(std=(0.5,)))


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        (["n", 3, 6, 4], {"size": (6, 4)}, "size 6x4"),
        (["n", 3, 6, "w"], {"size": (6, 8)}, "size 6x8"),
        (["n", 1, 8, 8], {"colour_order": "GRAY"}, "grey images"),
        ([2, 1, 4, 4], {"colour_order": "GRAY", "size": (4, 4)}, "grey images, size 4x4"),
        (["n", 3, "h", "w"], {}, ""),
        ([None, None, None, None], {}, ""),
    ],
)
def test_what_an_input_declares_is_taken(tmp_path: Path, shape: list[Any], options: Any, said: str) -> None:
    onnx.save(convolutional(shape), tmp_path / "m.onnx")
    batches = (
        np.split(np.concatenate([pixels(**options), pixels(**options)[-1:]]), 3)
        if shape[0] == 2
        else [pixels(**options)]
    )
    expected = np.concatenate([runtime(tmp_path / "m.onnx", x=batch) for batch in batches])[:5]
    made = agree(tmp_path / "m.onnx", expected)
    assert made["preprocessing"] == Preprocessing(**options).to_dict()
    notes = [line for line in made["notes"] if "no evidence" not in line]  # means of noise hardly vary
    assert [line.partition(" as its")[0] for line in notes] == ([said] if said else [])


def test_channels_last_is_taken_from_the_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)]
    onnx.save(graph(nodes, {"x": (TensorProto.FLOAT, ["n", 4, 4, 3])}, {}), tmp_path / "m.onnx")
    made = agree(tmp_path / "m.onnx", pixels(size=(4, 4)).mean((2, 3)))
    assert (made["preprocessing"]["layout"], made["preprocessing"]["size"]) == ("NHWC", [4, 4])


def test_what_the_user_names_is_believed(tmp_path: Path) -> None:
    onnx.save(convolutional(["n", 3, 6, 4]), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"onnxruntime refused inputs of shape \(5, 3, 7, 7\).*--size") as caught:
        fingerprint(opened(tmp_path / "m.onnx"), PROBES, preprocessing=Preprocessing(size=(7, 7)))
    assert "ONNXRuntimeError" not in str(caught.value)


@pytest.mark.parametrize("shape", [["n", 192], ["n", 16, 16000], ["n", 6, 8, 8], ["n", 3, 2, 8, 8]])
def test_files_that_take_no_images_have_a_reason_of_their_own(tmp_path: Path, shape: list[Any]) -> None:
    onnx.save(
        graph([helper.make_node("Identity", ["x"], ["y"])], {"x": (TensorProto.FLOAT, shape)}, {}), tmp_path / "m.onnx"
    )
    with pytest.raises(ModelRefusedError, match="must take images") as caught:
        fingerprint(opened(tmp_path / "m.onnx"), PROBES)
    assert caught.value.reason == "no-images"
