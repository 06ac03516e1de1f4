"""Models by name, and weight files that misbehave."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sac_fast.errors import FileFormatError, ModelError
from sac_fast.models import load_model, load_weights, save_weights, weights_hash

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), np.uint8)


class MeanColour(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.scale


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))


def not_a_model() -> int:
    return 3


def failing(**kwargs: Any) -> nn.Module:
    raise RuntimeError("no such luck")


def test_weights_hash_is_the_documented_one() -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.fill_(3.0)
    stream = b'["bias","float32",[1]]\n' + struct.pack("<f", 3)
    stream += b'["weight","float32",[1,2]]\n' + struct.pack("<2f", 1, 2)
    assert weights_hash(model) == "sha256:" + hashlib.sha256(stream).hexdigest()
    half = {"x": torch.tensor(1.0, dtype=torch.bfloat16)}
    assert weights_hash(half) == "sha256:" + hashlib.sha256(b'["x","bfloat16",[]]\n\x80\x3f').hexdigest()


def test_weights_hash_sees_values_not_strides() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert weights_hash({"x": x.T}) == weights_hash({"x": x.T.contiguous()})
    assert weights_hash({"x": x.T}) != weights_hash({"x": x.reshape(3, 2)})
    assert weights_hash({"x": torch.ones(2, dtype=torch.complex64).conj()}) != weights_hash({"x": torch.ones(2)})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x": 3}, "must hold tensors only, got int at 'x'"),
        ({"x": torch.empty(2, device="meta")}, "uninitialised tensor at 'x'"),
        ({"x": torch.eye(2).to_sparse()}, "must hold dense tensors"),
        (nn.LazyLinear(3), "uninitialised tensor"),
    ],
)
def test_weights_that_cannot_be_hashed(state: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        weights_hash(state)


def test_save_and_load_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"  # told by content, not by name
    source, target = net(), net()
    with torch.no_grad():
        source[1].weight.add_(1)
    digest = save_weights(path, source)
    assert digest == weights_hash(source) != weights_hash(target)
    assert os.listdir(tmp_path) == ["w.bin"]
    load_weights(target, path)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)
    plain = safetensors.torch.load_file(path)
    assert torch.equal(plain["1.weight"], source[1].weight)


def test_shared_tensors(tmp_path: Path) -> None:
    first = nn.Linear(3, 3)
    tied = nn.Sequential(first, first)
    save_weights(tmp_path / "w", tied)
    second = nn.Linear(3, 3)
    other = nn.Sequential(second, second)
    load_weights(other, tmp_path / "w")
    assert torch.equal(second.weight, first.weight)
    save_weights(tmp_path / "v", {"part": torch.arange(9.0)[3:5], "turned": torch.arange(6.0).reshape(2, 3).T})
    assert safetensors.torch.load_file(tmp_path / "v")["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_flipped_byte_in_weights(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_weights(path, net())
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"'.*w' is damaged: its weights must have the hash sha256:"):
        load_weights(net(), path)


@pytest.mark.parametrize("wrap", ["plain", "nested", "prefixed", "old"])
def test_torch_checkpoints(tmp_path: Path, wrap: str) -> None:
    source = net()
    state: Any = OrderedDict((key, value + 1) for key, value in source.state_dict().items())
    if wrap == "prefixed":
        state = {f"module.{key}": value for key, value in state.items()}
    if wrap == "nested":
        state = {"state_dict": state, "epoch": 3}
    torch.save(state, tmp_path / "w.safetensors", _use_new_zipfile_serialization=wrap != "old")
    model = load_model(f"{__name__}:net", weights=tmp_path / "w.safetensors")
    for key, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[key], value + 1)


def test_weights_of_another_float_dtype_are_converted(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", {"scale": torch.tensor(2.5, dtype=torch.float64)})
    model = MeanColour()
    load_weights(model, tmp_path / "w")
    assert model.scale.dtype == torch.float32
    assert model.scale.item() == 2.5


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_weights_that_do_not_fit(tmp_path: Path, form: str) -> None:
    model = net()
    before = weights_hash(model)
    state = dict(model.state_dict())
    state["1.weight"] = torch.zeros(5, 80)
    state["9.extra"] = state.pop("1.bias")
    state["2.num_batches_tracked"] = torch.tensor(1j)
    path = tmp_path / "w"
    if form == "torch":
        torch.save(state, path)
    else:
        save_weights(path, state)
    with pytest.raises(ModelError) as caught:
        load_weights(model, path)
    for part in (
        "1 missing: 1.bias float32 (5,)",
        "1 unexpected: 9.extra float32 (5,)",
        "1.weight (expected float32 (5, 72), got float32 (5, 80))",
        "2.num_batches_tracked (expected int64 (), got complex64 ())",
        repr(str(path)),
    ):
        assert part in str(caught.value)
    assert weights_hash(model) == before


def test_only_the_first_few_names_are_listed(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", {f"x{i}": torch.zeros(1) for i in range(9)})
    with pytest.raises(ModelError, match=r"9 unexpected: x0 .*x4 float32 \(1,\) and 4 more"):
        load_weights(net(), tmp_path / "w")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["SAC_FAST_TEST_EVIL"],)


@pytest.mark.parametrize("old", [False, True])
def test_code_in_weights_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    monkeypatch.setenv("SAC_FAST_TEST_EVIL", str(tmp_path / "evil"))
    torch.save({"x": Evil()}, tmp_path / "w", _use_new_zipfile_serialization=not old)
    with pytest.raises(FileFormatError, match="needs code to run or is damaged"):
        load_weights(net(), tmp_path / "w")
    assert not (tmp_path / "evil").exists()


def test_whole_models_are_refused(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "w")
    with pytest.raises(FileFormatError, match="needs code to run"):
        load_weights(net(), tmp_path / "w")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ([torch.zeros(1)], "must hold a state dict .*got list"),
        (torch.zeros(1), "must hold a state dict .*got Tensor"),
        ({1: torch.zeros(1)}, "must hold a state dict"),
        ({"x": 3}, "must hold dense tensors only, got int at 'x'"),
        ({"x": torch.eye(2).to_sparse()}, "must hold dense tensors only"),
    ],
)
def test_checkpoints_that_are_no_state_dict(tmp_path: Path, saved: Any, message: str) -> None:
    torch.save(saved, tmp_path / "w")
    with pytest.raises(FileFormatError, match=message):
        load_weights(net(), tmp_path / "w")


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "good")
    with (
        zipfile.ZipFile(tmp_path / "good") as good,
        zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in good.namelist():
            bomb.writestr(name, good.read(name))
    with pytest.raises(FileFormatError, match="got a compressed archive"):
        load_weights(net(), tmp_path / "bomb")


def test_damaged_weight_files(tmp_path: Path) -> None:
    path = tmp_path / "w"
    torch.save(net().state_dict(), path)
    archive = path.read_bytes()
    save_weights(path, net())
    tensors = path.read_bytes()
    contents = [
        b"",
        b"x",
        b"no weights",
        b"PK\x03\x04",
        archive[:-100],
        archive[:300],
        tensors[:-1],
        tensors[:50],
    ]
    contents += [struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 50_000_000) + b"{}"]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"w' (must|is)"):
            load_weights(net(), path)
    with pytest.raises(FileFormatError, match="must be a regular file"):
        load_weights(net(), tmp_path)
    with pytest.raises(FileFormatError, match="No such file"):
        load_weights(net(), tmp_path / "none")


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("net", {}, r'must be named as "package\.module:callable", got \'net\''),
        ("a:b:c", {}, "must be named as"),
        ("os; import x:y", {}, "must be named as"),
        (".relative:net", {}, "must be named as"),
        ("no_such_package_at_all:net", {}, "cannot import 'no_such_package_at_all'.*ModuleNotFoundError"),
        ("broken_module_of_test:net", {}, "cannot import 'broken_module_of_test'.*ZeroDivisionError"),
        (f"{__name__}:nothing", {}, "has no 'nothing'"),
        (f"{__name__}:PIXELS", {}, "must name a callable, got ndarray"),
        ("torch:nn.Linear", {}, "got the module 'torch.nn' on the way"),
        ("sac_fast.demo.architectures:torch.os.getcwd", {}, "got the module 'torch' on the way"),
        (f"{__name__}:not_a_model", {}, "must return an nn.Module, got int"),
        (f"{__name__}:failing", {"a": 1}, r"failed with arguments \{'a': 1\}: RuntimeError: no such luck"),
        (f"{__name__}:net", {"depth": 3}, "failed with arguments .*TypeError"),
    ],
)
def test_specs_that_name_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, kwargs: dict[str, Any], message: str
) -> None:
    (tmp_path / "broken_module_of_test.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match=message):
        load_model(spec, kwargs=kwargs)


def test_load_model_by_name(tmp_path: Path) -> None:
    model = load_model(f"{__name__}:MeanColour", kwargs={"scale": 3.0})
    assert isinstance(model, sys.modules[__name__].MeanColour)
    assert model.scale.item() == 3.0
    linear = load_model("torch.nn:Linear", kwargs={"in_features": 2, "out_features": 3})
    assert linear.weight.shape == (3, 2)
