"""sac_fast.compat.sac_jc and .sac against the scripts' formulas in plain PyTorch (support/script_formulas.py)."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import script_formulas as plain
from support.script_values import assert_same, outcome, random

from sac_fast.compat import sac, sac_jc

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

MATRIX_FUNCTIONS = [
    (lambda x: sac_jc.correlation(x, x), lambda x: plain.correlation_sac_jc(x, x)),
    (lambda x: sac_jc.correlation(x, x.flip(0)), lambda x: plain.correlation_sac_jc(x, x.flip(0))),
    (lambda x: sac.correlation(x, x), lambda x: plain.correlation_sac(x, x)),
    (lambda x: sac.correlation(x, 2 * x), lambda x: plain.correlation_sac(x, 2 * x)),
    (sac_jc.pairwise_euclid_distance, plain.pairwise_euclid_distance),
    (sac_jc.correlation_dist, plain.correlation_dist),
    (sac.output_to_label, plain.output_to_label),
    (lambda x: sac_jc.similarity(x, x.flip(0)), lambda x: plain.similarity(x, x.flip(0))),
]
NAMES = [
    "sac_jc.correlation",
    "sac_jc.correlation-two",
    "sac.correlation",
    "sac.correlation-two",
    "pairwise_euclid_distance",
    "correlation_dist",
    "output_to_label",
    "similarity",
]
every_function = pytest.mark.parametrize(("ours", "theirs"), MATRIX_FUNCTIONS, ids=NAMES)


def degenerate_inputs():
    x = random(9, 5)
    zero_rows, duplicated, nan, infinite = x.clone(), x.clone(), x.clone(), x.clone()
    zero_rows[2:4] = 0
    duplicated[1] = duplicated[7] = duplicated[4]
    nan[3, 2], infinite[5, 0] = math.nan, math.inf
    return {
        "random": x,
        "large": random(130, 10),
        "one row": x[:1],
        "two rows": x[:2],
        "no row": x[:0],
        "one column": x[:, :1],
        "no column": x[:, :0],
        "zero rows": zero_rows,
        "all zero": torch.zeros(4, 3),
        "duplicated rows": duplicated,
        "all equal": x[:1].expand(6, 5),
        "nan": nan,
        "infinite": infinite,
        "tiny": x * 1e-20,
        "huge": x * 1e18,
        "transposed": random(5, 9).T,
        "strided": random(18, 10)[::2, ::2],
        "gradient": x.clone().requires_grad_(),
        "vector": x[0],
        "scalar": x[0, 0],
        "three dimensions": random(3, 4, 5),
        "three equal dimensions": random(4, 4, 1),
    }


# A Latin square: every function with every input, and both with every dtype. The whole product is slow.
PAIRWISE = [
    pytest.param(*functions, case, DTYPES[(i + j) % len(DTYPES)], id=f"{name}-{case}-{DTYPES[(i + j) % len(DTYPES)]}")
    for i, (name, functions) in enumerate(zip(NAMES, MATRIX_FUNCTIONS, strict=True))
    for j, case in enumerate(degenerate_inputs())
]


def test_every_pair_is_covered():
    ids = [tuple(parameter.id.rsplit("-", 2)) for parameter in PAIRWISE]
    names, cases, dtypes = set(NAMES), set(degenerate_inputs()), {str(dtype) for dtype in DTYPES}
    assert {(name, case) for name, case, _ in ids} == set(itertools.product(names, cases))
    assert {(name, dtype) for name, _, dtype in ids} == set(itertools.product(names, dtypes))
    assert {(case, dtype) for _, case, dtype in ids} == set(itertools.product(cases, dtypes))


@pytest.mark.parametrize(("ours", "theirs", "case", "dtype"), PAIRWISE)
def test_same_as_plain_pytorch(ours, theirs, case, dtype):
    x = degenerate_inputs()[case].to(dtype)
    assert_same(outcome(ours, x), outcome(theirs, x))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_function
def test_same_as_plain_pytorch_for_the_whole_product(ours, theirs, dtype):
    for x in degenerate_inputs().values():
        assert_same(outcome(ours, x.to(dtype)), outcome(theirs, x.to(dtype)))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_function
def test_same_as_plain_pytorch_on_the_gpu(ours, theirs, dtype):
    for x in degenerate_inputs().values():
        x = x.to("cuda", dtype)
        assert_same(outcome(ours, x), outcome(theirs, x))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
@every_function
def test_other_dtypes_give_what_pytorch_gives(ours, theirs, dtype):
    x = (5 * random(4, 3)).to(dtype)
    expected, got = outcome(theirs, x), outcome(ours, x)
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    else:
        assert got == expected


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 9), st.sampled_from(DTYPES))
def test_correlation_of_two_models_answers(rows_m, rows_n, k, seed, dtype):
    m, n = random(rows_m, k, dtype=dtype, seed=seed), random(rows_n, k, dtype=dtype, seed=seed + 1)
    assert_same(sac_jc.correlation(m, n), plain.correlation_sac_jc(m, n))
    assert_same(sac.correlation(m, n), plain.correlation_sac(m, n))
    assert_same(outcome(sac.similarity, m, n), outcome(plain.similarity, m, n))


def test_literals():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])
    root = 1 - math.sqrt(0.5)
    expected = torch.tensor([[0, 1, root, 1], [1, 0, root, 1], [root, root, 0, 1], [1, 1, 1, 1]])
    torch.testing.assert_close(sac_jc.correlation(x, x), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(sac.correlation(x, x), expected / 2, rtol=0, atol=1e-6)
    squared = torch.tensor([[0.0, 5, 13, 1], [5, 0, 10, 4], [13, 10, 0, 18], [1, 4, 18, 0]])
    torch.testing.assert_close(sac_jc.pairwise_euclid_distance(x), squared, rtol=0, atol=1e-5)
    # |x̂_0 − x̂_1|² = 2 for a right angle
    assert sac_jc.correlation_dist(x)[0, 1].item() == pytest.approx(math.exp(-2), abs=1e-6)
    low = 1 / (math.exp(0.99) + 1)
    torch.testing.assert_close(
        sac.output_to_label(x), torch.tensor([[1 - low, low], [low, 1 - low], [1 - low, low], [1 - low, low]])
    )
    # right angles: 1 each, and 1 − √½ twice over
    assert sac_jc.similarity(x, x[[1, 0, 0, 3]]).item() == pytest.approx(1 + 1 + root + 1, abs=1e-6)


def test_the_inputs_are_left_alone():
    x = random(20, 5)
    before = x.clone()
    for ours, _ in MATRIX_FUNCTIONS:
        ours(x)
    assert torch.equal(x, before)


def test_results_are_ordinary_tensors():
    x = random(5, 3).requires_grad_()
    matrix = sac_jc.correlation(x, x)
    assert not matrix.is_inference()
    matrix[0, 0] = 7  # the scripts may change what they got
    matrix.requires_grad_()
    (matrix * matrix).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize(
    ("m", "n"),
    [
        (random(3, 4), random(3, 5)),
        (random(3, 4), random(3, 4, dtype=torch.float64)),
        (random(4), random(3, 4)),
        (random(3, 4), random(4)),
        (random(2, 3, 4), random(2, 4)),
        (random(3, 4), random(2, 4)),
        (random(2, 4), random(3, 4)),
        (random(0, 4), random(3, 4)),
    ],
    ids=["k", "dtype", "vector m", "vector n", "3-d", "fewer rows", "more rows", "no row"],
)
def test_arguments_that_do_not_fit(m, n):
    assert_same(outcome(sac_jc.correlation, m, n), outcome(plain.correlation_sac_jc, m, n))
    assert_same(outcome(sac_jc.similarity, m, n), outcome(plain.similarity, m, n))


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 3, 4, 5), (3, 1), (1, 5)])
def test_labels_of_other_shapes(shape):
    assert_same(sac.output_to_label(random(*shape)), plain.output_to_label(random(*shape)))


# Sums of order 3,000 in half precision: only the same order of additions gives the same value.
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_long_sums_are_rounded_as_in_the_loop(dtype):
    a, b = random(3000, 7, dtype=dtype), random(3000, 7, dtype=dtype, seed=1)
    assert_same(sac_jc.similarity(a, b), plain.similarity(a, b))


def test_star_import_gives_the_scripts_names():
    shared = {"correlation", "pairwise_euclid_distance", "correlation_dist", "cal_cor", "cal_correct", "feature"}
    shared |= {"similarity", "calculate_auc", "FeatureHook", "correlation_differences"}
    assert set(sac_jc.__all__) == shared
    assert set(sac.__all__) == shared | {"cal_cor_onehot", "output_to_label"}
