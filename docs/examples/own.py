"""A model of one's own, small enough for every machine: digits of scikit-learn, two layers.

`python own.py` trains it, steals it by fine-tuning, and leaves own.safetensors, suspect.safetensors and images/.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

_DIGITS = load_digits()
IMAGES = torch.tensor(_DIGITS.images, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1) / 16
LABELS = torch.tensor(_DIGITS.target)


def network() -> nn.Module:
    """8×8 RGB images in, ten classes out."""
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))


def fit(model: nn.Module, first: int, last: int, steps: int) -> nn.Module:
    """Train on some of the images."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(IMAGES[first:last]), LABELS[first:last])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def train(seed: int) -> nn.Module:
    """The owner's recipe: everything random follows from the seed."""
    torch.manual_seed(seed)
    return fit(network(), 0, 1000, 60)


if __name__ == "__main__":
    model = train(secrets.randbelow(2**32))  # a seed that nobody can guess
    save_file(model.state_dict(), "own.safetensors")
    save_file(fit(model, 1000, 1200, 20).state_dict(), "suspect.safetensors")
    Path("images").mkdir(exist_ok=True)
    for number, image in enumerate(_DIGITS.images[1200:1700]):
        picture = Image.fromarray((image * 15.9).astype("uint8")).convert("RGB")
        picture.save(f"images/{number:03}.png")
