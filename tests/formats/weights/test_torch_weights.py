"""Checkpoints of torch and safetensors as named arrays, by what torch itself holds."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.weights import OpenedWeights, WeightArray


def by_name(opened: OpenedWeights) -> dict[str, WeightArray]:
    return {array.name: array for array in opened.arrays}


def network() -> nn.Module:
    return nn.ModuleDict(
        {
            "conv1": nn.Conv2d(3, 8, 3),
            "bn": nn.BatchNorm2d(8),
            "conv2": nn.Conv2d(8, 16, 3, groups=8),
            "up": nn.ConvTranspose2d(16, 4, 2),
            "tok_embeddings": nn.Embedding(30, 8),
            "lstm": nn.LSTM(8, 5, bidirectional=True),
            "gru": nn.GRU(10, 6),
            "rnn": nn.RNN(6, 6),
            "head": nn.Linear(6, 7),
        }
    )


@pytest.mark.parametrize("form", ["safetensors", "torch", "torch-legacy"])
def test_uses_and_values_of_a_state_dict(tmp_path: Path, form: str) -> None:
    state = network().state_dict()
    if form == "safetensors":
        safetensors.torch.save_file(state, tmp_path / "w", {"base_model": "a"})
    else:
        torch.save(state, tmp_path / "w", _use_new_zipfile_serialization=form == "torch")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert opened.format == form
        assert opened.graph is None
        found = by_name(opened)
        assert set(found) == set(state)
        for name, array in found.items():
            values = array.read()
            assert values.shape == array.shape
            assert np.array_equal(values.reshape(-1), state[name].reshape(-1).numpy()), name
        uses = {name: (array.axes, array.operator, array.gates) for name, array in found.items()}
    assert uses["conv1.weight"] == ("oihw", "conv", "")
    assert uses["conv2.weight"] == ("oihw", "depthwise", "")
    assert uses["up.weight"] == ("iohw", "conv", "")
    assert uses["tok_embeddings.weight"] == ("vo", "embedding", "")
    assert uses["head.weight"] == ("oi", "dense", "")
    assert uses["bn.weight"] == uses["bn.running_var"] == ("o", "norm", "")
    assert uses["bn.num_batches_tracked"] == ("", "norm", "")
    assert uses["head.bias"] == ("o", "bias", "")
    assert uses["lstm.weight_ih_l0_reverse"] == ("goi", "lstm-input", "ifgo")
    assert uses["lstm.weight_hh_l0"] == ("goi", "lstm-hidden", "ifgo")
    assert found["lstm.weight_hh_l0"].shape == (4, 5, 5)
    assert uses["gru.weight_ih_l0"] == ("goi", "gru-input", "rzn")
    assert found["gru.weight_ih_l0"].shape == (3, 6, 10)
    assert uses["rnn.weight_ih_l0"] == ("", "unknown", "")


def test_the_first_layer_of_one_channel_is_not_depthwise(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)).state_dict(), tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert [array.operator for array in opened.arrays] == ["conv", "bias", "conv", "bias"]


def test_dense_layers_of_gpt2_are_stored_transposed(tmp_path: Path) -> None:
    state = {"h.0.attn.c_attn.weight": torch.ones(4, 12), "h.0.attn.bias": torch.ones(1, 1, 8, 8)}
    safetensors.torch.save_file(state, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        uses = {array.name: (array.axes, array.operator) for array in opened.arrays}
    assert uses == {"h.0.attn.c_attn.weight": ("io", "dense"), "h.0.attn.bias": ("", "unknown")}


def test_safetensors_are_listed_with_numbers_in_order(tmp_path: Path) -> None:
    safetensors.torch.save_file({f"layer.{n}.weight": torch.ones(2, 2) for n in (10, 9, 2)}, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert [array.name for array in opened.arrays] == ["layer.2.weight", "layer.9.weight", "layer.10.weight"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float64, torch.int8])
def test_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.tensor([[1.5, -2.0], [0.25, 4.0]]).to(dtype)
    safetensors.torch.save_file({"a.weight": value}, tmp_path / "s")
    torch.save({"a.weight": value}, tmp_path / "t")
    for path in (tmp_path / "s", tmp_path / "t"):
        with sac_fast.open_weights(path) as opened:
            (array,) = opened.arrays
            assert array.dtype == str(dtype).removeprefix("torch.")
            assert array.read().astype(np.float64).tolist() == value.double().tolist()


class Unknown:
    """A class that only this test knows."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


class Slotted:
    __slots__ = ("weight",)


def test_nested_checkpoints_and_objects_are_read_as_data(tmp_path: Path) -> None:
    slotted = Slotted()
    slotted.weight = torch.full((2, 3), 4.0)
    strided = torch.arange(24.0).reshape(4, 6).T[1::2]
    checkpoint = {
        "model": {"state_dict": collections.OrderedDict([("conv.weight", torch.ones(8, 3, 3, 3))])},
        "ema": Unknown(net={"a": nn.Parameter(strided)}, step=3),
        "list": [torch.full((2,), 2.0), Unknown()],
        "slotted": slotted,
        "defaults": collections.defaultdict(list, {"k": torch.full((3,), 3.0)}),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(8, 3, 3, 3)}}},
        "lr_scheduler": 3,
        "args": Unknown(lr=0.1),
    }
    torch.save(checkpoint, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        found = {array.name: array.read() for array in opened.arrays}
    assert list(found) == ["model.state_dict.conv.weight", "ema.net.a", "list.0", "slotted.weight", "defaults.k"]
    assert np.array_equal(found["ema.net.a"], strided.numpy())
    assert found["slotted.weight"].tolist() == [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]
    assert found["list.0"].tolist() == [2.0, 2.0]
    assert found["defaults.k"].tolist() == [3.0, 3.0, 3.0]


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
def test_quantised_tensors_are_dequantised(tmp_path: Path) -> None:
    values = torch.tensor([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]])
    whole = torch.quantize_per_tensor(values, 0.25, 3, torch.qint8)
    rows = torch.quantize_per_channel(values, torch.tensor([0.5, 0.25]), torch.tensor([1, 2]), 0, torch.quint8)
    torch.save({"whole": whole, "rows": rows}, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        found = by_name(opened)
        assert found["whole"].dtype == "int8"
        assert found["whole"].read().tolist() == whole.dequantize().tolist()
        assert found["rows"].read().tolist() == rows.dequantize().tolist()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_archives_are_data(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Linear(6, 2))
            self.cell = nn.LSTMCell(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    model = Net()
    torch.jit.script(model).save(tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert opened.format == "torchscript"
        found = by_name(opened)
        assert set(found) == set(model.state_dict())
        for name, value in model.state_dict().items():
            assert np.array_equal(found[name].read().reshape(-1), value.reshape(-1).numpy())
        assert (found["cell.weight_hh"].operator, found["cell.weight_hh"].gates) == ("lstm-hidden", "ifgo")


def test_nothing_is_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": torch.ones(2), "b": Payload()}, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        assert [array.name for array in opened.arrays] == ["a"]
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Payload()))
    assert (tmp_path / "ran").exists()


def test_a_closed_file_is_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w")
    with sac_fast.open_weights(tmp_path / "w") as opened:
        pass
    with pytest.raises(ValueError, match="closed file"):
        opened.arrays[0].read()


def test_what_is_no_mapping_of_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sac_fast.formats.weights.torch_arrays.MAX_STEPS", 10_000)
    loop: dict[str, Any] = {"t": 1}
    loop["self"] = loop
    shared: list[Any] = []
    for _ in range(40):
        shared = [shared, shared]
    sparse = torch.eye(3).to_sparse()
    for value, reason in (
        ({"a": 1}, "no-state-dict"),
        (loop, "too-large"),
        (shared, "too-large"),
        ({"a": sparse}, "sparse"),
        ({"x" * 2000: torch.ones(1)}, "too-large"),
        ({"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)}, "duplicate-keys"),
    ):
        torch.save(value, tmp_path / "w")
        with pytest.raises(ModelRefusedError) as caught:
            sac_fast.open_weights(tmp_path / "w")
        assert caught.value.reason == reason
