"""Small networks, files of their weights in several parts, and what is read of such files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from sac_fast.models import ModelEntry, load_weights, open_model, weights_hash


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
    with open_model(ModelEntry("m", path, f"{kind.__module__}:{kind.__name__}", **options)) as found:
        assert found.model_hash == weights_hash(model)
    return model


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
