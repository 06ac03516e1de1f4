"""Small convolutional networks of the families that the weights test knows, with their usual names."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CLASSES, SIDE = 10, 8


class BatchNorm(nn.Module):
    """Normalises by the batch; its buffers have the names of torch's and stay as they are."""

    def __init__(self, features):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x):
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)


def conv(inputs, outputs, kernel=3, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Plain(nn.Module):
    """VGG's kind: convolutions, a flatten, dense layers."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()),
        )
        self.classifier = nn.Sequential(
            nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, CLASSES)
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), BatchNorm(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), BatchNorm(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), BatchNorm(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(shortcut + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16), BatchNorm(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 24, 2))
        self.layer3 = nn.Sequential(BasicBlock(24, 32, 2))
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class InvertedResidual(nn.Module):
    """MobileNetV2's block, as torchvision names it."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        wide = 2 * inputs
        self.conv = nn.Sequential(
            nn.Sequential(conv(inputs, wide, 1), BatchNorm(wide), nn.ReLU6()),
            nn.Sequential(conv(wide, wide, 3, stride, groups=wide), BatchNorm(wide), nn.ReLU6()),
            conv(wide, outputs, 1),
            BatchNorm(outputs),
        )
        self.shortcut_fits = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.shortcut_fits else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(conv(3, 16, stride=2), BatchNorm(16), nn.ReLU6()),
            InvertedResidual(16, 16, 1),
            InvertedResidual(16, 24, 2),
            InvertedResidual(24, 24, 1),
            nn.Sequential(conv(24, 48, 1), BatchNorm(48), nn.ReLU6()),
        )
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(48, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, features, squeezed):
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(features, squeezed, 1), nn.Conv2d(squeezed, features, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv_expand(F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    """EfficientNet's block, as timm names it."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        wide = 2 * inputs
        self.conv_pw, self.bn1 = conv(inputs, wide, 1), BatchNorm(wide)
        self.conv_dw, self.bn2 = conv(wide, wide, 3, stride, groups=wide), BatchNorm(wide)
        self.se = SqueezeExcite(wide, 8)
        self.conv_pwl, self.bn3 = conv(wide, outputs, 1), BatchNorm(outputs)
        self.shortcut_fits = stride == 1 and inputs == outputs

    def forward(self, x):
        y = F.silu(self.bn2(self.conv_dw(F.silu(self.bn1(self.conv_pw(x))))))
        y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.shortcut_fits else y


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn1 = conv(3, 16, stride=2), BatchNorm(16)
        self.blocks = nn.Sequential(MBConv(16, 16, 1), MBConv(16, 24, 2), MBConv(24, 24, 1))
        self.conv_head, self.bn2 = conv(24, 48, 1), BatchNorm(48)
        self.classifier = nn.Linear(48, CLASSES)

    def forward(self, x):
        x = self.blocks(F.silu(self.bn1(self.conv_stem(x))))
        return self.classifier(F.silu(self.bn2(self.conv_head(x))).mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(width, width, 5, padding=2, groups=width), nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma = nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Conv2d(3, 16, 2, 2), nn.Conv2d(16, 24, 2, 2)])
        self.stages = nn.ModuleList(
            [nn.Sequential(ConvNeXtBlock(16), ConvNeXtBlock(16)), nn.Sequential(ConvNeXtBlock(24))]
        )
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, CLASSES)

    def forward(self, x):
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.head(self.norm(x.mean((2, 3))))


class DoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs), BatchNorm(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), BatchNorm(outputs)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class UNet(nn.Module):
    """Two levels; the image again is what it learns to give."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.up1 = DoubleConv(3, 16), DoubleConv(16, 32), DoubleConv(48, 24)
        self.outc = nn.Conv2d(24, 3, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(F.avg_pool2d(first, 2))
        raised = second.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return self.outc(self.up1(torch.cat([first, raised], 1)))
