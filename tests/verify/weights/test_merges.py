"""Merged models and adapters."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import sac_fast
from sac_fast.verify.weights import explain_merge


def model(seed):
    rng = np.random.default_rng(seed)
    shapes = {"0.weight": (16, 27), "2.weight": (32, 16), "4.weight": (32, 32), "4.bias": (32,), "6.weight": (10, 32)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def mixed(shares, models):
    return {name: sum(w * one[name] for w, one in zip(shares, models, strict=True)) for name in models[0]}


def test_shares_of_a_merge_are_found_on_rows_that_had_no_part_in_the_fit():
    a, b, other = model(0), model(1), model(2)
    found = explain_merge(mixed((0.25, 0.75), (a, b)), {"a": a, "b": b})
    assert found.parents == ("a", "b")
    assert found.shares == pytest.approx((0.25, 0.75), abs=1e-6)
    assert found.explained == pytest.approx(1, abs=1e-9)
    assert [layer.name for layer in found.layers] == ["0.weight", "2.weight", "4.weight", "6.weight"]
    assert found.compared == pytest.approx(1 - 32 / (16 * 27 + 32 * 16 + 32 * 32 + 32 + 320))
    one = explain_merge(a, [a, b])
    assert one.shares == pytest.approx((1, 0), abs=1e-6)
    stranger = explain_merge(other, [a, b])
    assert abs(stranger.explained) < 0.05


def test_task_arithmetic_needs_the_base_among_the_parents():
    rng = np.random.default_rng(3)
    base = model(4)
    tuned = [{k: v + 0.05 * rng.normal(size=v.shape).astype(np.float32) for k, v in base.items()} for _ in range(2)]
    child = mixed((-0.2, 0.5, 0.7), (base, *tuned))  # base + 0.5 (a - base) + 0.7 (b - base)
    found = explain_merge(child, [base, *tuned])
    assert found.shares == pytest.approx((-0.2, 0.5, 0.7), abs=1e-3)
    assert found.explained == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("parents", [[model(0)], [model(0)] * 17, [{"x": np.ones((8, 8))}, {"x": np.ones((8, 8))}]])
def test_parents_that_cannot_explain_are_refused(parents):
    with pytest.raises(ValueError, match=r"parents must be 2 to 16 models|must have an array of one name and shape"):
        explain_merge(model(5), parents)


def test_what_is_not_finite_explains_nothing():
    a, b = model(0), model(1)
    child = mixed((0.5, 0.5), (a, b))
    child["2.weight"][0, 0] = np.nan
    found = explain_merge(child, [a, b])
    assert [layer.name for layer in found.layers] == ["0.weight", "4.weight", "6.weight"]


def test_an_adapter_names_its_base_by_shapes():
    base = {f"model.layers.{i}.self_attn.{side}.weight": np.ones((32, 24)) for i in range(2) for side in ("q", "v")}
    adapter = {}
    for name in base:
        target = "base_model.model." + name.removesuffix(".weight")
        adapter[f"{target}.lora_A.weight"] = np.ones((4, 24))
        adapter[f"{target}.lora_B.weight"] = np.ones((32, 4))
    result = sac_fast.weights_test(adapter, base)
    assert result.verdict == "inconclusive"
    assert result.facts["adapter"] == {"targets": 4, "fitting": 4, "ranks": [4]}
    other = {name: np.ones((32, 25)) for name in base}
    assert sac_fast.weights_test(other, adapter).facts["adapter"]["fitting"] == 0
    assert "adapter" not in sac_fast.weights_test(base, other).facts


def test_the_command_shows_shares(run, tmp_path):
    a, b = model(0), model(1)
    for name, state in (("a", a), ("b", b), ("child", mixed((0.25, 0.75), (a, b)))):
        save_file(state, tmp_path / f"{name}.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("child", "a", "b")]
    arguments = ("weights", files[0], "--parent", files[1], "--parent", files[2])
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    assert json.loads(out)["shares"] == pytest.approx([0.25, 0.75], abs=1e-6)
    code, out, _ = run(*arguments)
    assert (code, "0.25 of" in out, "explain 100.0%" in " ".join(out.split())) == (0, True, True)
    assert run("weights", files[0], "--parent", files[1])[0] == 2
    assert run("weights", *files[:2], "--parent", files[1], "--parent", files[2])[0] == 2
