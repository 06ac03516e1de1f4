"""Whatever `load_state_dict(strict=True)` takes, and whatever checkpoints keep around it, is taken."""

from __future__ import annotations

import argparse
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.checkpoints import Net, Tied, loaded, made
from torch import nn

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import ModelEntry, identify, open_model, weights_hash
from sac_fast.models.checkpoint import read_weights


class WithExtra(nn.Linear):
    """Keeps a number of its own in its state, as `get_extra_state` may."""

    steps = 0

    def __init__(self) -> None:
        super().__init__(2, 2)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]


def wrapped(how: str, state: dict[str, Any]) -> Any:
    """A checkpoint of a usual kind around a state dict."""
    other = {key: value + 1 for key, value in state.items()}
    return {
        "plain": state,
        **{key: {key: state, "epoch": 3} for key in ("net", "model", "model_state_dict", "state_dict", "weight")},
        **{key: {"step": torch.tensor(5), key: state} for key in ("ema", "state_dict_ema", "params_ema")},
        "deep": {"run": {"best": {"model": state}}},
        "optimizer": {
            "model": state,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1}]},
        },
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
    with open_model(
        ModelEntry("m", tmp_path / "w.pt"), architectures=["torch.nn:Flatten", "support.checkpoints:Net"]
    ) as found:
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
    with pytest.raises(
        ModelRefusedError, match=r"got 'state_dict' and 'state_dict_ema'; name one \(--weights-key\)"
    ) as caught:
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
