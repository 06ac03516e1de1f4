"""Functions of the scripts that run models: outputs, accuracy, devices, feature hooks."""

import pytest
import torch
from support import script_formulas as plain
from support.script_values import assert_same, outcome, random
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sac_fast.compat import sac, sac_jc


class Recorder(nn.Sequential):
    """A model that says in which mode and with which gradients it ran."""

    def __init__(self, k=7):
        generator = torch.Generator().manual_seed(5)
        super().__init__(nn.Flatten(), nn.Linear(12, k), nn.Dropout(0.5))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, torch.is_grad_enabled(), len(x)))
        return super().forward(x)


def loader(n=21, batch_size=8, dtype=torch.float32):
    images = random(n, 3, 2, 2, dtype=dtype, seed=2)
    labels = torch.randint(7, (n,), generator=torch.Generator().manual_seed(3))
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=False)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sac_jc.cal_cor, lambda m, d: plain.correlation_sac_jc(plain.answers(m, d), plain.answers(m, d))),
        (sac.cal_cor, lambda m, d: plain.correlation_sac(plain.answers(m, d), plain.answers(m, d))),
        (
            sac.cal_cor_onehot,
            lambda m, d: plain.correlation_sac(*[plain.output_to_label(plain.answers(m, d))] * 2),
        ),
        (sac_jc.feature, lambda m, d: plain.answers(m, list(d)[-1:])),
        (sac_jc.cal_correct, plain.cal_correct),
    ],
    ids=["sac_jc.cal_cor", "sac.cal_cor", "cal_cor_onehot", "feature", "cal_correct"],
)
@pytest.mark.parametrize("n", [1, 2, 16, 17, 21])
def test_models(ours, theirs, n):
    model = Recorder().train()
    expected = outcome(theirs, model, loader(n))
    model.train()
    model.seen.clear()
    assert_same(outcome(ours, model, loader(n)), expected)
    sizes = [min(8, n - start) for start in range(0, n, 8)]
    assert model.seen == [(False, False, size) for size in sizes]  # eval mode, no graph, each batch once
    assert not model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_model_in_double_precision():
    model = Recorder().double()
    matrix = sac_jc.cal_cor(model, loader(dtype=torch.float64))
    assert matrix.dtype == torch.float64
    answers = plain.answers(model, loader(dtype=torch.float64))
    assert_same(matrix, plain.correlation_sac_jc(answers, answers))
    # labels are float32 whatever the model computes in, as in the scripts
    assert sac.cal_cor_onehot(model, loader(dtype=torch.float64)).dtype == torch.float32


def test_accuracy_converts_the_images():
    assert sac_jc.cal_correct(Recorder(), loader(dtype=torch.float64)) == plain.cal_correct(Recorder(), loader())


def test_accuracy_literal():
    images = torch.eye(4).repeat(2, 1)
    labels = torch.tensor([0, 1, 2, 3, 0, 0, 0, 0])
    assert sac.cal_correct(nn.Identity(), [(images[:5], labels[:5]), (images[5:], labels[5:])]) == 5 / 8


@pytest.mark.parametrize("function", [sac_jc.cal_cor, sac.cal_cor, sac.cal_cor_onehot])
def test_no_batch(function):
    with pytest.raises((RuntimeError, ValueError), match="non-empty"):
        function(Recorder(), [])


def test_no_batch_for_the_others():
    with pytest.raises(ValueError, match="dataloader must give at least one batch, got none"):
        sac_jc.feature(Recorder(), [])
    with pytest.raises(ZeroDivisionError):
        sac_jc.cal_correct(Recorder(), [])


def test_a_failing_model_is_back_on_the_cpu_and_the_error_is_its_own():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sac_jc.cal_cor(Recorder(), [(random(4, 5), torch.zeros(4))])


@pytest.mark.cuda
def test_devices_are_those_of_the_scripts():
    assert sac_jc.cal_cor(Recorder(), loader()).device.type == "cuda"
    assert sac.cal_cor(Recorder(), loader()).device.type == "cpu"
    assert sac.cal_cor_onehot(Recorder(), loader()).device.type == "cpu"
    assert sac_jc.feature(Recorder(), loader()).device.type == "cpu"


def test_feature_hook():
    layer = nn.Linear(3, 2)
    model = nn.Sequential(layer, nn.ReLU())
    hook = sac_jc.FeatureHook(layer)
    assert not hasattr(hook, "output")
    x = random(5, 3)
    model(x)
    torch.testing.assert_close(hook.output, layer(x).detach())
    assert not hook.output.requires_grad
    kept = hook.output
    hook.close()
    model(2 * x)
    assert hook.output is kept


def test_feature_hook_of_several_outputs():
    layer = nn.LSTM(3, 2)
    hook = sac.FeatureHook(layer)
    output, (hidden, cell) = layer(random(4, 1, 3))
    assert torch.equal(hook.output[0], output)
    assert torch.equal(hook.output[1][1], cell)
    assert torch.equal(hook.output[1][0], hidden)
    assert not hook.output[0].requires_grad
    assert not hook.output[1][0].requires_grad
