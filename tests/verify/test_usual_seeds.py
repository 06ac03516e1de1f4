import pytest
import torch
from torch import nn

from sac_fast.verify.usual_seeds import USUAL_SEEDS, match_usual_seeds


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5))


def trained(seed, steps=60):
    torch.manual_seed(seed)
    model = build()
    images, classes = torch.randn(64, 3, 8, 8), torch.randint(0, 5, (64,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()
    return model


def test_the_seed_of_a_trained_model_is_found():
    model = trained(42)
    (match,) = match_usual_seeds(model, build)
    assert match.seed == 42
    assert match.p_value < 1e-6
    assert set(match.cosines) == {"0.weight", "3.weight"}  # the norm's weights start constant
    assert "usual seed 42" in str(match)
    assert [m.seed for m in match_usual_seeds(model.state_dict(), build)] == [42]


def test_other_seeds_are_not():
    for seed in (987654, 555001, 77177):
        assert match_usual_seeds(trained(seed, steps=5), build) == []


def test_the_generator_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    match_usual_seeds(build(), build, seeds=(0, 1))
    torch.manual_seed(5)
    model = build()
    after = torch.get_rng_state()
    match_usual_seeds(model, build, seeds=(0, 1))
    assert torch.equal(torch.get_rng_state(), after)
    torch.manual_seed(5)
    assert torch.rand(1) == expected


def test_an_architecture_by_its_name():
    torch.manual_seed(1337)
    model = nn.Linear(30, 10)
    sizes = {"in_features": 30, "out_features": 10}
    assert [m.seed for m in match_usual_seeds(model, "torch.nn:Linear", arguments=sizes)] == [1337]
    with pytest.raises(ValueError, match=r"got no weight \(10, 30\)"):
        match_usual_seeds(nn.Linear(20, 10), "torch.nn:Linear", arguments=sizes)


def test_usual_seeds_are_distinct():
    assert len(set(USUAL_SEEDS)) == len(USUAL_SEEDS)
    assert {0, 1, 42, 1337} <= set(USUAL_SEEDS)
