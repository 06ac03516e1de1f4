"""Every attack of the registry, called in the one way: seeded, without side effects, and as it says of itself."""

import copy

import pytest
import torch
from torch import nn

from sac_fast.attacks import ATTACKS, AttackContext, TrainingConfig
from sac_fast.labelled_zoo.folder import ZooMember

CONFIG = TrainingConfig(epochs=1, batch_size=16, learning_rate=0.02)
GENERATOR = torch.Generator().manual_seed(3)
IMAGES = torch.rand(48, 3, 6, 6, generator=GENERATOR)
LABELS = torch.arange(48) % 4
CONTEXT = AttackContext(config=CONFIG, tuning=CONFIG, surrogate=torch.rand(32, 3, 6, 6, generator=GENERATOR))


class Net(nn.Sequential):
    def __init__(self, classes=4, width=6):
        super().__init__(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(5, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, classes),
        )


def student(classes):
    return Net(classes, width=7)


def make_source():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def steal(name, seed=1, **options):
    attack = ATTACKS[name]
    return attack.make(
        make_source(), student if attack.starts_from == "student" else None, IMAGES, LABELS,
        context=CONTEXT, seed=seed, **options,
    )  # fmt: skip


def test_names_are_those_of_the_tables():
    assert list(ATTACKS) == [
        "finetune-all",
        "finetune-last",
        "fine-prune",
        "prune-taylor",
        "prune-magnitude",
        "extract-labels",
        "extract-knockoff",
        "extract-distill",
        "extract-soft-t4",
        "extract-soft-t1",
        "extract-adversarial",
        "extract-jagielski",
        "extract-second-hand",
        "prune-distill",
        "transfer-all",
        "transfer-last",
        "quantize-int8",
        "weight-noise",
        "adaptive-correlation",
        "adaptive-removalnet",
        "adaptive-siblings",
        "adaptive-mixture",
        "n-finetune",
        "prune-only",
        "adversarial-finetune",
    ]
    assert [name for name, attack in ATTACKS.items() if attack.adaptive] == [
        "adaptive-correlation",
        "adaptive-removalnet",
        "adaptive-siblings",
        "adaptive-mixture",
    ]
    for name, attack in ATTACKS.items():
        assert attack.origin == name
        assert ZooMember(f"{name}-1", "stolen", name, "a:b").origin == name
        assert attack.variants[0] == {}
        assert all(set(variant) <= set(attack.defaults) for variant in attack.variants)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_leaves_everything_as_it_was_and_its_seed_decides(name):
    source = make_source().train()
    before, state = copy.deepcopy(source), torch.get_rng_state()
    attack, told = ATTACKS[name], []
    builder = student if attack.starts_from == "student" else None
    stolen = attack.make(
        source, builder, IMAGES, LABELS, context=CONTEXT, seed=1, progress=lambda *done: told.append(done)
    )
    assert same(source, before)
    assert source.training
    assert not any(p.grad is not None for p in source.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in stolen.modules())
    steps = told[-1][1]
    assert told == [(done, steps) for done in range(1, steps + 1)]
    width, outputs = (7 if builder else 6), (2 if name.startswith("transfer-") else 4)
    assert (stolen[2].out_channels, stolen[8].out_features) == (width, outputs)
    assert same(stolen, steal(name))
    assert same(stolen, steal(name, seed=2)) is not attack.random
    assert list(stolen.state_dict()) == list(source.state_dict())


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_without_labels(name):
    attack = ATTACKS[name]
    builder = student if attack.starts_from == "student" else None
    call = lambda: attack.make(make_source(), builder, IMAGES, None, context=CONTEXT)  # noqa: E731
    if attack.needs_labels:
        with pytest.raises(ValueError, match=f"labels must be given for {name}, got None"):
            call()
    elif name.startswith("transfer-"):
        with pytest.raises(ValueError, match=r"labels or context\.transfer must be given"):
            call()
    else:
        call()


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if len(attack.variants) > 1])
def test_variants_give_different_models(name):
    attack = ATTACKS[name]
    models = [
        attack.make(
            make_source(), student, IMAGES, LABELS,
            context=AttackContext(config=CONFIG, tuning=CONFIG, surrogate=CONTEXT.surrogate, options=variant),
        )
        for variant in attack.variants
    ]  # fmt: skip
    for index, model in enumerate(models):
        assert not any(same(model, other) for other in models[:index])


def test_transfer_takes_the_other_task():
    context = AttackContext(config=CONFIG, tuning=CONFIG, transfer=(IMAGES[:20], torch.arange(20) % 7))
    for name in ("transfer-all", "transfer-last"):
        assert ATTACKS[name].make(make_source(), None, IMAGES, None, context=context)[8].out_features == 7


@pytest.mark.parametrize(
    ("name", "builder", "options", "words"),
    [
        ("finetune-all", None, {"ratio": 1}, "options of finetune-all must be among: none, got 'ratio'"),
        ("fine-prune", None, {"x": 1}, "options of fine-prune must be among: ratio, rounds, layer, got 'x'"),
        ("extract-labels", None, {}, "student must be a callable of the number of outputs"),
        ("extract-knockoff", student, {"answers": "some"}, "answers must be 'hard' or 'soft', got 'some'"),
        ("extract-distill", student, {"labels": "other"}, "labels must be 'source' or 'own', got 'other'"),
    ],
)
def test_refusals(name, builder, options, words):
    context = AttackContext(config=CONFIG, tuning=CONFIG, surrogate=CONTEXT.surrogate, options=options)
    with pytest.raises(ValueError, match=words):
        ATTACKS[name].make(make_source(), builder, IMAGES, LABELS, context=context)


def test_knockoff_needs_surrogate_images():
    with pytest.raises(ValueError, match=r"context\.surrogate must hold images for extract-knockoff"):
        ATTACKS["extract-knockoff"].make(make_source(), student, IMAGES, LABELS)
