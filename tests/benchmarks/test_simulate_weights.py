"""A small form of the simulation of the weights test."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def simulation():
    import simulate_weights

    return simulate_weights


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ResNet", "LSTM", "Qwen"])
def test_honest_pairs_are_not_accused_and_copies_are_found(simulation, family, tmp_path):
    figures = simulation.simulate([family], 12, 10, tmp_path)[family]
    assert figures["trained"]["pairs"] == 66
    for honest in (figures["trained"], figures["untrained"]):
        assert honest["layers"] >= 4 * honest["pairs"]
        for rate, share in honest["layer_rejections"].items():
            # what a binomial count exceeds once in a thousand times
            bound = float(rate) + 3.1 * (float(rate) / honest["layers"]) ** 0.5
            assert share <= bound, rate
        assert honest["verdict_rejections"]["0.01"] == 0
        assert honest["inconclusive"] == 0
    for name, copies in figures["copies"].items():
        assert copies["found"] == copies["cases"] == 4, name
    if figures["reordered"] is not None:
        assert figures["reordered"]["copies"]["permuted and rescaled"]["smallest"] > 0.9
        assert figures["reordered"]["honest_quantiles"]["1"] < 0.5
    # figures are kept, and taken from the folder
    kept = json.loads((tmp_path / f"{family}.json").read_text())
    assert simulation.simulate([family], 12, 10, tmp_path) == {family: kept}


@pytest.mark.parametrize("family", ["Plain", "ResNet", "ConvNeXt", "ViT", "BERT", "Llama"])
def test_reordering_leaves_each_unit_its_numbers(simulation, family):
    state = simulation.to_numpy(simulation.build(family, 0).state_dict())
    made = simulation.reorder(family, state, np.random.default_rng(0))
    changed = [name for name in state if not np.array_equal(state[name], made[name])]
    assert changed
    assert {name: value.shape for name, value in made.items()} == {name: value.shape for name, value in state.items()}


def test_a_reordered_plain_network_gives_the_same_outputs(simulation):
    import torch

    model = simulation.build("Plain", 0)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = model(images)
    made = simulation.reorder("Plain", simulation.to_numpy(model.state_dict()), np.random.default_rng(0))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in made.items()})
    torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-4)
