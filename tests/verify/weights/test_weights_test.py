"""The test of two files' weights, on arrays whose relation is known."""

import json
import math

import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.errors import ModelRefusedError

SIZES = [(24, 3, 3, 3), (24, 24, 3, 3), (48, 24, 3, 3), (64, 48 * 4), (32, 64), (10, 32)]


def network(seed, sizes=SIZES):
    """A plain network's state dict: convolutions, a flatten, dense layers."""
    rng = np.random.default_rng(seed)
    state = {}
    for number, size in enumerate(sizes):
        state[f"{number}.weight"] = rng.normal(size=size).astype(np.float32)
        state[f"{number}.bias"] = rng.normal(size=size[0]).astype(np.float32)
    return state


def changed(state, change):
    return {name: change(array) if array.ndim > 1 else array for name, array in state.items()}


def noisy(share):
    rng = np.random.default_rng(99)
    return lambda array: array + share * array.std() * rng.normal(size=array.shape).astype(np.float32)


def pruned(array):
    return np.where(np.abs(array) >= np.quantile(np.abs(array), 0.9), array, 0)


def quantised(levels):
    def change(array):
        step = np.abs(array).reshape(len(array), -1).max(1).reshape(-1, *[1] * (array.ndim - 1)) / levels
        return (np.round(array / step) * step).astype(np.float32)

    return change


def folded(array):
    """A batch norm's gains of mixed sign, folded into the rows."""
    gains = np.random.default_rng(5).normal(size=len(array)).astype(np.float32)
    return array * gains.reshape(-1, *[1] * (array.ndim - 1))


CHANGES = {
    "noise": noisy(0.3),
    "pruned": pruned,
    "8 bits": quantised(127),
    "4 bits": quantised(7),
    "float16": lambda array: array.astype(np.float16),
    "batch norm folded": folded,
    "kernels exchanged": lambda array: np.swapaxes(array, 2, 3) if array.ndim == 4 else array,
    "kernels turned": lambda array: array[:, :, ::-1, ::-1] if array.ndim == 4 else array,
    "dense transposed": lambda array: array.T if array.ndim == 2 else array,
    "BGR": lambda array: array[:, ::-1] if array.shape[1] == 3 else array,
    "HWC flatten": lambda array: (
        array.reshape(64, 48, 4).swapaxes(1, 2).reshape(64, -1) if array.shape == (64, 192) else array
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_related(change):
    ours = network(0)
    result = sac_fast.weights_test(ours, changed(ours, CHANGES[change]))
    assert result.verdict == "weights related"
    assert result.p_value < 1e-6
    assert len(result.compared) == 5
    assert all(layer.log10_p < -5 for layer in result.compared)


def test_independent_networks_are_not_distinguished():
    result = sac_fast.weights_test(network(0), network(1))
    assert (result.verdict, result.p_value, len(result.compared)) == ("not distinguished", 1.0, 5)
    assert result.attainable_log10_p < -20


def test_the_layers_say_what_was_found():
    ours = network(0)
    result = sac_fast.weights_test(ours, changed(ours, noisy(0.1)), alpha=0.01)
    first, second = result.compared[:2]
    # 24! by kernels that lie in four ways, with colours in two orders
    assert (first.name, first.other, first.units, first.matches, first.candidates) == (
        "0.weight",
        "0.weight",
        24,
        24,
        8,
    )
    assert first.log10_p == pytest.approx(math.log10(8 / math.factorial(24)))
    # rows and columns may be the same units: 6 of 24 are kept as columns
    assert (second.units, second.matches, second.candidates) == (18, 18, 4)
    assert 0.98 < first.cosine < 1
    output = next(layer for layer in result.layers if layer.name == "5.weight")
    assert output.left_out.startswith("output layer")
    bias = next(layer for layer in result.layers if layer.name == "0.bias")
    assert (bias.left_out, bias.p_value) == ("one number a unit", None)
    compared = sum(math.prod(size) for size in SIZES[:-1])
    total = sum(math.prod(size) + size[0] for size in SIZES)
    assert result.coverage == {"a": compared / total, "b": compared / total}
    shown = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert shown["p_value"] == result.p_value
    assert shown["layers"][0]["matches"] == 24
    assert (result.ground, result.alpha) == ("weights", 0.01)


def test_the_same_values_are_identical_whatever_holds_them(tmp_path):
    ours = {name: torch.from_numpy(array) for name, array in network(0).items()}
    sac_fast.save_weights(tmp_path / "a.safetensors", ours)
    torch.save(ours, tmp_path / "b.pt")
    result = sac_fast.weights_test(tmp_path / "a.safetensors", str(tmp_path / "b.pt"))
    assert (result.verdict, result.facts["same_weights"]) == ("identical", True)
    assert result.facts["equal"] == {"arrays": 12, "values": 1.0}
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    assert sac_fast.weights_test(module, module.state_dict()).verdict == "identical"


def test_layers_in_another_order_and_under_other_names_are_found():
    sizes = [(16, 27), *[(16, 16)] * 4, (10, 16)]
    ours = network(0, sizes)
    order = [0, 3, 1, 4, 2, 5]
    theirs = {f"onnx::MatMul_{place}": ours[f"{number}.weight"] for place, number in enumerate(order)}
    result = sac_fast.weights_test(ours, theirs)
    found = {layer.name: layer.other for layer in result.compared}
    assert found == {f"{number}.weight": f"onnx::MatMul_{place}" for place, number in enumerate(order) if number != 5}
    # four partners, stored or transposed
    assert {layer.candidates for layer in result.compared if layer.name != "0.weight"} == {8}


def test_fewer_than_three_layers_are_inconclusive():
    ours = network(0, [(32, 27), (32, 64), (10, 32)])
    result = sac_fast.weights_test(ours, changed(ours, noisy(0.1)))
    assert (result.verdict, result.p_value, len(result.compared)) == ("inconclusive", 1.0, 2)
    assert "At least 3 comparable layers" in result.reason


def test_too_few_units_for_alpha_are_inconclusive():
    ours = network(0, [(8, 27), (9, 8), (8, 9), (9, 8), (10, 9)])
    result = sac_fast.weights_test(ours, changed(ours, noisy(0.1)), alpha=1e-9)
    assert result.verdict == "inconclusive"
    assert "too few units" in result.reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda array: np.full_like(array, np.nan), "numbers that are not finite"),
        (lambda array: np.full_like(array, np.inf), "numbers that are not finite"),
    ],
)
def test_layers_that_are_not_finite_are_left_out(spoil, reason):
    ours = network(0)
    result = sac_fast.weights_test(ours, changed(ours, spoil))
    assert result.verdict == "inconclusive"
    assert {layer.left_out for layer in result.layers if layer.name in ("0.weight", "3.weight")} == {reason}


@pytest.mark.parametrize(
    "spoil",
    [
        np.zeros_like,
        np.ones_like,
        lambda array: np.broadcast_to(array[:1], array.shape),
        lambda array: np.full_like(array, 1e38),
        lambda array: np.arange(array.size, dtype=np.float64).reshape(array.shape),
    ],
)
def test_rows_without_content_match_nothing(spoil):
    ours = network(0)
    result = sac_fast.weights_test(ours, changed(ours, spoil))
    assert (result.verdict, result.log10_p) == ("not distinguished", 0)
    assert all(layer.matches <= 2 for layer in result.compared)


def test_two_files_of_constant_rows_are_not_related():
    ones = [changed(network(seed), np.ones_like) for seed in (0, 1)]
    result = sac_fast.weights_test(*ones)
    assert (result.verdict, result.log10_p) == ("not distinguished", 0)


def test_one_stolen_layer_repeated_frames_nobody():
    """A crafted file that holds one layer of the victim, a thousand times."""
    sizes = [(64, 27), *[(64, 64)] * 7, (10, 64)]
    victim = network(0, sizes)
    crafted = {"x": victim["0.weight"], **{f"{i}.weight": victim["3.weight"] for i in range(1000)}}
    result = sac_fast.weights_test(victim, crafted)
    assert result.verdict == "not distinguished"
    assert sum(layer.matches == layer.units for layer in result.compared) == 2


def test_too_many_arrays_are_refused_before_any_is_read():
    class Unread(dict):
        def items(self):
            raise AssertionError("no array may be read")

    many = Unread({f"{i}": np.zeros(1) for i in range(50_001)})
    with pytest.raises(ModelRefusedError, match="at most 50,000 tensors"):
        sac_fast.weights_test(many, network(0))


@pytest.mark.parametrize(
    ("a", "error", "message"),
    [
        (5, TypeError, "a must be a path, a mapping or a module"),
        ({"x": [1, 2]}, TypeError, "a must hold arrays or tensors, got list at 'x'"),
        ({3: np.zeros(2)}, TypeError, "a must have names that are text, got 3"),
        ({"x": np.array(["y"])}, ValueError, "a must hold numbers"),
        ({"x": torch.zeros(2, device="meta")}, ValueError, "a must hold dense tensors with values"),
    ],
)
def test_wrong_arguments_are_named(a, error, message):
    with pytest.raises(error, match=message):
        sac_fast.weights_test(a, network(0))


def test_a_rate_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
        sac_fast.weights_test(network(0), network(0), alpha=1.0)


def test_of_large_layers_the_first_units_are_counted():
    ours = network(0, [(700, 9), (600, 700), (600, 600), (10, 600)])
    result = sac_fast.weights_test(ours, changed(ours, noisy(0.01)))
    assert [layer.units for layer in result.compared] == [512, 512, 450]
    assert all(layer.matches > 0.9 * layer.units for layer in result.compared)


def recurrent(seed):
    """A state dict of two LSTM layers with torch's names."""
    rng = np.random.default_rng(seed)
    shapes = {f"rnn.weight_{side}_l{layer}": (96, 24) for layer in range(2) for side in ("ih", "hh")}
    shapes |= {"rnn.bias_ih_l0": (96,), "head.weight": (10, 24), "head.bias": (10,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_renamed_copy_is_identical_and_a_changed_value_is_seen():
    ours = recurrent(0)
    renamed = {f"onnx::{number}": value for number, value in enumerate(reversed(ours.values()))}
    assert sac_fast.weights_test(ours, renamed).verdict == "identical"
    renamed["onnx::3"] = renamed["onnx::3"] + 1
    found = sac_fast.weights_test(ours, renamed)
    assert found.verdict == "inconclusive"  # without names, recurrent layers cannot be told from others
    assert found.facts["equal"]["arrays"] == 6
    assert sac_fast.weights_test(ours, renamed | {"more": renamed["onnx::0"]}).verdict != "identical"


def test_recurrent_layers_stored_with_inputs_first_are_compared():
    ours, other = recurrent(0), recurrent(1)
    wide = {name: value.T if "weight_" in name else value for name, value in ours.items()}
    assert sac_fast.weights_test(ours, wide).verdict == "identical"
    rng = np.random.default_rng(2)
    wide = {name: value + 0.05 * rng.normal(size=value.shape).astype(np.float32) for name, value in wide.items()}
    found = sac_fast.weights_test(ours, wide)
    assert (found.verdict, len(found.compared)) == ("weights related", 4)
    assert found.p_value < 1e-12
    assert sac_fast.weights_test(other, wide).verdict == "not distinguished"
