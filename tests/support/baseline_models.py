"""Tiny models, images and a task for the tests of benchmarks/baselines."""

import torch
from baselines import OwnModels, Task
from baselines.defender import logits_of
from torch import nn

SIDE, CLASSES = 8, 3


class Centre(nn.Module):
    """Pixels about 0, and large, so that untrained networks tell all classes."""

    def forward(self, x):
        return 8 * (x - 0.5)


class Net(nn.Sequential):
    """A convolution and two linear layers, under a seed of its own; named in the zoo of the tests."""

    def __init__(self, classes=CLASSES, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(
                Centre(),
                nn.Conv2d(3, 4, 3, stride=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(36, 8),
                nn.ReLU(),
                nn.Linear(8, classes),
            )
            # The first layers' biases would decide for one class.
            for layer in (self[1], self[4], self[6]):
                layer.bias.data.zero_()


class Linear(nn.Module):
    """Logits ``weights @ pixels``, of given weights (k, 3·H·W)."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.as_tensor(weights, dtype=torch.float32))

    def forward(self, x):
        return x.flatten(1) @ self.weights.T


class FixedLogits(nn.Module):
    """Given logits, whatever is asked."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits, dtype=torch.float32))

    def forward(self, x):
        return self.logits[: len(x)]


def pixels(count, seed=0, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def task(count=48, errors=30, seed=0):
    images, wrong = pixels(count, seed), pixels(errors, seed + 1)
    right = logits_of(Net(), images).argmax(1)
    # One image in four is labelled otherwise than the source says; of the errors all but three are.
    labels = torch.where(torch.arange(count) % 4 == 0, (right + 1) % CLASSES, right)
    said = logits_of(Net(), wrong).argmax(1)
    error_labels = torch.where(torch.arange(errors) < 3, said, (said + 1) % CLASSES)
    return Task(images[:32], labels[:32], images[32:], labels[32:], wrong, error_labels)


OWN = OwnModels((Net(seed=1), Net(seed=2)), (Net(seed=3), Net(seed=4)))
