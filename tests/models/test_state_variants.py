"""Parametrized, narrow, tied and sharded weights; why others do not fit; code beside weights."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.checkpoints import Net, loaded, made, sharded
from torch import nn
from torch.nn.utils import parametrizations, prune

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import ModelEntry, identify, list_entries, load_weights, open_model, weights_hash
from sac_fast.models.checkpoint import read_weights


@pytest.mark.parametrize(
    "how",
    ["prune", "weight_norm", "old weight_norm", "weight_norm of all", "spectral_norm", "old spectral_norm", "both"],
)
def test_parametrizations_that_are_still_attached(tmp_path: Path, how: str) -> None:
    """The plain network gets the weight that the parametrized one computes."""
    model = made()
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old forms are deprecated
        if how in ("prune", "both"):
            prune.l1_unstructured(model.conv, "weight", amount=0.5)
            prune.random_unstructured(model.fc, "bias", amount=1)
        if how in ("weight_norm", "both"):
            parametrizations.weight_norm(model.fc)
        if how == "old weight_norm":
            nn.utils.weight_norm(model.fc, dim=1)
            nn.utils.weight_norm(model.conv)
        if how == "weight_norm of all":
            parametrizations.weight_norm(model.fc, dim=None)
        if how == "spectral_norm":
            parametrizations.spectral_norm(model.conv)
        if how == "old spectral_norm":
            nn.utils.spectral_norm(model.fc)
    if how.endswith("weight_norm"):
        with torch.no_grad():
            for key, value in model.named_parameters():
                value.add_(1) if key.endswith(("weight_g", "original0")) else None
    x = torch.rand(2, 3, 8, 8)
    expected = model.eval()(x)
    torch.save(model.state_dict(), tmp_path / "w")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = loaded(tmp_path / "w")
    assert set(found.state_dict()) == set(Net().state_dict())
    torch.testing.assert_close(found.eval()(x), expected, rtol=1e-6, atol=1e-6)


def test_spectral_norm_of_a_square_transposed_kernel(tmp_path: Path) -> None:
    """Rows are those of the second axis there, which shapes alone do not say."""
    torch.manual_seed(0)
    model = parametrizations.spectral_norm(nn.ConvTranspose2d(5, 5, 3)).eval()
    torch.save(model.state_dict(), tmp_path / "w")
    plain = nn.ConvTranspose2d(5, 5, 3)
    load_weights(plain, tmp_path / "w")
    torch.testing.assert_close(plain.weight, model.weight, rtol=1e-6, atol=1e-7)


def test_a_parametrization_that_is_not_known_is_refused(tmp_path: Path) -> None:
    model = made()
    parametrizations.orthogonal(model.fc)
    torch.save(model.state_dict(), tmp_path / "w")
    with pytest.raises(ModelError, match=r"unexpected: fc.parametrizations.weight"):
        loaded(tmp_path / "w")


@pytest.mark.parametrize(
    "dtype", [*(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz), torch.bfloat16]
)
def test_narrow_floats(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"weight": torch.tensor([[1.5, -0.25]]).to(dtype), "bias": torch.tensor([0.5]).to(dtype)}
    torch.save(state, tmp_path / "w")
    safetensors.torch.save_file(state, tmp_path / "s")
    for name in ("w", "s"):
        model = nn.Linear(2, 1)
        load_weights(model, tmp_path / name)
        assert (model.weight.tolist(), model.bias.tolist()) == ([[1.5, -0.25]], [0.5])
        assert read_weights(tmp_path / name)["weight"].dtype == dtype


def test_conjugates_and_views_have_their_values(tmp_path: Path) -> None:
    z = torch.tensor([1 + 2j, 3 - 1j])
    state = {
        "conj": z.conj(),
        "imag": z.clone().conj().imag,
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "one": torch.tensor(2.5),
    }
    state |= {"part": torch.arange(9)[3:7:2], "parameter": nn.Parameter(torch.ones(2)), "none": torch.zeros(0, 3)}
    torch.save(state, tmp_path / "w")
    found = read_weights(tmp_path / "w")
    assert found["conj"].tolist() == [1 - 2j, 3 + 1j]
    assert found["imag"].tolist() == [-2.0, 1.0]
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (found["one"].shape, float(found["one"]), found["part"].tolist()) == ((), 2.5, [3, 5])
    assert (found["parameter"].tolist(), found["none"].shape) == ([1, 1], (0, 3))


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_checkpoints_in_several_files_are_one_model(tmp_path: Path, form: str) -> None:
    model = made()
    index = sharded(tmp_path, model.state_dict(), form)
    assert identify(index) == "sharded"
    assert weights_hash(loaded(index)) == weights_hash(model)
    (tmp_path / "other.json").write_text("{}")
    torch.save(model.state_dict(), tmp_path / "another.pt")
    assert [entry.name for entry in list_entries(tmp_path)] == ["another.pt", index.name]
    next(tmp_path.glob("*00002-of*")).unlink()
    with pytest.raises(ModelRefusedError) as caught:
        loaded(index)
    assert caught.value.reason == "external-data"
    evil = tmp_path / "evil.index.json"
    evil.write_text(json.dumps({"weight_map": {"a": "../another.pt", "b": "another.pt"}}))
    assert [entry.name for entry in list_entries(tmp_path)] == ["another.pt", evil.name, index.name]
    with pytest.raises(ModelRefusedError) as caught:
        loaded(evil)
    assert caught.value.reason == "external-data"


def test_parts_may_not_be_links_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    index = sharded(tmp_path / "models", made().state_dict(), "safetensors")
    part = next((tmp_path / "models").glob("*00001-of*"))
    part.rename(tmp_path / "outside")
    part.symlink_to(tmp_path / "outside")
    entry = next(entry for entry in list_entries(tmp_path / "models") if entry.path == index)
    with pytest.raises(ModelRefusedError) as caught:
        open_model(entry, architectures=["support.checkpoints:Net"])
    assert caught.value.reason == "symlink"


def unbuildable() -> nn.Module:
    raise RuntimeError("needs a library that is not there")


def narrow() -> nn.Module:
    model = Net()
    model.fc = nn.Linear(4, 3)
    return model


def test_why_each_architecture_did_not_fit(tmp_path: Path) -> None:
    torch.save(made().state_dict(), tmp_path / "w")
    entry = ModelEntry("m", tmp_path / "w")
    others = ["torch.nn:Identity", f"{__name__}:unbuildable", f"{__name__}:narrow"]
    with pytest.raises(ModelRefusedError) as caught:
        open_model(entry, architectures=others)
    assert caught.value.reason == "no-architecture"
    nearest, *rest = str(caught.value).partition("got none; ")[2].split(" | ")
    assert nearest == (
        f"{__name__}:narrow: 2 mismatched: fc.bias (expected float32 (3,), got float32 (2,)), "
        "fc.weight (expected float32 (3, 4), got float32 (2, 4))"
    )
    assert rest[0].startswith("torch.nn:Identity: 9 unexpected: bn.bias float32 (4,), ")
    assert rest[1].startswith(f"{__name__}:unbuildable cannot be built")
    assert "needs a library that is not there" in rest[1]
    # One that cannot be built fails for itself.
    with open_model(entry, architectures=[*others, "support.checkpoints:Net"]) as found:
        assert found.architecture == "support.checkpoints:Net"


def test_nothing_is_changed_where_weights_do_not_fit(tmp_path: Path) -> None:
    model = made()
    before = copy.deepcopy(model.state_dict())
    state = OrderedDict((k, v + 1) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked"))
    state["fc.weight"] = torch.zeros(9, 4)  # the last one: torch would have copied all others by then
    torch.save(state, tmp_path / "w")
    with pytest.raises(ModelError, match=r"fc.weight \(expected float32 \(2, 4\), got float32 \(9, 4\)\)"):
        load_weights(model, tmp_path / "w")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "function", [eval, exec, getattr, torch.load, np.load, pickle.loads, __import__], ids=lambda f: f.__name__
)
def test_functions_beside_the_weights_are_refused(tmp_path: Path, function: Any) -> None:
    torch.save({"model": made().state_dict(), "x": Calls(function, "1")}, tmp_path / "w")
    with pytest.raises(ModelRefusedError, match="needs code to run") as caught:
        loaded(tmp_path / "w")
    assert caught.value.reason == "pickle"
