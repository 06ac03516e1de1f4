"""Small networks of different kinds for 32×32 RGB patches, named on the command line as
``sac_fast.demo.architectures:NAME --model-args '{"classes": N}'``.

All are small on purpose: one trains on one CPU core in seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..labelled_zoo.layers import Residual, conv, pooled_head


def plain(classes: int = 10) -> nn.Module:
    """A plain stack of 3×3 convolutions (VGG's kind), global average pooling, one linear layer.

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, 32, 32) float32 in, (n, classes) logits out.
    """
    return nn.Sequential(
        conv(3, 16, stride=2),
        nn.MaxPool2d(2),
        conv(16, 32),
        conv(32, 64),
        *pooled_head(64, classes),
    )


def residual(classes: int = 10) -> nn.Module:
    """A residual network (ResNet's kind) with two blocks.

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, 32, 32) float32 in, (n, classes) logits out.
    """
    return nn.Sequential(
        conv(3, 16, stride=2),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        *pooled_head(64, classes),
    )


class _Branches(nn.Module):
    """Parallel 1×1, 3×3 and 5×5 convolutions, concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.one = conv(inputs, narrow, 1)
        self.three = nn.Sequential(conv(inputs, narrow, 1), conv(narrow, 2 * narrow, 3))
        self.five = nn.Sequential(conv(inputs, narrow, 1), conv(narrow, outputs - 3 * narrow, 5))

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
        conv(3, 16, 5, stride=2),
        nn.MaxPool2d(2),
        _Branches(16, 32),
        _Branches(32, 64),
        *pooled_head(64, classes),
    )
