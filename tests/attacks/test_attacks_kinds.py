"""Distillation, adversarial extraction, transfer, quantisation and noise."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.attack_models import accuracy, same
from support.attack_models import make_colour as make
from support.attack_models import make_colour_data as make_data
from torch import nn

from sac_fast.attacks import (
    ATTACKS,
    AttackContext,
    TrainingConfig,
    adaptive_correlation,
    adaptive_removalnet,
    distillation_loss,
    extract_adversarial,
    extract_distilled,
    finetune_adversarial,
    pgd,
    quantize_int8,
    replace_head,
    train,
    transfer_all,
    transfer_last,
    weight_noise,
)
from sac_fast.attacks.extract import pack, unpack
from sac_fast.attacks.transfer import with_head
from sac_fast.errors import ModelError
from sac_fast.models import Preprocessing

SHORT = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.05)
IMAGES, LABELS = make_data()
SOURCE = train(make(), IMAGES, LABELS, config=TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1))


def test_distillation_loss_is_the_written_formula():
    """n = 1, k = 2, T = 2, α = 0.3: p = σ(±1), q = σ(±0.5), in plain arithmetic."""
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    q, p = (sigmoid(0.5), sigmoid(-0.5)), (sigmoid(1.0), sigmoid(-1.0))
    divergence = sum(a * (math.log(a) - math.log(b)) for a, b in zip(q, p, strict=True)) / 2  # mean over n·k
    entropy = -math.log(sigmoid(-2.0))  # label 1, logits (2, 0)
    wanted = 0.3 * 4 * divergence + 0.7 * entropy
    got = distillation_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([1]), 2.0, 0.3)
    assert got.item() == pytest.approx(wanted, rel=1e-6)
    assert wanted == pytest.approx(1.50562, abs=1e-5)


def test_distillation_takes_the_sources_labels_unless_own_are_given():
    wrong = (LABELS + 1) % 3
    config = TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1)
    copied = extract_distilled(SOURCE, make(1), IMAGES, alpha=0.1, config=config)
    misled = extract_distilled(SOURCE, make(1), IMAGES, wrong, alpha=0.1, config=config)
    assert accuracy(copied, IMAGES, LABELS) > 0.95
    assert accuracy(misled, IMAGES, wrong) > 0.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_packed_labels_are_whole_in_every_precision(dtype):
    labels = torch.arange(1000)
    logits = torch.nn.functional.one_hot(labels).to(dtype)
    for given in (labels, None):
        answers, got = unpack(pack(logits, given))
        assert torch.equal(got, labels)
        assert torch.equal(answers, logits.to(answers.dtype))


def test_distillation_trains_a_student_in_low_precision():
    source, student = make(0).bfloat16(), make(1).bfloat16()
    stolen = extract_distilled(source, student, IMAGES.bfloat16(), config=TrainingConfig(epochs=1, batch_size=16))
    assert all(parameter.dtype == torch.bfloat16 for parameter in stolen.parameters())
    assert not same(stolen, student)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pgd_stays_inside_the_ball_of_pixels_and_raises_the_loss(layout):
    preprocessing = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.2), layout=layout)
    pixels = IMAGES if layout == "NCHW" else IMAGES.permute(0, 2, 3, 1)
    shape = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
    mean, std = (torch.tensor(v).reshape(shape) for v in (preprocessing.mean, preprocessing.std))
    model = make(1) if layout == "NCHW" else ChannelsLast()  # untrained: its loss can still rise
    model.train()
    x = (pixels - mean) / std
    before = copy.deepcopy(model)
    moved = pgd(model, x, LABELS, epsilon=4 / 255, steps=3, preprocessing=preprocessing)
    assert same(model, before)  # batch normalisation's statistics too
    assert model.training
    model.eval()
    back = moved * std + mean
    change = (back - pixels).abs().amax(dim=[0, *(d for d in (1, 2, 3) if shape[d] == 1)])
    assert change.tolist() == pytest.approx([4 / 255] * 3, abs=1e-6)  # reached in every channel, and not passed
    assert back.min() >= -1e-6
    assert back.max() <= 1 + 1e-6
    assert F.cross_entropy(model(moved), LABELS) > F.cross_entropy(model(x), LABELS) + 1e-3


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make(1)

    def forward(self, x):
        return self.net(x.permute(0, 3, 1, 2))


def test_pgd_on_a_line_takes_the_step_by_hand():
    """logits = (x, −x), label 0: the loss falls with x, so x moves down by 2.5 ε / 2 twice and stops at ε."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[1.0], [-1.0]])
    preprocessing = Preprocessing(mean=(0.5,), std=(0.25,), colour_order="GRAY")
    moved = pgd(model, torch.tensor([[0.4], [-1.99]]), torch.tensor([0, 0]), epsilon=0.1, steps=2,
                preprocessing=preprocessing)  # fmt: skip
    assert moved.flatten().tolist() == pytest.approx([0.0, -2.0])  # ε / std = 0.4; black is −2


def test_adversarial_training_makes_the_student_more_robust_than_the_plain_one():
    config = TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1)
    options = {"config": config, "epsilon": 40 / 255, "seed": 2}
    plain = extract_adversarial(SOURCE, make(1), IMAGES, tuning=TrainingConfig(1, 96, 1e-9), **options)
    robust = extract_adversarial(SOURCE, make(1), IMAGES, tuning=TrainingConfig(8, 16, 0.1), **options)

    def loss(model):
        return F.cross_entropy(model(pgd(model, IMAGES, LABELS, epsilon=40 / 255, steps=5)), LABELS).item()

    assert loss(robust) < 0.8 * loss(plain)
    assert accuracy(robust, IMAGES, LABELS) > 0.9


def test_adversarial_fine_tuning_makes_the_copy_more_robust_than_the_source():
    config = TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1)
    stolen = finetune_adversarial(SOURCE, IMAGES, LABELS, epsilon=40 / 255, config=config)

    def loss(model):
        return F.cross_entropy(model(pgd(model, IMAGES, LABELS, epsilon=40 / 255, steps=5)), LABELS).item()

    assert loss(stolen) < 0.8 * loss(SOURCE)
    assert accuracy(stolen, IMAGES, LABELS) > 0.9


def test_noise_before_fine_tuning_is_that_of_the_level():
    still = AttackContext(tuning=TrainingConfig(1, 96, 1e-12), options={"level": 0.2})
    stolen = ATTACKS["n-finetune"].make(SOURCE, None, IMAGES, LABELS, context=still, seed=4)
    expected = weight_noise(SOURCE, level=0.2, seed=4)
    assert torch.allclose(stolen[0].weight, expected[0].weight, atol=1e-6)
    tuned = ATTACKS["n-finetune"].make(SOURCE, None, IMAGES, LABELS, seed=4)
    assert not torch.allclose(tuned[0].weight, expected[0].weight, atol=1e-3)


def test_replaced_head_has_new_weights_and_nothing_else_has():
    new = replace_head(SOURCE, 5, seed=3)
    assert new[5].weight.shape == (5, 24)
    assert len(SOURCE[5].weight) == 3
    assert torch.equal(new[0].weight, SOURCE[0].weight)
    assert same(new, replace_head(SOURCE, 5, seed=3))
    assert not torch.equal(new[5].weight, replace_head(SOURCE, 5, seed=4)[5].weight)
    conv = replace_head(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False)), 7)
    assert (conv[1].weight.shape, conv[1].stride, conv[1].bias) == ((7, 4, 3, 3), (2, 2), None)
    with pytest.raises(ModelError, match="layer must name a linear or convolutional layer inside the model, got ''"):
        replace_head(nn.Linear(2, 2), 3)
    with pytest.raises(ValueError, match="outputs must be an integer of at least 1, got 0"):
        replace_head(SOURCE, 0)


def test_transfer_last_trains_the_head_alone_and_transfer_all_everything():
    other = (LABELS == 0).long()
    last = transfer_last(SOURCE, IMAGES, other, config=TrainingConfig(epochs=10, batch_size=16, learning_rate=0.1))
    every = transfer_all(SOURCE, IMAGES, other, config=TrainingConfig(epochs=10, batch_size=16, learning_rate=0.1))
    assert accuracy(last, IMAGES, other) > 0.95
    assert accuracy(every, IMAGES, other) > 0.95
    kept = [
        torch.equal(value, last.state_dict()[name]) for name, value in SOURCE.state_dict().items() if name[0] != "5"
    ]
    assert all(kept)
    assert not torch.equal(every[0].weight, SOURCE[0].weight)
    assert transfer_last(SOURCE, IMAGES, other, outputs=9, config=SHORT)[5].out_features == 9


def test_transferred_model_can_be_built_by_name():
    model = with_head("sac_fast.demo.architectures:plain", 4, {"classes": 10})
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_int8_by_hand_and_at_most_255_values_a_channel():
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[127.0, 0.4, -63.6], [0.0, 0.0, 0.0]])
    rounded = quantize_int8(nn.Sequential(layer))[0]
    assert rounded.weight.tolist() == [[127.0, 0.0, -64.0], [0.0, 0.0, 0.0]]
    assert torch.equal(rounded.bias, layer.bias)
    torch.manual_seed(0)
    conv = nn.Conv2d(40, 3, 5)
    coarse = {bits: quantize_int8(nn.Sequential(conv), bits=bits)[0].weight for bits in (8, 4)}
    for channel in range(3):
        assert 200 < len(coarse[8][channel].unique()) <= 255  # of 1000 weights
        assert len(coarse[4][channel].unique()) == 15
        step = conv.weight[channel].abs().max() / 127
        assert (coarse[8][channel] - conv.weight[channel]).abs().max() <= step / 2 * (1 + 1e-5)


def test_int8_does_not_depend_on_folding_batch_normalisation():
    """A channel times a constant is rounded to the rounded channel times that constant."""
    layer = nn.Conv2d(3, 4, 3)
    folded = copy.deepcopy(layer)
    with torch.no_grad():
        folded.weight.mul_(torch.tensor([2.0, 0.5, 8.0, 0.25]).reshape(4, 1, 1, 1))  # powers of two: exact
    plain = quantize_int8(nn.Sequential(layer))[0].weight
    assert torch.equal(
        quantize_int8(nn.Sequential(folded))[0].weight, plain * torch.tensor([2.0, 0.5, 8.0, 0.25]).reshape(4, 1, 1, 1)
    )


@pytest.mark.parametrize("attack", [quantize_int8, weight_noise])
def test_normalisation_of_whole_maps_is_spared(attack):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 3, 3]), nn.RMSNorm([3, 3]))
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    changed = attack(model)
    different = [
        name for name, value in changed.named_parameters() if not torch.equal(value, model.get_parameter(name))
    ]
    assert different == ["0.weight"]


def test_noise_has_the_wanted_size_and_spares_biases():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 200))
    noise = weight_noise(model, level=0.1, seed=1)[0].weight - model[0].weight
    assert noise.std().item() == pytest.approx(0.1 * model[0].weight.std().item(), rel=0.03)
    assert torch.equal(weight_noise(model)[0].bias, model[0].bias)
    assert same(weight_noise(model, level=0.0), model)
    assert not same(weight_noise(model, seed=1), weight_noise(model, seed=2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pgd(SOURCE, IMAGES, LABELS, epsilon=0.0), ValueError, "epsilon must be positive and finite, got 0.0"),
        (lambda: pgd(SOURCE, IMAGES, LABELS, steps=0), ValueError, "steps must be an integer of at least 1, got 0"),
        (
            lambda: pgd(SOURCE, IMAGES[:, :2], LABELS, preprocessing=Preprocessing(std=(1.0, 2.0, 3.0))),
            ValueError,
            r"images must have 3 channels \(NCHW\) like preprocessing, got \(96, 2, 6, 6\)",
        ),
        (lambda: extract_distilled(SOURCE, make(), IMAGES, alpha=1.5), ValueError, "alpha must lie in 0…1, got 1.5"),
        (lambda: extract_distilled(SOURCE, make(), IMAGES, LABELS + 1), ValueError, "labels must lie in 0…2"),
        (lambda: quantize_int8(SOURCE, bits=9), ValueError, "bits must be an integer in 2…8, got 9"),
        (lambda: weight_noise(SOURCE, level=-1.0), ValueError, "level must be at least 0 and finite, got -1.0"),
        (lambda: adaptive_correlation(SOURCE, IMAGES, weight=-1.0), ValueError, "weight must be at least 0"),
        (lambda: adaptive_correlation(SOURCE, IMAGES, target=0.0), ValueError, "target must be positive"),
        (
            lambda: adaptive_correlation(SOURCE, IMAGES, metric="rbf"),
            ValueError,
            "metric must be 'pearson' or 'cosine'",
        ),
        (lambda: adaptive_removalnet(SOURCE, IMAGES, alpha=2.0), ValueError, "alpha is out of range, got 2.0"),
        (
            lambda: adaptive_removalnet(nn.Sequential(nn.Conv2d(3, 3, 6), nn.Flatten()), IMAGES),
            ModelError,
            "model must end in a linear layer, got Conv2d",
        ),
        (lambda: transfer_all(SOURCE, IMAGES, [0, 1]), TypeError, "labels must be a torch.Tensor, got list"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
