"""Networks and images small enough to attack in a test."""

import torch
from torch import nn

from sac_fast.attacks.training import compute_logits


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def accuracy(model, images, labels):
    return (compute_logits(model, images).argmax(1) == labels).double().mean().item()


class GrayNet(nn.Sequential):
    """Convolution, batch normalisation and dropout: all that training may leave behind."""

    def __init__(self, classes=3):
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, classes),
        )


def make_gray(seed=0, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GrayNet(classes)


def make_gray_data(rows=96, seed=5):
    """Three classes: a bright upper half, a bright lower half, a dark image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    images = 0.2 * torch.randn(rows, 1, 6, 6, generator=generator)
    images[labels == 0, :, :3] += 1
    images[labels == 1, :, 3:] += 1
    return images, labels


class ColourNet(nn.Sequential):
    def __init__(self, classes=3):
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, classes),
        )


def make_colour(seed=0, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ColourNet(classes)


def make_colour_data(rows=96, seed=5):
    """Three classes of pixels in 0 … 1: a bright upper half, a bright lower half, a gray image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    images = 0.3 + 0.1 * torch.randn(rows, 3, 6, 6, generator=generator)
    images[labels == 0, :, :3] += 0.4
    images[labels == 1, :, 3:] += 0.4
    return images.clamp(0, 1), labels
