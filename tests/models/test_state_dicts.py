"""Whatever `load_state_dict(strict=True)` takes, and whatever checkpoints keep around it, is taken."""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import ModelEntry, identify, list_entries, load_weights, open_model, weights_hash
from sac_fast.models.checkpoint import read_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


class WithExtra(nn.Linear):
    """Keeps a number of its own in its state, as `get_extra_state` may."""

    steps = 0

    def __init__(self) -> None:
        super().__init__(2, 2)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]


def made(kind: type[nn.Module] = Net, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    model = kind()
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.add_(1 if not value.is_floating_point() else torch.rand(value.shape))
    return model.eval()


def loaded(path: Path, kind: type[nn.Module] = Net, **options: Any) -> nn.Module:
    """A fresh model with the weights of a file; `open_model` must read the same."""
    torch.manual_seed(99)
    model = kind()
    load_weights(model, path, **options)
    with open_model(ModelEntry("m", path, f"{__name__}:{kind.__name__}", **options)) as found:
        assert found.model_hash == weights_hash(model)
    return model


def wrapped(how: str, state: dict[str, Any]) -> Any:
    """A checkpoint of a usual kind around a state dict."""
    other = {key: value + 1 for key, value in state.items()}
    return {
        "plain": state,
        **{key: {key: state, "epoch": 3} for key in ("net", "model", "model_state_dict", "state_dict", "weight")},
        **{key: {"step": torch.tensor(5), key: state} for key in ("ema", "state_dict_ema", "params_ema")},
        "deep": {"run": {"best": {"model": state}}},
        "optimizer": {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1}]}},
        "twice": {"state_dict": state, "state_dict_ema": dict(state)},
        "rng": {"rng_state": torch.get_rng_state(), "model": state},
        "module.": {f"module.{key}": value for key, value in state.items()},
        "_orig_mod.": {f"_orig_mod.{key}": value for key, value in state.items()},
        "model.": {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        "backbone.": {f"backbone.{key}": value for key, value in state.items()},
        "nested prefixes": {f"module._orig_mod.model.{key}": value for key, value in state.items()},
        "compiled part": {key.replace("conv.", "conv._orig_mod."): value for key, value in state.items()},
        "sharded names": {f"_fsdp_wrapped_module.{key}": value for key, value in state.items()},
        "averaged": {"n_averaged": torch.tensor(7), **{f"module.{key}": value for key, value in state.items()}},
        "number beside": {**state, "epoch": 3, "lr": 0.1},
        "default dict": defaultdict(dict, {"model": state}),
        "sets": {"model": state, "seen": {1, 2}, "frozen": frozenset("ab"), "where": range(3)},
        "numpy": {"model": state, "best": np.float64(0.9), "curve": np.arange(3), "kind": np.dtype("f4")},
        "foreign": {"model": state, "args": argparse.Namespace(lr=0.1, out=Path("x")), "path": Path("y")},
        "objects beside": {**state, "args": argparse.Namespace(lr=0.1)},
        "quantised beside": {"model": state, "q": {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}},
        "several": {"state_dict": state, "state_dict_ema": other},
    }[how]


TAKEN = {
    "plain": {},
    "net": {"key": "net"},
    "model": {"key": "model"},
    "model_state_dict": {"key": "model_state_dict"},
    "state_dict": {"key": "state_dict"},
    "weight": {"key": "weight"},
    "ema": {"key": "ema"},
    "state_dict_ema": {"key": "state_dict_ema"},
    "params_ema": {"key": "params_ema"},
    "deep": {"key": "run.best.model"},
    "optimizer": {"key": "model"},
    "twice": {"key": "state_dict"},
    "rng": {"key": "model"},
    "module.": {"prefix": "module."},
    "_orig_mod.": {},
    "model.": {"key": "state_dict", "prefix": "model."},
    "backbone.": {"prefix": "backbone."},
    "nested prefixes": {"prefix": "module.model."},
    "compiled part": {},
    "sharded names": {},
    "averaged": {"prefix": "module."},
    "number beside": {"left_out": ["epoch", "lr"]},
    "default dict": {"key": "model"},
    "sets": {"key": "model"},
    "numpy": {"key": "model"},
    "foreign": {"key": "model"},
    "objects beside": {"left_out": ["args"]},
    "quantised beside": {"key": "model"},
}


@pytest.mark.parametrize("how", TAKEN)
def test_checkpoints_of_usual_kinds(tmp_path: Path, how: str) -> None:
    model = made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of quantised tensors
        torch.save(wrapped(how, model.state_dict()), tmp_path / "w.pt")
    assert weights_hash(loaded(tmp_path / "w.pt")) == weights_hash(model)
    with open_model(ModelEntry("m", tmp_path / "w.pt"), architectures=["torch.nn:Flatten", f"{__name__}:Net"]) as found:
        assert found.weights == TAKEN[how]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int, old: bool) -> None:
    model = made()
    checkpoint = {"model": model.state_dict(), "seen": {1}, "raw": b"x" * 300}
    path = tmp_path / "w"
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not old)
    assert identify(path) == ("torch-legacy" if old else "torch")
    assert weights_hash(loaded(path)) == weights_hash(model)


def test_several_that_differ_need_a_key(tmp_path: Path) -> None:
    model = made()
    state = model.state_dict()
    torch.save(wrapped("several", state), tmp_path / "w")
    with pytest.raises(ModelRefusedError, match=r"got 'state_dict' and 'state_dict_ema'; name one \(--weights-key\)") as caught:
        loaded(tmp_path / "w")
    assert caught.value.reason == "which-weights"
    assert weights_hash(loaded(tmp_path / "w", weights_key="state_dict")) == weights_hash(model)
    ema = loaded(tmp_path / "w", weights_key="state_dict_ema")
    torch.testing.assert_close(ema.state_dict()["fc.bias"], state["fc.bias"] + 1, rtol=0, atol=0)
    with pytest.raises(ModelRefusedError, match=r"under 'ema' \(--weights-key\), got 'state_dict', 'state_dict_ema'"):
        loaded(tmp_path / "w", weights_key="ema")
    with pytest.raises(ModelRefusedError, match="name one"):
        read_weights(tmp_path / "w")


def test_a_key_goes_on_into_the_names_of_a_state(tmp_path: Path) -> None:
    """Two networks in one flat state dict: each is one part of its names."""
    first, second = made(seed=1), made(seed=2)
    flat = {f"q.{key}": value for key, value in first.state_dict().items()}
    flat |= {f"k.{key}": value for key, value in second.state_dict().items()}
    torch.save({"state_dict": flat}, tmp_path / "w")
    with pytest.raises(ModelError, match="do not fit"):
        loaded(tmp_path / "w")
    assert weights_hash(loaded(tmp_path / "w", weights_key="state_dict.k")) == weights_hash(second)
    safetensors.torch.save_file(flat, tmp_path / "s")
    assert weights_hash(loaded(tmp_path / "s", weights_key="q")) == weights_hash(first)


def test_versions_of_modules_decide_what_may_be_missing(tmp_path: Path) -> None:
    """Before torch 0.4.1 batch norm counted no batches; a state of today that lacks the counter is damaged."""
    model = made()
    old = OrderedDict((k, v) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked"))
    torch.save(old, tmp_path / "old")
    found = loaded(tmp_path / "old")
    assert int(found.bn.num_batches_tracked) == 0
    torch.testing.assert_close(found.bn.running_mean, model.bn.running_mean, rtol=0, atol=0)
    safetensors.torch.save_file(dict(old), tmp_path / "s")
    assert weights_hash(loaded(tmp_path / "s")) == weights_hash(found)
    new = model.state_dict()
    del new["bn.num_batches_tracked"]
    torch.save(new, tmp_path / "new")
    with pytest.raises(ModelError, match=r"1 missing: bn.num_batches_tracked int64 \(\)"):
        loaded(tmp_path / "new")
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        Net().load_state_dict(torch.load(tmp_path / "new"))


def test_numbers_of_one_value(tmp_path: Path) -> None:
    """torch 0.3 had no numbers, and kept them as (1,); torch itself still takes them."""
    state = made().state_dict()
    state["bn.num_batches_tracked"] = state["bn.num_batches_tracked"].reshape(1)
    torch.save(state, tmp_path / "w")
    assert int(loaded(tmp_path / "w").bn.num_batches_tracked) == 1


def test_extra_state(tmp_path: Path) -> None:
    model = made(WithExtra)
    model.steps = 12
    torch.save(model.state_dict(), tmp_path / "w")
    assert loaded(tmp_path / "w", WithExtra).steps == 12
    assert weights_hash(model) != weights_hash({k: v for k, v in model.state_dict().items() if k != "_extra_state"})


@pytest.mark.parametrize("metadata", [True, False])
def test_tied_weights_of_safetensors(tmp_path: Path, metadata: bool) -> None:
    model = made(Tied)
    safetensors.torch.save_model(model, str(tmp_path / "w"))
    kept = safetensors.torch.load_file(tmp_path / "w")
    assert list(kept) == ["a.weight"]
    if not metadata:  # as other tools write them: what is tied is known from the module alone
        safetensors.torch.save_file(kept, tmp_path / "w")
    assert weights_hash(loaded(tmp_path / "w", Tied)) == weights_hash(model)


@pytest.mark.parametrize(
    "how", ["prune", "weight_norm", "old weight_norm", "weight_norm of all", "spectral_norm", "old spectral_norm", "both"]
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
    state = {"conj": z.conj(), "imag": z.clone().conj().imag, "turned": torch.arange(6.0).reshape(2, 3).T, "one": torch.tensor(2.5)}
    state |= {"part": torch.arange(9)[3:7:2], "parameter": nn.Parameter(torch.ones(2)), "none": torch.zeros(0, 3)}
    torch.save(state, tmp_path / "w")
    found = read_weights(tmp_path / "w")
    assert found["conj"].tolist() == [1 - 2j, 3 + 1j]
    assert found["imag"].tolist() == [-2.0, 1.0]
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (found["one"].shape, float(found["one"]), found["part"].tolist()) == ((), 2.5, [3, 5])
    assert (found["parameter"].tolist(), found["none"].shape) == ([1, 1], (0, 3))


def sharded(folder: Path, state: dict[str, torch.Tensor], form: str) -> Path:
    """A checkpoint in two files with its index, as transformers writes them."""
    stem, ending = ("model", ".safetensors") if form == "safetensors" else ("pytorch_model", ".bin")
    keys = list(state)
    parts = {f"{stem}-0000{n}-of-00002{ending}": keys[n - 1 :: 2] for n in (1, 2)}
    for name, some in parts.items():
        values = {key: state[key].clone() for key in some}
        torch.save(values, folder / name) if ending == ".bin" else safetensors.torch.save_file(values, folder / name)
    where = {key: name for name, some in parts.items() for key in some}
    index = folder / f"{stem}{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


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
    assert caught.value.reason == "missing"
    (tmp_path / "evil.index.json").write_text(json.dumps({"weight_map": {"a": "../another.pt"}}))
    assert "evil.index.json" not in {entry.name for entry in list_entries(tmp_path)}


def test_parts_may_not_be_links_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    index = sharded(tmp_path / "models", made().state_dict(), "safetensors")
    part = next((tmp_path / "models").glob("*00001-of*"))
    part.rename(tmp_path / "outside")
    part.symlink_to(tmp_path / "outside")
    entry = next(entry for entry in list_entries(tmp_path / "models") if entry.path == index)
    with pytest.raises(ModelRefusedError) as caught:
        open_model(entry, architectures=[f"{__name__}:Net"])
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
    assert [text[:40] for text in rest] == ["torch.nn:Identity: 9 unexpected: bn.bias", f"{__name__}:unbuildable cannot be built"[:40]]
    assert "needs a library that is not there" in rest[1]
    # One that cannot be built fails for itself.
    with open_model(entry, architectures=[*others, f"{__name__}:Net"]) as found:
        assert found.architecture == f"{__name__}:Net"


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
