"""Five small networks of different kinds for RGB patches, and two of the literature's, named on the command line as
``sac_fast.testbed.architectures:NAME --model-args '{"classes": N}'``.

Each small one keeps what makes its family what it is (VGG's plain stack, ResNet's sums, DenseNet's concatenations,
MobileNetV2's inverted bottlenecks, the Mixer's MLPs over places and channels) at a size that one CPU core trains in
well under a minute.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..labelled_zoo.layers import Residual, conv, pooled_head


def vgg(classes: int = 10, width: int = 16) -> nn.Module:
    """A plain stack of 3×3 convolutions with max pooling (Simonyan & Zisserman, arXiv 1409.1556).

    Args:
        classes: number of outputs.
        width: channels of the first layer.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, H and W at least 16, (n, classes) logits out.
    """
    return nn.Sequential(
        conv(3, width, stride=2),
        conv(width, width),
        nn.MaxPool2d(2),
        conv(width, 2 * width),
        conv(2 * width, 2 * width),
        nn.MaxPool2d(2),
        conv(2 * width, 4 * width),
        *pooled_head(4 * width, classes),
    )


def resnet(classes: int = 10, width: int = 16) -> nn.Module:
    """Three residual blocks (He et al., arXiv 1512.03385).

    Args:
        classes: number of outputs.
        width: channels of the first layer.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, H and W at least 16, (n, classes) logits out.
    """
    return nn.Sequential(
        conv(3, width, stride=2),
        Residual(width, width, 2),
        Residual(width, 2 * width, 1),
        Residual(2 * width, 4 * width, 2),
        *pooled_head(4 * width, classes),
    )


class _Dense(nn.Module):
    """Normalisation, ReLU, 3×3 convolution; the result is concatenated to the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


def densenet(classes: int = 10, width: int = 16, growth: int = 16) -> nn.Module:
    """Two dense blocks with a transition between them (Huang et al., arXiv 1608.06993).

    Args:
        classes: number of outputs.
        width: channels of the first layer.
        growth: channels that each layer adds.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, H and W at least 16, (n, classes) logits out.
    """
    layers: list[nn.Module] = [conv(3, width, stride=2), nn.AvgPool2d(2)]
    channels = width
    for block in range(2):
        for _ in range(3):
            layers.append(_Dense(channels, growth))
            channels += growth
        if block == 0:
            layers += [conv(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *pooled_head(channels, classes))


class _Inverted(nn.Module):
    """A 1×1 expansion, a 3×3 convolution channel by channel, a linear 1×1 projection; a shortcut where sizes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * inputs
        self.shortcut = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            conv(inputs, inner, 1),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


def mobilenet(classes: int = 10, width: int = 16, expansion: int = 3) -> nn.Module:
    """Inverted residuals with linear bottlenecks (MobileNetV2: Sandler et al., arXiv 1801.04381).

    Args:
        classes: number of outputs.
        width: channels of the first layer.
        expansion: channels inside a block over those at its entrance.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, H and W at least 16, (n, classes) logits out.
    """
    return nn.Sequential(
        conv(3, width, stride=2),
        _Inverted(width, width, 2, expansion),
        _Inverted(width, width, 1, expansion),
        _Inverted(width, 2 * width, 2, expansion),
        _Inverted(2 * width, 2 * width, 1, expansion),
        conv(2 * width, 6 * width, 1),
        *pooled_head(6 * width, classes),
    )


class _Mixing(nn.Module):
    """One MLP over the places of each channel, then one over the channels of each place, each with a shortcut."""

    def __init__(self, places: int, channels: int) -> None:
        super().__init__()
        self.norm_places = nn.LayerNorm(channels)
        self.over_places = nn.Sequential(nn.Linear(places, 2 * places), nn.GELU(), nn.Linear(2 * places, places))
        self.norm_channels = nn.LayerNorm(channels)
        self.over_channels = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_places(self.norm_places(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = x + self.over_channels(self.norm_channels(x))
        return y


class Mixer(nn.Module):
    """An MLP-Mixer on non-overlapping tiles (Tolstikhin et al., arXiv 2105.01601); see `mixer`."""

    def __init__(self, classes: int, size: int, tile: int, channels: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, channels, tile, tile)
        self.blocks = nn.Sequential(*(_Mixing((size // tile) ** 2, channels) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        places = self.embed(x).flatten(2).transpose(1, 2)
        y: Tensor = self.head(self.norm(self.blocks(places)).mean(dim=1))
        return y


def mixer(classes: int = 10, size: int = 32, tile: int = 4, channels: int = 48, depth: int = 3) -> nn.Module:
    """An MLP-Mixer (Tolstikhin et al., arXiv 2105.01601).

    Args:
        classes: number of outputs.
        size: height and width of the images, a multiple of ``tile``.
        tile: height and width of a tile.
        channels: of each tile.
        depth: number of blocks.

    Returns:
        A freshly initialised network: (n, 3, size, size) float32 in, (n, classes) logits out.
    """
    return Mixer(classes, size, tile, channels, depth)


def resnet18(classes: int = 10, width: int = 64) -> nn.Module:
    """ResNet-18 for small images (He et al., arXiv 1512.03385): a 3×3 stem without pooling, 11 million parameters.

    Args:
        classes: number of outputs.
        width: channels of the first stage.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, (n, classes) logits out.
    """
    layers: list[nn.Module] = [conv(3, width)]
    channels = width
    for stage in range(4):
        for block in range(2):
            outputs = width << stage
            layers.append(Residual(channels, outputs, 2 if stage and not block else 1))
            channels = outputs
    return nn.Sequential(*layers, *pooled_head(channels, classes))


#: Expansion, channels, blocks and stride of each stage (Sandler et al., arXiv 1801.04381, table 2).
_MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
)  # fmt: skip


def mobilenet_v2(classes: int = 10) -> nn.Module:
    """MobileNetV2 for small images: stem and second stage without strides, 2.3 million parameters.

    Args:
        classes: number of outputs.

    Returns:
        A freshly initialised network: (n, 3, H, W) float32 in, (n, classes) logits out.
    """
    layers: list[nn.Module] = [conv(3, 32)]
    channels = 32
    for expansion, outputs, blocks, stride in _MOBILENET_V2:
        for block in range(blocks):
            layers.append(_Inverted(channels, outputs, 1 if block else stride, expansion))
            channels = outputs
    return nn.Sequential(*layers, conv(channels, 1280, 1), *pooled_head(1280, classes))
