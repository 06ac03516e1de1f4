"""ONNX models: outputs, batches, external data, and the extra that they need."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hostile_onnx import linear_onnx, loop_onnx, onnx_model
from support.opened_models import INPUTS, opened

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import identify


def test_onnx_answers_as_its_definition(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    raw = linear_onnx(weight).SerializeToString()
    (tmp_path / "m.bin").write_bytes(raw)
    found = opened(tmp_path / "m.bin")
    assert (found.format, found.recorded, found.architecture) == ("onnx", False, None)
    assert found.model_hash == "sha256:" + hashlib.sha256(raw).hexdigest()
    expected = (INPUTS.numpy().astype(np.float64) @ weight).astype(np.float32)
    np.testing.assert_allclose(found.run(INPUTS, batch_size=2).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert found.to("cpu", torch.float64).run(INPUTS.double()).dtype == torch.float32
    found.close()
    with pytest.raises(ModelError, match="was closed"):
        found.run(INPUTS)


def test_onnx_outputs_batches_and_external_data(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weight = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    model = onnx_model(nodes, {"w": weight})
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2  # two rows, no more and no fewer
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    expected = INPUTS.numpy() @ weight
    for output, wanted in (("y", expected), (1, expected.clip(0)), ("z", expected.clip(0))):
        found = opened(tmp_path / "m.onnx", output=output)
        np.testing.assert_allclose(found.run(INPUTS).numpy(), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match=r"pick one with output= \(--output\) \(choices: 'y', 'z'\)"):
        opened(tmp_path / "m.onnx").run(INPUTS)
    first = found.model_hash
    (tmp_path / "m.data").write_bytes((weight + 1).tobytes())
    assert opened(tmp_path / "m.onnx", output="y").model_hash != first


def test_onnx_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_bytes(linear_onnx(np.ones((12, 3), np.float32)).SerializeToString())
    assert identify(tmp_path / "m") == "onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelRefusedError, match=r"pip install 'sac-fast\[onnx\]'") as caught:
        opened(tmp_path / "m")
    assert caught.value.reason == "missing-extra"


def test_an_old_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    (tmp_path / "m").write_bytes(linear_onnx(np.ones((12, 3), np.float32)).SerializeToString())
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    with pytest.raises(ModelRefusedError, match=r"needs onnxruntime >= 1\.24, got 1\.23\.2"):
        opened(tmp_path / "m")


def test_graphs_inside_a_graph_that_need_little_are_run(tmp_path: Path) -> None:
    from onnx import helper

    grow = [helper.make_node("Concat", ["v", "v"], ["wide"], axis=1)]
    for name, model in (("ends", loop_onnx(False)), ("grows", loop_onnx(True, grow, "wide", times=2))):
        (tmp_path / name).write_bytes(model.SerializeToString())
        found = opened(tmp_path / name).run(INPUTS)
        assert np.array_equal(found, np.tile(INPUTS, 4 if name == "grows" else 1))


def test_a_dropout_that_is_off_is_not_random(tmp_path: Path) -> None:
    from onnx import helper

    off = {"ratio": np.float32(0.5), "off": np.array(False)}
    for inputs in (["x"], ["x", "ratio"], ["x", "ratio", "off"]):
        model = onnx_model([helper.make_node("Dropout", inputs, ["y"])], {k: off[k] for k in inputs[1:]})
        (tmp_path / "m").write_bytes(model.SerializeToString())
        assert np.array_equal(opened(tmp_path / "m").run(INPUTS), INPUTS)
