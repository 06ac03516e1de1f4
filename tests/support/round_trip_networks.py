"""Twenty small networks of pictures (n, 3, 8, 8): torch's own modules, and blocks as timm's networks have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Joined(nn.Module):
    """Branches side by side, as in Inception and DenseNet."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class ChannelsLast(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """Patches with places, a layer over them, and their mean."""

    def __init__(self, layer: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.place = nn.Parameter(0.1 * torch.randn(1, 4, width))
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: Any = self.layer(self.patch(x).flatten(2).transpose(1, 2) + self.place)
        return (found[0] if isinstance(found, tuple) else found).mean(1)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return x + self.attention(y, y, y, need_weights=False)[0]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 12), nn.Linear(12, 12)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


class Buffers(nn.Module):
    """Statistics of its own, one of which no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.randn(3, 1, 1))
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer((x - self.centre) * self.scale)


def _pooled(*layers: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def _conv(channels_in: int, channels: int, size: int = 3, **options: Any) -> nn.Module:
    return nn.Conv2d(channels_in, channels, size, padding=size // 2, **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 5)),
    "conv": lambda: _pooled(_conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), channels=6),
    "depthwise": lambda: _pooled(_conv(3, 6, 1), _conv(6, 6, groups=6), nn.Hardswish(), channels=6),
    "residual": lambda: _pooled(_conv(3, 6), Residual(_conv(6, 6), nn.BatchNorm2d(6), nn.ReLU()), channels=6),
    "groups": lambda: _pooled(_conv(3, 6), nn.GroupNorm(2, 6), nn.SiLU(), channels=6),
    "instances": lambda: _pooled(_conv(3, 6), nn.InstanceNorm2d(6, affine=True), nn.ELU(), channels=6),
    "convnext": lambda: _pooled(
        _conv(3, 8),
        Residual(_conv(8, 8, 5, groups=8), ChannelsLast(nn.LayerNorm(8)), _conv(8, 16, 1), nn.GELU(), _conv(16, 8, 1)),
        channels=8,
    ),
    "squeeze": lambda: _pooled(_conv(3, 6), SqueezeExcite(6), channels=6),
    "inverted": lambda: _pooled(
        _conv(3, 4),
        Residual(_conv(4, 8, 1), nn.BatchNorm2d(8), _conv(8, 8, groups=8), SqueezeExcite(8), _conv(8, 4, 1)),
        channels=4,
    ),
    "inception": lambda: _pooled(Joined(_conv(3, 2, 1), _conv(3, 3), _conv(3, 2, 5)), nn.ReLU(), channels=7),
    "dense": lambda: _pooled(Joined(nn.Identity(), _conv(3, 4)), Joined(nn.Identity(), _conv(7, 4)), channels=11),
    "transposed": lambda: _pooled(nn.ConvTranspose2d(3, 6, 2, stride=2), nn.LeakyReLU(), channels=6),
    "prelu": lambda: _pooled(_conv(3, 6, bias=False), nn.PReLU(6), channels=6),
    "dilated": lambda: _pooled(nn.Conv2d(3, 6, 3, dilation=2), nn.Softplus(), channels=6),
    "attention": lambda: nn.Sequential(Tokens(SelfAttention()), nn.Linear(8, 5)),
    "transformer": lambda: nn.Sequential(
        Tokens(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)), nn.Linear(8, 5)
    ),
    "lstm": lambda: nn.Sequential(Tokens(nn.LSTM(8, 8, batch_first=True)), nn.Linear(8, 5)),
    "gru": lambda: nn.Sequential(Tokens(nn.GRU(8, 8, 2, batch_first=True)), nn.Linear(8, 5)),
    "tied": lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), Tied(), nn.Linear(12, 5)),
    "buffers": lambda: nn.Sequential(Buffers(), nn.Flatten(), nn.Linear(144, 5)),
}


def build(name: str) -> nn.Module:
    """One of them, as an architecture that files of weights are fitted to."""
    return NETWORKS[name]()
