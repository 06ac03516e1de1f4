"""Simulated theft on tiny networks: seeded, without side effects, and each does what its name says."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.attack_models import accuracy, same
from support.attack_models import make_gray as make
from support.attack_models import make_gray_data as make_data
from torch import nn
from torch.nn.utils import prune

from sac_fast.attacks import (
    TrainingConfig,
    extract_labels,
    extract_probabilities,
    finetune_all,
    finetune_last,
    last_layer_name,
    train,
    train_independent,
)
from sac_fast.attacks.training import compute_logits, fit
from sac_fast.errors import ModelError

pytestmark = pytest.mark.usefixtures("one_thread")


SHORT = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.05)
IMAGES, LABELS = make_data()


def run_train(model, **options):
    return train(model, IMAGES, LABELS, **options)


def run_train_independent(model, **options):
    return train_independent(model, IMAGES, LABELS, **options)


def run_finetune_all(model, **options):
    return finetune_all(model, IMAGES, LABELS, **options)


def run_finetune_last(model, **options):
    return finetune_last(model, IMAGES, LABELS, **options)


def run_extract_labels(model, **options):
    return extract_labels(model, make(8), IMAGES, **options)


def run_extract_probabilities(model, **options):
    return extract_probabilities(model, make(8), IMAGES, **options)


ATTACKS = pytest.mark.parametrize(
    "attack",
    [
        run_train,
        run_train_independent,
        run_finetune_all,
        run_finetune_last,
        run_extract_labels,
        run_extract_probabilities,
    ],
)


@ATTACKS
def test_given_model_and_global_random_state_are_untouched(attack):
    model = make().train()
    model[1].eval()  # a mode of its own
    before, modes = copy.deepcopy(model), [module.training for module in model.modules()]
    state = torch.get_rng_state()
    stolen = attack(model, config=SHORT)
    assert same(model, before)
    assert [module.training for module in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert stolen is not model
    assert not same(stolen, model)
    assert not any(module.training for module in stolen.modules())
    assert all(p.requires_grad for p in stolen.parameters())


@ATTACKS
def test_seed_decides_everything(attack):
    one, again, other = (attack(make(), config=SHORT, seed=seed) for seed in (3, 3, 4))
    assert same(one, again)
    assert not same(one, other)


@ATTACKS
def test_progress_is_told_after_every_step(attack):
    told = []
    attack(
        make(), config=TrainingConfig(epochs=2, batch_size=40), progress=lambda done, steps: told.append((done, steps))
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]  # 96 // 40 batches an epoch


@ATTACKS
def test_interruption_passes_through_and_changes_nothing(attack):
    model = make()
    before, state = copy.deepcopy(model), torch.get_rng_state()

    def stop(done, steps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack(model, config=SHORT, progress=stop)
    assert same(model, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_bar_goes_to_stderr(capsys):
    train(make(), IMAGES, LABELS, config=SHORT, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_learns_and_theft_keeps_what_was_learnt(optimizer):
    rate = 0.1 if optimizer == "sgd" else 0.02
    config = TrainingConfig(epochs=15, batch_size=16, learning_rate=rate, optimizer=optimizer)
    source = train(make(), IMAGES, LABELS, config=config)
    images, labels = make_data(seed=6)
    assert accuracy(make(), images, labels) < 0.7
    assert accuracy(source, images, labels) > 0.95
    for stolen in (
        finetune_all(source, IMAGES, LABELS),
        finetune_last(source, IMAGES, LABELS),
        extract_labels(source, make(1), IMAGES, config=config),
        extract_probabilities(source, make(1), IMAGES, config=config),
    ):
        assert accuracy(stolen, images, labels) > 0.95


def test_finetune_last_changes_the_last_layer_only():
    source = make()
    source[0].weight.requires_grad_(False)  # a flag of the user's
    stolen = finetune_last(source, IMAGES, LABELS, config=SHORT)
    changed = [
        name
        for (name, a), b in zip(source.state_dict().items(), stolen.state_dict().values(), strict=True)
        if not torch.equal(a, b)
    ]
    assert changed == ["6.weight", "6.bias"]
    assert [p.requires_grad for p in stolen.parameters()] == [p.requires_grad for p in source.parameters()]


def test_finetune_last_takes_a_name():
    source = make()
    stolen = finetune_last(source, IMAGES, LABELS, layer="0", config=SHORT)
    assert not torch.equal(stolen[0].weight, source[0].weight)
    assert torch.equal(stolen[6].weight, source[6].weight)


def test_last_layer_name():
    assert last_layer_name(make()) == "6"
    assert last_layer_name(nn.Linear(2, 2)) == ""
    assert last_layer_name(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1), nn.ReLU())) == "1"
    with pytest.raises(ModelError, match="model must hold a linear or convolutional layer, got ReLU"):
        last_layer_name(nn.ReLU())


@pytest.mark.parametrize("attack", [run_train, run_train_independent, run_finetune_all, run_finetune_last])
def test_a_model_that_cannot_be_copied_is_refused_with_the_reason(attack):
    model = make()
    prune.l1_unstructured(model[6], "weight", 0.3)
    with pytest.raises(ModelError, match=r"copy\.deepcopy can copy, got RuntimeError.*prune\.remove"):
        attack(model, config=SHORT)


class Constant(nn.Module):
    """Answers every image with the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distilled_student_learns_the_logits_up_to_a_constant(temperature):
    """The student is a free row of logits: it must end at the source's, centred, and not at its label."""
    logits = [7.0, 5.0, 3.0]
    student = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    config = TrainingConfig(epochs=300, batch_size=32, learning_rate=0.8 / temperature, weight_decay=0.0)
    stolen = extract_probabilities(
        Constant(logits), student, torch.zeros(32, 1, 6, 6), temperature=temperature, config=config
    )
    learnt = compute_logits(stolen, torch.zeros(1, 1, 6, 6))[0]
    assert (learnt - learnt.mean()).tolist() == pytest.approx([2.0, 0.0, -2.0], abs=0.02)


def test_extraction_by_labels_sees_labels_only():
    """Two sources that agree on the labels give the same student, whatever their probabilities."""
    students = [
        extract_labels(Constant(logits), make(1), IMAGES, config=SHORT)
        for logits in ([3.0, 1.0, -1.0], [0.1, 0.0, -90.0])
    ]
    assert same(*students)
    other = extract_labels(Constant([0.0, 1.0, 0.0]), make(1), IMAGES, config=SHORT)
    assert not same(students[0], other)


class LeftOrRight(nn.Module):
    """Label 0 where the left half is brighter, 1 otherwise: mirroring an image swaps its label."""

    def forward(self, x):
        left, right = x[..., :3].mean((1, 2, 3)), x[..., 3:].mean((1, 2, 3))
        return torch.stack([left, right], dim=1)


def test_mirrored_images_get_the_mirrored_answers():
    """With flips, a source that is not symmetric is still learnt: its answers to the mirrored images count."""
    images = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    student = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    config = TrainingConfig(epochs=30, batch_size=16, learning_rate=0.1, flips=True)
    stolen = extract_labels(LeftOrRight(), student, images, config=config)
    assert accuracy(stolen, images, compute_logits(LeftOrRight(), images).argmax(1)) > 0.95


def test_one_step_is_the_plain_pytorch_step():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    expected = copy.deepcopy(model)
    config = TrainingConfig(epochs=1, batch_size=96, learning_rate=0.5, weight_decay=0.01, flips=False)
    fit(model, IMAGES, LABELS, LABELS, F.cross_entropy, config, seed=0)
    rate = 0.5 * 0.5 * (1 + math.cos(math.pi * 0.2 / 0.7))  # half of the way is 0.2 past the peak at 0.3
    F.cross_entropy(expected(IMAGES), LABELS).backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            step = parameter.grad + 0.01 * parameter
            parameter -= rate * (step + 0.9 * step)  # Nesterov: the gradient and the momentum, begun by it
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: train(make(), IMAGES[:0], LABELS[:0]), ValueError, "images must have at least one row"),
        (lambda: train(make(), IMAGES.byte(), LABELS), TypeError, "images must be floating point .*uint8"),
        (lambda: train(make(), IMAGES.numpy(), LABELS), TypeError, "images must be a torch.Tensor, got ndarray"),
        (lambda: train(make(), IMAGES, LABELS[:-1]), ValueError, r"shape \(96,\), .* got \(95,\)"),
        (lambda: train(make(), IMAGES, LABELS.float()), TypeError, "labels must be integers, got torch.float32"),
        (lambda: train(make(), IMAGES, LABELS.tolist()), TypeError, "labels must be a torch.Tensor, got list"),
        (lambda: train(make(), IMAGES, LABELS + 1), ValueError, "labels must lie in 0…2, .* got 1…3"),
        (lambda: finetune_all(make(), IMAGES, LABELS - 1), ValueError, "labels must lie in 0…2, .* got -1…1"),
        (lambda: finetune_last(make(), IMAGES, LABELS, layer="x"), ModelError, "layer must name .* got 'x'"),
        (lambda: finetune_last(make(), IMAGES, LABELS, layer="2"), ModelError, "parameters that require"),
        (lambda: extract_labels(make(), make(0, 4), IMAGES), ModelError, "student must have 3 outputs .* got 4"),
        (lambda: extract_labels(make(), make(), IMAGES[:0]), ValueError, "images must have at least one row"),
        (
            lambda: extract_probabilities(make(), make(), IMAGES, temperature=0.0),
            ValueError,
            "temperature must be positive and finite, got 0.0",
        ),
        (
            lambda: extract_labels(Constant([1.0, float("nan")]), make(0, 2), IMAGES),
            ModelError,
            "finite logits, got NaN or Inf in row 0",
        ),
        (
            lambda: train(nn.Conv2d(1, 2, 1), IMAGES, LABELS),
            ModelError,
            r"model must return a \(1, classes\) tensor of logits, got \(1, 2, 6, 6\)",
        ),
        (
            lambda: train(make(), IMAGES, LABELS, config=TrainingConfig(learning_rate=1e30)),
            ModelError,
            "training must keep the loss finite, got nan",
        ),
        (lambda: TrainingConfig(epochs=0), ValueError, "epochs must be an integer of at least 1, got 0"),
        (lambda: TrainingConfig(batch_size=1.5), ValueError, "batch_size must be an integer of at least 1, got 1.5"),
        (lambda: TrainingConfig(learning_rate=0.0), ValueError, "learning_rate must be positive, got 0.0"),
        (lambda: TrainingConfig(weight_decay=-1.0), ValueError, "weight_decay must not be negative, got -1.0"),
        (lambda: TrainingConfig(optimizer="adam"), ValueError, "optimizer must be 'sgd' or 'adamw', got 'adam'"),
    ],
)
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()
