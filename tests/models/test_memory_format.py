"""Channels last only where the network has convolutions and answers the same."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from sac_fast.models import ModelEntry, open_model, run_inputs, save_weights
from sac_fast.models.memory_format import use_fastest_memory_format

INPUTS = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Convolution(nn.Module):
    """A convolution whose values a subclass reads in its own way."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.convolution = nn.Conv2d(3, 5, 3)

    def forward(self, x):
        return self.read(self.convolution(x))

    def read(self, values):
        return values.flatten(1)


class Views(Convolution):
    def read(self, values):
        return values.view(len(values), -1)


class Strided(Convolution):
    """Reads memory as if it were contiguous: another answer in channels last, and no error."""

    def read(self, values):
        return values.as_strided((len(values), 180), (180, 1))


class Random(Convolution):
    def read(self, values):
        return values.flatten(1) + torch.randn(1)


class Writes(Convolution):
    def read(self, values):
        return values.flatten(1)

    def forward(self, x):
        answer = super().forward(x)
        x.zero_()
        return answer


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, x):
        return self.linear(x.flatten(1))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Convolution, torch.channels_last),
        (Random, torch.channels_last),
        (Writes, torch.channels_last),
        (Views, torch.contiguous_format),
        (Strided, torch.contiguous_format),
        (Linear, torch.contiguous_format),
    ],
)
def test_which_networks_are_converted(make, expected):
    module, inputs = make().eval(), INPUTS.clone()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert use_fastest_memory_format(module, inputs) == expected
    assert torch.equal(inputs, INPUTS)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        if value.ndim == 4:
            assert value.is_contiguous(memory_format=expected)
        else:
            assert value.stride() == before[name].stride()


def test_strided_would_answer_something_else():
    module = Strided().eval()
    other = run_inputs(module, INPUTS, memory_format=torch.channels_last)
    assert not torch.allclose(other, run_inputs(module, INPUTS), atol=1e-2)


@pytest.mark.parametrize("inputs", [INPUTS[:31], INPUTS.double(), INPUTS.flatten(2)])
def test_inputs_that_stay_as_they_are(inputs):
    module = Convolution().eval().to(inputs.dtype)
    assert use_fastest_memory_format(module, inputs) == torch.contiguous_format


@pytest.mark.parametrize("make", [Convolution, Views, Strided, Random])
def test_an_opened_model_answers_as_the_network_does(make, tmp_path):
    module = make().eval()
    save_weights(tmp_path / "m.safetensors", module)
    entry = ModelEntry("m", tmp_path / "m.safetensors", f"{__name__}:{make.__name__}")
    torch.manual_seed(7)
    expected = run_inputs(module, INPUTS)
    for _ in range(2):
        torch.manual_seed(7)
        with open_model(entry) as model:
            torch.manual_seed(7)
            actual = model.run(INPUTS)
        assert torch.allclose(actual, expected, rtol=0, atol=1e-6)
        if make in (Views, Strided):
            assert torch.equal(actual, expected)


class Counted(Convolution):
    sizes: ClassVar[list[int]] = []

    def forward(self, x):
        self.sizes.append(len(x))
        return super().forward(x)


def test_which_axis_is_that_of_the_probes_is_asked_once(tmp_path):
    save_weights(tmp_path / "m.safetensors", Counted())
    entry = ModelEntry("m", tmp_path / "m.safetensors", f"{__name__}:Counted")
    with open_model(entry) as model:
        Counted.sizes.clear()
        model.run(INPUTS)
        # Both formats, all inputs, then three, two and one of them.
        assert Counted.sizes == [4, 4, 40, 3, 2, 1]
        Counted.sizes.clear()
        model.run(INPUTS[:16])
        assert Counted.sizes == [16]
