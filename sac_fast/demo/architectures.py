"""Small networks of different kinds for 32×32 RGB patches, named on the command line as
``sac_fast.demo.architectures:NAME --model-args '{"classes": N}'``.

All are small on purpose: one trains on one CPU core in seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; 'same' padding."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def plain(classes: int = 10) -> nn.Module:
    """A plain stack of 3×3 convolutions (VGG's kind), global average pooling, one linear layer.

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, 32, 32) float32 in, (n, classes) logits out.
    """
    return nn.Sequential(
        _conv(3, 16, stride=2),
        nn.MaxPool2d(2),
        _conv(16, 32),
        _conv(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


class _Residual(nn.Module):
    """Two 3×3 convolutions with a shortcut; the shortcut is pooled and projected where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def residual(classes: int = 10) -> nn.Module:
    """A residual network (ResNet's kind) with two blocks.

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, 32, 32) float32 in, (n, classes) logits out.
    """
    return nn.Sequential(
        _conv(3, 16, stride=2),
        _Residual(16, 32, 2),
        _Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


class _Branches(nn.Module):
    """Parallel 1×1, 3×3 and 5×5 convolutions, concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.one = _conv(inputs, narrow, 1)
        self.three = nn.Sequential(_conv(inputs, narrow, 1), _conv(narrow, 2 * narrow, 3))
        self.five = nn.Sequential(_conv(inputs, narrow, 1), _conv(narrow, outputs - 3 * narrow, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x)], dim=1)


def inception(classes: int = 10) -> nn.Module:
    """Parallel branches of different receptive fields (Inception's kind).

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, 32, 32) float32 in, (n, classes) logits out.
    """
    return nn.Sequential(
        _conv(3, 16, 5, stride=2),
        nn.MaxPool2d(2),
        _Branches(16, 32),
        _Branches(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
