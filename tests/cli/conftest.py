"""A working folder for commands, and what the first commands make in it."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

MODELS = """
import torch
class Net(torch.nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.layer = torch.nn.Linear(8 * 8 * 3, classes)
    def forward(self, x):
        return self.layer(x.flatten(1))
class Nan(Net):
    def forward(self, x):
        return super().forward(x) * float("nan")
class Short(Net):
    def forward(self, x):
        return super().forward(x)[:-1]
class Pair(Net):
    def forward(self, x):
        return {"logits": super().forward(x), "other": x.flatten(1)}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with images, an importable module of models, and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    (tmp_path / "cli_models.py").write_text(MODELS)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    for i in range(7):
        torch.manual_seed(i)
        save_file({"layer.weight": torch.randn(5, 192), "layer.bias": torch.randn(5)}, f"weights{i}.safetensors")
    return tmp_path


@pytest.fixture
def made(folder, run):
    """Probes and the fingerprints of seven models: source, suspect (the same weights + noise), five nulls."""
    assert run("probes", "images", "--severity", "3", "--out", "probes.safetensors")[0] == 0
    torch.manual_seed(0)
    weights = {"layer.weight": torch.randn(5, 192), "layer.bias": torch.randn(5)}
    save_file({k: v + 1e-3 * torch.randn_like(v) for k, v in weights.items()}, "weights1.safetensors")
    (folder / "null").mkdir()
    for i in range(7):
        out = f"null/{i}.safetensors" if i > 1 else f"{i}.safetensors"
        code, _, err = run(
            *("fingerprint", "cli_models:Net", "--weights", f"weights{i}.safetensors"),
            *("--probes", "probes.safetensors", "--mean", "0.5", "--std", "0.25", "--out", out, "-q"),
        )
        assert (code, err) == (0, "")
    return folder
