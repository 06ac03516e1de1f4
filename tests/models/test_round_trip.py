"""Twenty networks saved in every usual way give the same outputs, and the same hash where the weights are the same."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.checkpoints import sharded
from support.round_trip_networks import NETWORKS, build
from torch import nn
from torch.nn.utils import prune

from sac_fast.models import ModelEntry, open_model, save_weights, weights_hash

INPUTS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(name: str) -> nn.Module:
    """With statistics and weights that are not those of its start."""
    torch.manual_seed(len(name))
    model = build(name)
    with torch.inference_mode():
        model.train()(INPUTS)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape))
    return model.eval()


def pruned(model: nn.Module) -> nn.Module:
    """Half of the values of every layer pruned, the masks still beside them."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and type(module) in (nn.Linear, nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=0.5)
    return model


def averaged(model: nn.Module) -> dict[str, Any]:
    made = torch.optim.swa_utils.AveragedModel(model)
    made.update_parameters(model)
    return made.state_dict()


def compiled(model: nn.Module) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch imports there
        return torch.compile(model).state_dict()


def torch_file(folder: Path, state: Any, **options: Any) -> Path:
    torch.save(state, folder / "w.pt", **options)
    return folder / "w.pt"


def safe_file(folder: Path, model: nn.Module) -> Path:
    safetensors.torch.save_model(model, str(folder / "w.safetensors"))
    return folder / "w.safetensors"


def own_file(folder: Path, model: nn.Module) -> Path:
    save_weights(folder / "own.safetensors", model)
    return folder / "own.safetensors"


def exported(folder: Path, model: nn.Module, *, dynamo: bool) -> Path:
    """The file of an exporter, for any number of pictures."""
    path = folder / "m.onnx"
    many: dict[str, Any] = {"dynamic_axes": {"x": {0: "n"}}}
    if dynamo:
        many = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (INPUTS,), path, input_names=["x"], dynamo=dynamo, verbose=False, **many)
    return path


def recorded(folder: Path, model: nn.Module) -> Path:
    with torch.inference_mode():
        np.save(folder / "o.npy", model(INPUTS).numpy())
    return folder / "o.npy"


WEIGHTS: dict[str, Callable[[Path, nn.Module], Path]] = {
    "torch": lambda folder, model: torch_file(folder, model.state_dict()),
    "legacy": lambda folder, model: torch_file(folder, model.state_dict(), _use_new_zipfile_serialization=False),
    "nested": lambda folder, model: torch_file(folder, {"epoch": 3, "model": model.state_dict()}, pickle_protocol=4),
    "safetensors": safe_file,
    "save_weights": own_file,
    "sharded": lambda folder, model: sharded(folder, model.state_dict(), "safetensors"),
    "sharded torch": lambda folder, model: sharded(folder, model.state_dict(), "torch"),
    "parallel": lambda folder, model: torch_file(folder, nn.DataParallel(model).state_dict()),
    "compiled": lambda folder, model: torch_file(folder, compiled(model)),
    "averaged": lambda folder, model: torch_file(folder, averaged(model)),
    "pruned": lambda folder, model: torch_file(folder, pruned(model).state_dict()),
}
QUICK = ("conv", "attention", "lstm", "tied")


def check(path: Path, model: nn.Module, expected: torch.Tensor, **options: Any) -> None:
    with open_model(ModelEntry("m", path, **options)) as found:
        torch.testing.assert_close(found.run(INPUTS), expected, rtol=1e-5, atol=1e-5)
        if "architecture" in options:
            assert found.model_hash == weights_hash(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_in_every_way(tmp_path: Path, name: str) -> None:
    original = network(name)
    for index, (how, save) in enumerate((WEIGHTS | {"recorded": recorded}).items()):
        folder = tmp_path / str(index)
        folder.mkdir()
        model = copy.deepcopy(original)
        path = save(folder, model)
        with torch.inference_mode():
            expected = model(INPUTS)
        for module in model.modules():
            if how == "pruned" and prune.is_pruned(module) and not list(module.children()):
                prune.remove(module, "weight")
        build_by = {"architecture": "support.round_trip_networks:build", "kwargs": {"name": name}}
        try:
            check(path, model, expected, **(build_by if how in WEIGHTS else {}))
        except Exception as error:
            raise AssertionError(f"{name} saved as {how}") from error


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_exported_by_torchscript(tmp_path: Path, name: str) -> None:
    model = network(name)
    with torch.inference_mode():
        expected = model(INPUTS)
    check(exported(tmp_path, model, dynamo=False), model, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_exported_by_dynamo(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxscript", reason="needs onnxscript, which is not installed")
    model = network(name)
    with torch.inference_mode():
        expected = model(INPUTS)
    check(exported(tmp_path, model, dynamo=True), model, expected)
