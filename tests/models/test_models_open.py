"""Weights of every form: what the model answers, and which architecture is taken."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from support.opened_models import INPUTS, opened
from torch import nn

from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import identify, run_inputs, save_weights, weights_hash

LINEAR = 'torch.nn:Linear {"in_features": 12, "out_features": 3}'
LINEAR_KWARGS = {"in_features": 12, "out_features": 3}


class Tied(nn.Module):
    """Two names for one weight, a buffer that no file holds, and half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 12, bias=False)
        self.b = nn.Linear(12, 12, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)) * self.scale


class Stubborn(nn.Linear):
    """Looks at a value when it is built, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__(12, 3)
        self.sum = float(self.weight.sum())


def test_weights_of_all_forms_answer_alike(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Linear(12, 3)
    expected = (INPUTS.double() @ model.weight.detach().double().T + model.bias.detach().double()).float()
    save_weights(tmp_path / "safetensors", model)
    torch.save(model.state_dict(), tmp_path / "torch")
    torch.save(model.state_dict(), tmp_path / "torch-legacy", _use_new_zipfile_serialization=False)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}, "epoch": 3}, tmp_path / "nested"
    )
    torch.save({key: nn.Parameter(value) for key, value in model.state_dict().items()}, tmp_path / "parameters")
    for name in ("safetensors", "torch", "torch-legacy", "nested", "parameters"):
        with opened(tmp_path / name, architectures=[LINEAR]) as found:
            assert (
                found.format
                == identify(tmp_path / name)
                == (name if name in ("safetensors", "torch-legacy") else "torch")
            )
            assert found.model_hash == weights_hash(model)
            assert (found.architecture, found.kwargs, found.recorded) == ("torch.nn:Linear", LINEAR_KWARGS, False)
            answer = found.run(INPUTS, batch_size=2)
            torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-6)
            assert found.to("cpu", torch.float64).run(INPUTS.double()).dtype == torch.float64
            with pytest.raises(ModelError, match="inputs must be a tensor"):
                found.run(None)
        with pytest.raises(ModelError, match="was closed"):
            found.run(INPUTS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_architecture_s(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.Linear(12, 3).to(dtype)
    save_weights(tmp_path / "w", model)
    found = opened(tmp_path / "w", architectures=[LINEAR])
    assert found.model_hash == weights_hash({key: value.float() for key, value in model.state_dict().items()})
    assert found.run(INPUTS).dtype == torch.float32


def test_tied_weights_and_buffers_that_no_file_holds(tmp_path: Path) -> None:
    model = Tied()
    save_weights(tmp_path / "w", model)
    found = opened(tmp_path / "w", architecture=f"{__name__}:Tied")
    weight = model.a.weight.detach()
    torch.testing.assert_close(found.run(INPUTS), 2 * INPUTS @ weight.T @ weight.T)


def test_inference_takes_the_only_one_that_fits(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    others = ['torch.nn:Linear {"in_features": 12, "out_features": 4}', "torch.nn:Identity", LINEAR, LINEAR]
    assert opened(tmp_path / "w", architectures=others).kwargs == LINEAR_KWARGS
    assert opened(tmp_path / "w", architectures=[f"{__name__}:Stubborn"]).architecture == f"{__name__}:Stubborn"
    for architectures, reason in (
        ([], "no-architecture"),
        (others[:2], "no-architecture"),
        ([LINEAR, f"{__name__}:Stubborn"], "ambiguous-architecture"),
    ):
        with pytest.raises(ModelRefusedError) as caught:
            opened(tmp_path / "w", architectures=architectures)
        assert caught.value.reason == reason
    with pytest.raises(ModelError, match="must be a JSON object, got 'x'"):
        opened(tmp_path / "w", architectures=["torch.nn:Linear x"])
    with pytest.raises(ModelError, match=r"1 mismatched|2 mismatched"):
        opened(tmp_path / "w", architecture="torch.nn:Linear", kwargs={"in_features": 12, "out_features": 4})


def test_inference_allocates_nothing(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    huge = 'torch.nn:Linear {"in_features": 10000000, "out_features": 10000000}'  # 400 TB
    assert opened(tmp_path / "w", architectures=[huge, LINEAR]).kwargs == LINEAR_KWARGS


def test_timm_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelRefusedError, match=r"pip install 'sac-fast\[timm\]'") as caught:
        opened(tmp_path / "w", architecture="timm:linear")
    assert caught.value.reason == "missing-extra"
    calls = []

    def create_model(name: str, **kwargs: Any) -> Any:
        calls.append((name, kwargs))
        return nn.Linear(12, 3) if name == "linear" else 3

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    kwargs = {"num_classes": 3, "pretrained": True}
    assert opened(tmp_path / "w", architecture="timm:linear", kwargs=kwargs).run(INPUTS).shape == (7, 3)
    assert calls == [("linear", {"num_classes": 3, "pretrained": False})]
    for spec, message in (("timm:other", "must return an nn.Module"), ("timm:hf-hub:a/b", "without a hub")):
        with pytest.raises(ModelError, match=message):
            opened(tmp_path / "w", architecture=spec)
    # timm unpickles it as it is.
    with pytest.raises(ModelError, match="must not hold checkpoint_path, got 'evil"):
        opened(tmp_path / "w", architecture="timm:linear", kwargs={"checkpoint_path": "evil.pth"})


def test_run_inputs_is_run_model_after_the_preprocessing() -> None:
    model = nn.Linear(12, 3).train()
    assert torch.equal(run_inputs(model, INPUTS, batch_size=3), run_inputs(model, INPUTS, batch_size=3))
    assert model.training
    assert run_inputs(lambda x: (x, x[:, :2]), INPUTS, output=1).shape == (7, 2)
    with pytest.raises(ModelError, match="got nan for probe 4"):
        run_inputs(lambda x: torch.where(x == INPUTS[4, 5], torch.nan, x), INPUTS, batch_size=2)
    with pytest.raises(ValueError, match=r"inputs must be \(n, ...\) with n at least 1, got \(0, 12\)"):
        run_inputs(model, INPUTS[:0])
