"""The list of models, the architectures, the training configurations."""

from collections import Counter

import pytest
import torch

from sac_fast.attacks.registry import ATTACKS
from sac_fast.labelled_zoo.folder import ZooMember
from sac_fast.models import load_model
from sac_fast.testbed import plan

PLANNED_KINDS = {"same-data-same-architecture", "same-data", "other-data"}


@pytest.mark.parametrize("size", [plan.FULL, plan.QUICK], ids=["full", "quick"])
def test_every_attack_and_every_kind_of_independent_is_there(size):
    members = plan.plan(size, 3)
    assert [m.name for m in members if m.role == "source"] == [members[0].name] == ["source"]
    assert {m.origin for m in members if m.role == "stolen"} == set(ATTACKS)
    assert {m.origin for m in members if m.role == "independent"} == PLANNED_KINDS
    for m in members:  # names, roles and origins that a zoo takes
        ZooMember(m.name, m.role, m.origin, plan.model_spec(m.architecture))


def test_full_and_quick_have_the_promised_numbers():
    full, quick = plan.plan(plan.FULL), plan.plan(plan.QUICK)
    assert len(full) >= 120
    assert 30 <= len(quick) <= 45
    kinds = Counter(m.origin for m in full if m.role == "independent")
    assert min(kinds.values()) >= 15
    assert {m.architecture for m in full} == set(plan.ARCHITECTURES)
    assert len(plan.ARCHITECTURES) == 5


def test_kinds_mean_what_they_say():
    members = plan.plan(plan.FULL)
    for m in members:
        if m.origin == "same-data-same-architecture" or (
            m.origin in ATTACKS and ATTACKS[m.origin].starts_from == "source"
        ):
            assert m.architecture == members[0].architecture
        if m.origin == "same-data":
            assert m.architecture != members[0].architecture


def test_torch_takes_the_seeds_of_the_largest_seed():
    for planned in plan.plan(plan.FULL, 2**48 - 1):
        torch.Generator().manual_seed(planned.seed)


def test_names_and_seeds_differ_and_those_of_a_smaller_plan_stay():
    full = {m.name: m for m in plan.plan(plan.FULL, 2)}
    other = plan.plan(plan.FULL, 3)
    assert len(full) == len({m.seed for m in full.values()}) == len(other)
    assert not {m.seed for m in full.values()} & {m.seed for m in other}
    for m in plan.plan(plan.QUICK, 2):
        if m.name in full:
            assert full[m.name] == m


def test_groups_are_mixed_in_the_order_of_training():
    """After the first fifth there is something of every kind and of every attack."""
    members = plan.plan(plan.FULL)
    early = {m.origin for m in members[: len(members) // 5]}
    assert early == {"source", *PLANNED_KINDS, *ATTACKS}


@pytest.mark.parametrize("name", plan.ARCHITECTURES)
def test_architectures_answer_and_learn(name):
    model = load_model(plan.model_spec(name), kwargs={"classes": 7, **plan.ARCHITECTURES[name]})
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    answers = model(images)
    assert answers.shape == (4, 7)
    answers.square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_architectures_keep_their_families_marks():
    def kinds(name):
        model = load_model(plan.model_spec(name), kwargs={"classes": 3, **plan.ARCHITECTURES[name]})
        return {type(m).__name__ for m in model.modules()}, list(model.modules())

    assert "MaxPool2d" in kinds("vgg")[0]
    assert "Residual" in kinds("resnet")[0]
    assert "_Dense" in kinds("densenet")[0]
    assert any(getattr(m, "groups", 1) > 1 for m in kinds("mobilenet")[1])
    mixer, modules = kinds("mixer")
    assert "BatchNorm2d" not in mixer
    assert sum(isinstance(m, torch.nn.Conv2d) for m in modules) == 1


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_171_000), ("mobilenet_v2", 2_236_682)])
def test_networks_of_the_literature_have_their_size(name, parameters):
    # He et al. and Sandler et al. with a 3×3 stem and 10 classes: torchvision's counts but for the stems and shortcuts
    model = load_model(plan.model_spec(name)).eval()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.003)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_larger_and_smaller_images_go_through_the_convolutional_ones():
    for name in ("vgg", "resnet", "densenet", "mobilenet"):
        model = load_model(plan.model_spec(name), kwargs={"classes": 3}).eval()
        for size in (16, 64):
            assert model(torch.zeros(1, 3, size, size)).shape == (1, 3)


@pytest.mark.parametrize(("images", "rows", "expected"), [(100, 10, 10), (100, 1000, 1), (105, 10, 10), (19, 10, 2)])
def test_epochs_show_so_many_images(images, rows, expected):
    assert plan.epochs(images, rows) == expected
    assert plan.training_config("vgg", images, rows).epochs == expected
    assert plan.tuning_config("resnet", images, rows).epochs == expected


def test_tuning_is_at_a_fifth_of_the_learning_rate():
    for name in plan.ARCHITECTURES:
        first, later = plan.training_config(name, 100, 10), plan.tuning_config(name, 100, 10)
        assert later.learning_rate == pytest.approx(first.learning_rate / 5)
        assert later.optimizer == first.optimizer == ("adamw" if name == "mixer" else "sgd")
