"""Outputs that are no outputs of a probe: rows that are time steps, class numbers, weights, and what hardly varies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.corpus import OUTPUTS, PROBES, WEIGHT
from torch import nn

from sac_fast import fingerprint, scan_models
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import ModelEntry, open_model, run_model

STEPS = 7  # as many as there are probes


class TimeFirst(nn.Module):
    """(n, 3, 2, 2) to (7, n, 3): the steps of a recogniser come first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3].expand(STEPS, len(x), 3)


class Squeezed(nn.Module):
    """Drops the axis of a single probe."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3].squeeze()


def graph(path: Path, nodes: list[Any], batch: str | int = "n", output: str = "y", rank: int = 2) -> ModelEntry:
    """x (batch, 3, 2, 2) to the output; the tensor f (batch, 12) is flat, m (batch, 3) = f @ w."""
    from onnx import TensorProto, helper, numpy_helper

    before = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["m"])]
    constants = {"w": WEIGHT.T.copy(), "steps": np.array([STEPS, 1, 1]), "k": np.array([2]), "zero": np.array([0])}
    kind = TensorProto.INT64 if output in ("labels", "top") else TensorProto.FLOAT
    made = helper.make_graph(
        [*before, *nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 2, 2])],
        [helper.make_tensor_value_info(output, kind, [f"axis{i}" for i in range(rank)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString())
    return ModelEntry(path.name, path)


def node(*arguments: Any, **options: Any) -> Any:
    from onnx import helper

    return helper.make_node(*arguments, **options)


def time_first() -> list[Any]:
    return [node("Unsqueeze", ["m", "zero"], ["u"]), node("Expand", ["u", "steps"], ["y"])]


def asked(entry: ModelEntry) -> torch.Tensor:
    with open_model(entry) as model:
        return fingerprint(model, PROBES).outputs


@pytest.mark.parametrize("batch_size", [7, 64])
def test_steps_are_no_probes(tmp_path: Path, batch_size: int) -> None:
    # Seven equal rows for seven probes: told as done before.
    with pytest.raises(ModelError, match=r"got outputs of shape \(7, 3, 3\) for 3 probes") as caught:
        fingerprint(TimeFirst(), PROBES, batch_size=batch_size)
    assert caught.value.reason == "batch-axis"
    with pytest.raises(ModelError) as caught:
        asked(graph(tmp_path / "a.onnx", time_first(), rank=3))
    assert caught.value.reason == "batch-axis"
    assert run_model(Squeezed(), PROBES).shape == (7, 3)
    assert fingerprint(lambda x: x.flatten(1)[:, :3], PROBES).outputs.shape == (7, 3)


def test_graphs_of_a_fixed_batch_are_asked_in_another_order(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="got other outputs for the same probes in another order") as caught:
        asked(graph(tmp_path / "a.onnx", time_first(), batch=STEPS, rank=3))
    assert caught.value.reason == "batch-axis"
    for batch in (STEPS, 4, 16):
        entry = graph(tmp_path / "b.onnx", [node("Identity", ["m"], ["y"])], batch=batch)
        np.testing.assert_allclose(asked(entry).numpy(), PROBES_BY_W, atol=1e-5)


PROBES_BY_W = PROBES.images.transpose(0, 3, 1, 2).reshape(7, 12) / 255 @ WEIGHT.T.astype(np.float64)


def test_class_numbers_of_a_graph_are_labels(tmp_path: Path) -> None:
    expected = PROBES_BY_W.argmax(1)
    for name, rank, nodes in (
        ("labels", 1, [node("ArgMax", ["m"], ["labels"], axis=1, keepdims=0)]),
        ("y", 2, [node("ArgMax", ["m"], ["a"], axis=1), node("Cast", ["a"], ["y"], to=1)]),
    ):
        with open_model(graph(tmp_path / "a.onnx", nodes, output=name, rank=rank)) as model:
            made = fingerprint(model, PROBES)
        assert made.outputs.tolist() == expected[:, None].tolist()
        assert (made.output_form, made.provenance["output_form_declared"]) == ("labels", True)
        assert made.provenance["notes"][0] == f"output {name!r} is class numbers of ArgMax or TopK"
    two = [node("TopK", ["m", "k"], ["values", "top"], axis=1)]
    with pytest.raises(ModelError, match=r"got 'top' of shape \(7, 2\)") as caught:
        asked(graph(tmp_path / "b.onnx", two, output="top"))
    assert caught.value.reason == "class-numbers"
    largest = np.sort(PROBES_BY_W, 1)[:, :0:-1]
    found = asked(graph(tmp_path / "c.onnx", two, output="values"))
    np.testing.assert_allclose(found.numpy(), largest, atol=1e-5)
    pixels = [node("ArgMax", ["x"], ["labels"], axis=1, keepdims=0)]
    with pytest.raises(ModelError, match=r"got 'labels' of shape \(7, 2, 2\)"):
        asked(graph(tmp_path / "d.onnx", pixels, output="labels", rank=3))


@pytest.mark.parametrize("key", ["fc.weight", "weight", "dense/kernel:0", "layer1.bias", "W", "embeddings", "w2"])
def test_one_array_that_is_named_like_weights_is_no_outputs(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "a.npz", **{key.replace("/", "_"): OUTPUTS})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[key.replace("/", "_")] = OUTPUTS
    np.save(tmp_path / f"{key.replace('/', '_')}.npy", OUTPUTS)
    for name in ("a.npz", "a.h5", f"{key.replace('/', '_')}.npy"):
        with pytest.raises(ModelRefusedError, match="named like weights; --output") as caught:
            open_model(ModelEntry("a", tmp_path / name))
        assert caught.value.reason == "looks-like-weights"
        with open_model(ModelEntry("a", tmp_path / name, output=key.replace("/", "_"))) as model:
            assert model.run(None).tolist() == OUTPUTS.tolist()


def test_what_array_was_taken_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", answers=OUTPUTS)
    with open_model(ModelEntry("a", tmp_path / "a.npz")) as model:
        assert model.notes == ("array 'answers' taken as recorded outputs: 7 rows of 3",)
    np.savez(tmp_path / "b.npz", outputs=OUTPUTS)
    with open_model(ModelEntry("b", tmp_path / "b.npz")) as model:
        assert model.notes == ()


def test_outputs_that_hardly_vary_are_said(tmp_path: Path) -> None:
    flat = np.tile([1.0, 2.0, 5.0], (7, 1)) + 1e-6 * OUTPUTS
    (tmp_path / "models").mkdir()
    np.save(tmp_path / "models" / "flat.npy", flat)
    np.save(tmp_path / "models" / "good.npy", OUTPUTS)
    said = "the outputs are no evidence: outputs hardly vary: effective rank 1.00"
    with open_model(ModelEntry("flat", tmp_path / "models" / "flat.npy")) as model:
        assert fingerprint(model, PROBES).provenance["notes"][0].startswith(said)
    events: list[dict[str, Any]] = []
    scan_models(tmp_path / "models", PROBES.content_hash, tmp_path / "s", workers=1, on_event=events.append)
    found = {event["name"]: event.get("message", "") for event in events}
    assert found["flat.npy"].startswith(said)
    assert found["good.npy"] == ""
