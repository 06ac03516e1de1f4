"""Groups of units from a module's graph, against groups found by hand and by permuting."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sac_fast.verify.weights.graph_groups import NOT_SHOWN, OUTPUT, find_uses


class Mixed(nn.Module):
    """A residual block, squeeze and excitation, a depthwise convolution, a concatenation, dense layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.norm, self.second = nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12), nn.Conv2d(12, 8, 1)
        self.reduce, self.expand = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.square = nn.Conv2d(8, 8, 1)
        self.side = nn.Conv2d(8, 10, 1)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.hidden, self.head = nn.Linear(18, 16), nn.Linear(16, 8)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + self.second(F.relu(self.norm(self.first(x))))
        x = x * torch.sigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))
        x = x + self.scale * self.square(self.deep(x))
        x = torch.cat([x, self.side(x)], dim=1).mean((2, 3))
        return self.head(torch.tanh(self.hidden(x)))


def test_groups_are_those_found_by_hand():
    uses = find_uses(Mixed())
    assert {name: use.left_out for name, use in uses.items() if use.left_out} == {"head.weight": OUTPUT}
    # the stream's units are rows and columns of this one
    assert {name for name, use in uses.items() if use.both_sides} == {"square.weight"}
    assert all(use.side == "rows" and use.blocks == 1 for use in uses.values())
    assert len(uses) == 10


def test_the_groups_can_be_permuted_without_a_change_of_the_outputs():
    """What stands in the stream moves together: rows of four layers, columns of four."""
    torch.manual_seed(0)
    model = Mixed().eval()
    images = torch.randn(2, 3, 6, 6)
    before = model(images)
    order = torch.randperm(8)
    with torch.no_grad():
        for layer in (model.stem, model.second, model.expand, model.deep, model.square):
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
        for layer in (model.first, model.reduce, model.square, model.side):
            layer.weight.copy_(layer.weight[:, order])
        model.hidden.weight[:, :8] = model.hidden.weight[:, :8][:, order]
    torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)


class Fixing(nn.Module):
    """Something that the walk does not know touches the units of the first layer."""

    def __init__(self, change):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.register_buffer("positions", torch.linspace(0, 1, 12))
        self.change = change

    def forward(self, x):
        return self.third(torch.relu(self.second(self.change(self, self.first(x)))))


@pytest.mark.parametrize(
    "change",
    [
        lambda model, x: x.flip(-1),
        lambda model, x: x.view(-1, 3, 4).transpose(1, 2).reshape(-1, 12),
        lambda model, x: x + model.positions,  # position codes
        lambda model, x: F.pad(x[:, :6], (0, 6)),  # a shortcut that pads
        lambda model, x: x.cumsum(-1),
    ],
)
def test_what_is_not_known_fixes_the_units(change):
    uses = find_uses(Fixing(change))
    assert uses["first.weight"].left_out == NOT_SHOWN
    assert uses["second.weight"].left_out is None
    assert find_uses(Fixing(lambda model, x: torch.relu(x)))["first.weight"].left_out is None


def test_groups_of_normalisation_and_convolution_are_blocks():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, groups=2), nn.Conv2d(32, 8, 1)
    )
    uses = find_uses(model)
    assert (uses["0.weight"].blocks, uses["3.weight"].blocks, uses["4.weight"].left_out) == (4, 2, OUTPUT)


def test_units_of_a_residual_stream_that_is_fixed_leave_the_columns():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1), nn.Conv2d(12, 8, 1)
            self.head = nn.Conv2d(16, 4, 1)

        def forward(self, x):
            x = self.stem(x)
            return self.head(F.pad(x + self.second(torch.relu(self.first(x))), (0, 0, 0, 0, 4, 4)))

    uses = find_uses(Padded())
    assert uses["stem.weight"].left_out == NOT_SHOWN
    assert (uses["second.weight"].side, uses["second.weight"].left_out) == ("columns", None)
    assert (uses["first.weight"].side, uses["first.weight"].left_out) == ("rows", None)


def test_a_module_that_cannot_be_traced_has_no_groups():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    assert find_uses(Branching()) == {}
