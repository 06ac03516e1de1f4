"""What stands beside the p-value: reordered units, a common ancestor, a shared start."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import sac_fast

SIZES = [(24, 27), (32, 24), (40, 32), (10, 40)]


def network(seed):
    rng = np.random.default_rng(seed)
    return {f"{i}.weight": rng.normal(size=size).astype(np.float32) for i, size in enumerate(SIZES)}


def reordered(state, seed=0):
    """Hidden units permuted and rescaled, which the network's outputs do not show."""
    rng = np.random.default_rng(seed)
    made = dict(state)
    for number in range(len(SIZES) - 1):
        units = SIZES[number][0]
        order, scale = rng.permutation(units), rng.uniform(0.2, 5, units).astype(np.float32)
        made[f"{number}.weight"] = (made[f"{number}.weight"] * scale[:, None])[order]
        made[f"{number + 1}.weight"] = (made[f"{number + 1}.weight"] / scale)[:, order]
    return made


def moved(state, share, seed):
    rng = np.random.default_rng(seed)
    return {k: v + share * rng.normal(size=v.shape).astype(np.float32) for k, v in state.items()}


def test_reordered_units_are_found_beside_independents():
    ours = network(0)
    independents = [network(seed) for seed in range(10, 29)]
    result = sac_fast.weights_test(ours, moved(reordered(ours), 0.05, 1), independents=independents, alpha=0.05)
    assert result.verdict == "not distinguished"  # the units stand in another order
    assert result.reordered["share"] > 0.95
    assert max(result.reordered["independents"]) < 0.3
    assert (result.reordered["p_value"], result.reordered["attainable_p_value"]) == (0.05, 0.05)
    assert result.reordered["verdict"] == "weights related"
    assert [layer["units"] for layer in result.reordered["layers"]] == [24, 32, 40]
    honest = sac_fast.weights_test(ours, network(99), independents=independents, alpha=0.05)
    assert honest.reordered["verdict"] == "not distinguished"
    few = sac_fast.weights_test(ours, reordered(ours), independents=independents[:5], alpha=0.05)
    assert few.reordered["verdict"] == "inconclusive"


def test_an_ancestor_explains_what_siblings_share():
    base = network(0)
    a, b = moved(base, 0.2, 1), moved(base, 0.2, 2)
    result = sac_fast.weights_test(a, b, ancestor=base)
    assert result.verdict == "weights related"
    assert "the ancestor explains what they share" in result.ancestor["statement"]
    assert abs(result.ancestor["cosine"]) < 0.1
    assert result.ancestor["moved"] == pytest.approx((0.2, 0.2), abs=0.02)
    siblings = [moved(base, 0.2, seed) for seed in range(10, 29)]
    judged = sac_fast.weights_test(a, b, ancestor=base, independents=siblings, alpha=0.05)
    assert "no more of their way" in judged.ancestor["statement"]


def test_an_ancestor_does_not_explain_a_copy():
    base = network(0)
    a = moved(base, 0.2, 1)
    b = moved(a, 0.1, 2)
    result = sac_fast.weights_test(a, b, ancestor=base)
    assert "not decided without independents" in result.ancestor["statement"]
    assert result.ancestor["part_of_a"] == pytest.approx(1, abs=0.1)
    # |a − c|² / (|a − c|² + |b − a|²)
    assert result.ancestor["part_of_b"] == pytest.approx(0.8, abs=0.05)
    siblings = [moved(base, 0.2, seed) for seed in range(10, 19)]
    judged = sac_fast.weights_test(a, b, ancestor=base, independents=siblings, alpha=0.1)
    assert (judged.ancestor["p_value"], judged.ancestor["attainable_p_value"]) == (0.1, 0.1)
    assert "looks derived from a" in judged.ancestor["statement"]
    reverse = sac_fast.weights_test(b, a, ancestor=base, independents=siblings, alpha=0.1)
    assert "looks derived from b" in reverse.ancestor["statement"]
    assert reverse.verdict == "weights related"  # never "derived"


def test_an_ancestor_of_neither_explains_nothing():
    a = network(0)
    result = sac_fast.weights_test(a, moved(a, 0.1, 1), ancestor=network(5))
    assert "it explains nothing" in result.ancestor["statement"]
    assert result.ancestor["log10_p"] == {"a": 0.0, "b": 0.0}


def dense(*sizes):
    layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers)


def build():
    return dense(27, 32, 24, 32, 5)


@pytest.mark.parametrize(("seeds", "both"), [((42, 42), [42]), ((42, 77_777), []), ((77_777, 77_777), [])])
def test_a_usual_seed_that_both_began_with_is_named(seeds, both):
    models = []
    for number, seed in enumerate(seeds):
        torch.manual_seed(seed)
        model = build()
        torch.manual_seed(100_000 + number)
        with torch.no_grad():  # trained apart
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        models.append(model)
    result = sac_fast.weights_test(*models)
    assert result.verdict == ("weights related" if seeds[0] == seeds[1] else "not distinguished")
    if seeds[0] == seeds[1]:
        assert result.same_start["seeds"] == both
        assert any("same initialisation" in warning for warning in result.warnings) == bool(both)
        named = sac_fast.weights_test(models[0].state_dict(), models[1].state_dict(), architecture=build)
        assert named.same_start["seeds"] == both


def test_a_graph_of_a_module_is_asked():
    """Two square layers: the graph shows that their rows are not their columns, so that every unit counts."""
    torch.manual_seed(0)
    model = dense(16, 16, 16, 16, 16)
    other = {name: value + 0.01 for name, value in model.state_dict().items()}
    known = sac_fast.weights_test(model, other)
    guessed = sac_fast.weights_test(model.state_dict(), other)
    assert [layer.units for layer in known.compared] == [16, 16, 16]
    assert [layer.units for layer in guessed.compared] == [8, 8, 8]
