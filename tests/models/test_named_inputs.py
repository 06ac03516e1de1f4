"""Models that take no images, asked with recorded inputs: networks by parameter, ONNX graphs by input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.opened_models import opened
from torch import nn

from sac_fast import Fingerprint, ModelEntry, ProbeSet, RecordedInputs, fingerprint, scan_models
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import Preprocessing, save_weights
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.store import ModelStore

RNG = np.random.default_rng(0)
SOUND = RNG.standard_normal((5, 16)).astype(np.float32)
STATE = RNG.standard_normal((5, 2, 1, 4)).astype(np.float32)
RATE = np.array([8, 16, 8, 16, 8])
MATRIX = RNG.standard_normal((16, 4)).astype(np.float32)
PROBES = RecordedInputs({"sound": SOUND})
#: What the graph of `recogniser` gives, by float64 arithmetic: sound · matrix + both states + rate / 8.
EXPECTED = SOUND.astype(np.float64) @ MATRIX + STATE.sum((1, 2)) + RATE[:, None] / 8


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return self.layer(sound)


class TwoInputs(nn.Module):
    def forward(self, words: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(words, 6).float().mean(1) * scale[:, None]


def recogniser(rows: int | None = None, **shapes: Any) -> onnx.ModelProto:
    """A graph with the inputs of a voice detector: sound (n, 16), state (2, 1, 4) of one probe, rate ()."""
    nodes = [
        helper.make_node("MatMul", ["sound", "w"], ["m"]),
        helper.make_node("ReduceSum", ["state", "axes"], ["s"], keepdims=0),
        helper.make_node("Cast", ["rate"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["f", "eight"], ["d"]),
        helper.make_node("Add", ["m", "s"], ["a"]),
        helper.make_node("Add", ["a", "d"], ["y"]),
    ]
    inputs = {
        "sound": (TensorProto.FLOAT, shapes.get("sound", [rows, 16])),
        "state": (TensorProto.FLOAT, shapes.get("state", [2, None, 4])),
        "rate": (TensorProto.INT64, shapes.get("rate", [])),
    }
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        [
            numpy_helper.from_array(MATRIX, "w"),
            numpy_helper.from_array(np.array([0, 1]), "axes"),
            numpy_helper.from_array(np.float32(8), "eight"),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    onnx.save(recogniser(), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_networks_and_functions() -> None:
    model = Dense().train()
    made = fingerprint(model, PROBES, batch_size=2)
    weight, bias = (value.detach().double().numpy() for value in model.parameters())
    np.testing.assert_allclose(made.outputs, SOUND @ weight.T + bias, rtol=1e-5, atol=1e-6)
    assert model.training
    assert made.provenance["probes"]["inputs"] == {"sound": {"dtype": "float32", "shape": [5, 16]}}
    assert "preprocessing" not in made.provenance
    words = RNG.integers(0, 6, (5, 3))
    two = RecordedInputs({"scale": np.arange(5.0), "words": words})
    counts = np.stack([(words == word).mean(1) for word in range(6)], 1)
    outputs = fingerprint(TwoInputs(), two).outputs.numpy()
    np.testing.assert_allclose(outputs, counts * np.arange(5)[:, None], rtol=1e-6)
    exact = RecordedInputs({"x": np.array([[1.0, 1 + 1e-12]] * 3)})
    assert fingerprint(lambda x: x, exact).outputs.tolist() == [[1.0, 1 + 1e-12]] * 3


def test_a_preprocessing_of_recorded_inputs_is_refused() -> None:
    for wrong in (Preprocessing(mean=(0.5,)), "auto"):
        with pytest.raises(ModelError, match="must be left out for recorded inputs"):
            fingerprint(Dense(), PROBES, preprocessing=wrong)  # type: ignore[arg-type]


def test_a_row_may_be_a_whole_input_of_a_graph(graph: Path) -> None:
    probes = RecordedInputs({"sound": SOUND, "state": STATE, "rate": RATE})
    made = fingerprint(opened(graph), probes)
    np.testing.assert_allclose(made.outputs, EXPECTED, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = [
        session.run(None, {"sound": SOUND[i : i + 1], "state": STATE[i], "rate": np.asarray(RATE[i])})[0]
        for i in range(5)
    ]
    np.testing.assert_allclose(made.outputs, np.concatenate(rows), rtol=0, atol=1e-6)


def test_fixed_values_and_recorded_inputs_together(graph: Path) -> None:
    made = fingerprint(opened(graph, inputs={"rate": 16}), RecordedInputs({"state": STATE, "sound": SOUND}))
    np.testing.assert_allclose(made.outputs, EXPECTED - RATE[:, None] / 8 + 2, rtol=1e-5, atol=1e-5)
    made = fingerprint(opened(graph, inputs={"rate": 16, "state": "zeros"}), PROBES)
    np.testing.assert_allclose(made.outputs, SOUND.astype(np.float64) @ MATRIX + 2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_graphs_of_a_fixed_batch(tmp_path: Path, rows: int) -> None:
    onnx.save(recogniser(rows), tmp_path / "m.onnx")
    inputs = {"rate": 0, "state": "zeros"}
    made = fingerprint(opened(tmp_path / "m.onnx", inputs=inputs), PROBES)
    np.testing.assert_allclose(made.outputs, SOUND.astype(np.float64) @ MATRIX, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"sound": SOUND}, r"an array for each input without a fixed value \(sound float32 \(\?, 16\), state"),
        ({"sound": SOUND, "state": STATE, "sr": RATE}, "got 'sound', 'state', 'sr'"),
        ({"sound": SOUND, "state": STATE[..., :3], "rate": RATE}, r"'state' must fit state float32 \(2, \?, 4\)"),
        ({"sound": SOUND[:, :9], "state": STATE, "rate": RATE}, "'sound' must fit sound float32"),
        ({"sound": SOUND, "state": STATE, "rate": RATE + 0.5}, "'rate' must be int64"),
        ({"sound": SOUND[:, :, None, None], "state": STATE, "rate": RATE}, "must have 2 dimensions, or one more"),
    ],
)
def test_inputs_that_do_not_fit_a_graph(graph: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        fingerprint(opened(graph), RecordedInputs(arrays))
    assert caught.value.reason == "wrong-inputs"


def test_images_for_such_a_graph_are_refused_with_the_remedy(graph: Path) -> None:
    images = ProbeSet.from_arrays(np.zeros((5, 4, 4, 3), np.uint8))
    with pytest.raises(ModelRefusedError, match=r"arrays for all as \.npz to --probes") as caught:
        fingerprint(opened(graph), images)
    assert caught.value.reason == "more-inputs"


def test_a_scan_asks_with_recorded_inputs(graph: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "dense.safetensors", Dense())
    probes = RecordedInputs({"sound": SOUND, "state": STATE, "rate": RATE})
    entries = [
        ModelEntry("graph", graph),
        ModelEntry("fixed", graph, inputs={"rate": 8}),
        ModelEntry("named", graph, preprocessing=Preprocessing(mean=(0.5,))),
    ]
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        settings = WorkerSettings(timeout=60)
        assert scan_models(entries, probes, store, settings=settings, workers=1).reasons == {
            "wrong-inputs": 1,
            "run-failed": 1,
        }
        record = store.record_for("graph", probes.content_hash)
        assert record is not None
        np.testing.assert_allclose(store.outputs(record), EXPECTED, rtol=1e-5, atol=1e-5)
        spec = f"{__name__}:Dense"
        network = ModelEntry("dense", tmp_path / "dense.safetensors", spec)
        assert scan_models([network], PROBES, store, settings=settings, workers=1).done == 1


def test_commands(graph: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    np.savez("inputs.npz", sound=SOUND, state=STATE, rate=RATE)
    code, out, err = run("probes", "import", "inputs.npz", "--out", "probes.st")
    assert (code, err) == (0, "")
    assert "float32 (5, 2, 1, 4)" in out
    assert run("show", "probes.st")[0] == 0
    hashes = set()
    for number, probes in enumerate(("inputs.npz", "probes.st")):
        code, _, err = run("fingerprint", graph, "--probes", probes, "--out", f"{number}.st", "-q")
        assert code == 0, err
        found = Fingerprint.load(f"{number}.st")
        np.testing.assert_allclose(found.outputs, EXPECTED, rtol=1e-5, atol=1e-5)
        hashes.add(found.probe_hash)
    assert len(hashes) == 1
    for number in range(2, 7):
        other = EXPECTED + RNG.standard_normal(EXPECTED.shape)
        about = {"name": f"n{number}", "probe_hash": hashes.copy().pop()}
        Fingerprint(torch.from_numpy(other), about).save(f"{number}.st")
    nulls = [part for number in range(2, 7) for part in ("--null", f"{number}.st")]
    code, out, err = run("verify", "0.st", "1.st", *nulls, "--metric", "cosine")
    assert code == 0, err
    code, _, err = run("fingerprint", graph, "--probes", "inputs.npz", "--size", "8", "--out", "x.st", "-q")
    assert code != 0
    assert "recorded inputs" in err
    code, _, err = run("scan", tmp_path, "--store", "s", "--probes", "inputs.npz", "--mean", "0.5", "-q")
    assert code == 2
    assert "go with images, got recorded inputs" in err
