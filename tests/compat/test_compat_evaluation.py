"""The scripts' main loop without its matrices."""

import functools
import gc
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import script_formulas as plain
from support.script_values import random
from torch import nn

from sac_fast import ops
from sac_fast.compat import correlation_differences, evaluation, output_differences, sac, sac_jc


def models(count=4, k=7):
    made = [nn.Sequential(nn.Flatten(), nn.Linear(12, k)) for _ in range(count)]
    for seed, model in enumerate(made):
        for parameter in model.parameters():
            parameter.data = random(*parameter.shape, seed=seed)
    return made


IMAGES = random(50, 3, 2, 2, seed=9)
LOADER = list(zip(IMAGES.split(16), torch.zeros(50).split(16), strict=True))
EXPECTED = plain.differences([plain.answers(model, LOADER) for model in models()])
CLOSE = {"rtol": 0, "atol": 1e-6}  # what the drop-in promises


def test_values_of_both_scripts():
    for function in (correlation_differences, sac_jc.correlation_differences):
        torch.testing.assert_close(function(models(), LOADER), EXPECTED, **CLOSE)
    torch.testing.assert_close(correlation_differences(models(), LOADER, halved=True), EXPECTED / 2, **CLOSE)
    torch.testing.assert_close(sac.correlation_differences(models(), LOADER), EXPECTED / 2, **CLOSE)


def test_literal():
    # C of the source is all 0 (equal rows), of the suspect 1 off the diagonal (right angle): (0 + 1 + 1 + 0) / 4
    source, suspect = torch.tensor([[1.0, 0], [2, 0]]), torch.tensor([[0.0, 3], [1, 0]])
    assert output_differences([source, suspect, source]).tolist() == [0.5, 0.0]
    assert output_differences([source, suspect], halved=True).tolist() == [0.25]


def test_models_may_come_in_many_ways(tmp_path):
    made = models()
    for index, model in enumerate(made):
        torch.save(model.state_dict(), tmp_path / f"{index}.pth")

    def load(path):
        model = models(1)[0]
        model.load_state_dict(torch.load(path))
        return model

    paths = [tmp_path / f"{index}.pth" for index in range(len(made))]
    for given_models, extra in [
        (iter(made), {}),
        ((model for model in made), {}),
        ([functools.partial(load, path) for path in paths], {}),
        (paths, {"load": load}),
        (range(len(made)), {"load": made.__getitem__}),
    ]:
        torch.testing.assert_close(correlation_differences(given_models, LOADER, **extra), EXPECTED, **CLOSE)


@pytest.fixture
def few_objects():
    """Let gc.collect() look at the objects of the test alone; those of the whole session take 0.3 s a call."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_one_model_at_a_time(few_objects):
    alive, most = weakref.WeakSet(), 0

    def load(seed):
        nonlocal most
        gc.collect()
        model = models(seed + 1)[-1]
        alive.add(model)
        most = max(most, len(alive))
        return model

    correlation_differences(range(4), LOADER, load=load)
    assert most == 1
    alive.clear()
    most = 0
    correlation_differences((load(seed) for seed in range(4)), LOADER)
    assert most == 1


def test_each_model_runs_once_on_each_batch():
    made, calls = models(), []
    for model in made:
        model.register_forward_hook(lambda module, args, out: calls.append((module, len(args[0]))))
    correlation_differences(made, LOADER)
    assert calls == [(model, size) for model in made for size in (16, 16, 16, 2)]


def test_the_source_alone_and_nothing():
    assert correlation_differences(models(1), LOADER).shape == (0,)
    with pytest.raises(ValueError, match="models must hold at least the source, got none"):
        correlation_differences([], LOADER)


@pytest.mark.parametrize(
    ("entries", "load", "message"),
    [
        ([3], None, r"models\[0\] must be a module, or load= given, got int"),
        ([lambda: 3], None, r"models\[0\] must give a module, got int"),
        (["a"], str, r"models\[0\] must give a module, got str"),
    ],
)
def test_what_is_no_model(entries, load, message):
    with pytest.raises(TypeError, match=message):
        correlation_differences(entries, LOADER, load=load)


@settings(deadline=None)
@given(st.integers(2, 60), st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(0, 99))
def test_random_answers(n, widths, seed):
    outputs = [random(n, k, seed=seed + i) for i, k in enumerate(widths)]
    torch.testing.assert_close(output_differences(outputs), plain.differences(outputs), **CLOSE)
    halves = plain.differences(outputs, plain.correlation_sac)
    torch.testing.assert_close(output_differences(outputs, halved=True), halves, **CLOSE)


def degenerate_pairs():
    a, b = random(9, 5), random(9, 5, seed=1)
    zero, duplicated, nan, tiny, mixed, huge = (b.clone() for _ in range(6))
    zero[2:5] = 0
    duplicated[3] = duplicated[4]
    nan[1, 1] = math.nan
    tiny[4] *= 1e-20
    mixed[4], mixed[5] = 0, mixed[5] * 1e-20
    huge[4] *= 1e30
    return {
        "zero rows": (a, zero),
        "zero rows in the source": (zero, a),
        "all zero": (a, torch.zeros_like(b)),
        "duplicated rows": (a, duplicated),
        "nan": (a, nan),
        "nan in the source": (nan, a),
        "tiny norm": (a, tiny),
        "zero and tiny norm": (a, mixed),
        "norm that overflows": (a, huge),
        "one row": (a[:1], b[:1]),
        "one column": (a[:, :1], b[:, :1]),
        "no column": (a[:, :0], b[:, :0]),
        "strided": (random(18, 10)[::2, ::2], random(5, 9).T),
        "identical": (a, a.clone()),
    }


# float16, bfloat16: the matrices of the formula are rounded to 11 and 8 bits, those of the op are not.
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-6, torch.float64: 1e-6}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", degenerate_pairs())
def test_degenerate_answers(case, dtype):
    pair = [x.to(dtype) for x in degenerate_pairs()[case]]
    got = output_differences(pair)
    torch.testing.assert_close(got, plain.differences(pair), rtol=0, atol=TOLERANCE[dtype], equal_nan=True)
    assert got.dtype == torch.float32


def test_half_precision_does_not_overflow():
    pair = [random(600, 5, dtype=torch.float16, seed=seed) for seed in range(2)]
    assert plain.differences(pair).item() == math.inf  # the sum of the scripts passes 65,504
    expected = plain.differences([x.double() for x in pair])
    torch.testing.assert_close(output_differences(pair), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((4,), (4,)), ((2, 3, 4), (2, 3, 4))])
def test_shapes_that_do_not_fit(shapes):
    outputs = [random(*shape) for shape in shapes]
    with pytest.raises((RuntimeError, IndexError)) as expected:
        plain.differences(outputs)
    with pytest.raises(expected.type):
        output_differences(outputs)


def test_no_matrix_is_formed(monkeypatch):
    seen = []
    fused = ops.correlation_distances
    monkeypatch.setattr(ops, "correlation_distances", lambda a, b: seen.append(len(b)) or fused(a, b))
    monkeypatch.setattr(torch, "mm", None)
    zero = random(40, 7)
    zero[3] = 0
    output_differences([random(40, 7), random(40, 7, seed=1), zero])
    assert seen == [2]


def test_order_of_groups_and_of_exceptions(monkeypatch):
    outputs = [random(40, 7, seed=seed) for seed in range(9)]
    outputs[3][5] = math.nan
    outputs[4][5] *= 1e-20
    expected = plain.differences(outputs)
    for size in (1, 40 * 7 * 4 * 3, 1 << 30):
        monkeypatch.setattr(evaluation, "_GROUP_BYTES", size)
        torch.testing.assert_close(output_differences(outputs), expected, **CLOSE, equal_nan=True)
