"""The statistic of a layer and its bound, against all permutations."""

import itertools
import math

import numpy as np
import pytest

from sac_fast.verify.weights.combine import partial_conjunction
from sac_fast.verify.weights.fixed_points import count_fixed_points, log10_bound, split_units, unit_rows


def exact_tail(matches_of, orders):
    """P(N ≥ k) for each k, over orders of equal probability."""
    counts = [matches_of(order) for order in orders]
    return [sum(count >= k for count in counts) / len(counts) for k in range(max(counts) + 1)]


@pytest.mark.parametrize("kind", ["copy", "independent", "twin rows", "one row repeated"])
def test_the_bound_holds_over_all_orders(kind):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 4))
    b = a.copy() if kind != "independent" else rng.normal(size=(6, 4))
    if kind == "twin rows":
        a[1] = b[1] = a[0]
    if kind == "one row repeated":
        b[:] = b[0]
    ours, theirs = unit_rows(a), unit_rows(b)
    orders = [list(order) for order in itertools.permutations(range(6))]
    tail = exact_tail(lambda order: count_fixed_points(ours, theirs[order]), orders)
    for k, probability in enumerate(tail):
        assert probability <= 10 ** log10_bound(k) + 1e-12
    # a copy has no fixed point more or less than a random permutation: 1/720 have six, none has five
    if kind == "copy":
        assert tail == [1.0, 455 / 720, 191 / 720, 56 / 720, 16 / 720, 1 / 720, 1 / 720]
    if kind == "one row repeated":
        assert tail == [1.0]


def test_the_bound_of_blocks_holds_over_all_orders():
    """Two blocks of four units, each in any order of its own."""
    a = unit_rows(np.random.default_rng(1).normal(size=(8, 5)))
    fours = [list(order) for order in itertools.permutations(range(4))]
    orders = [first + [4 + i for i in second] for first in fours for second in fours]
    tail = exact_tail(lambda order: count_fixed_points(a, a[order], blocks=2), orders)
    assert tail[8] == 1 / 576
    for k, probability in enumerate(tail):
        assert probability <= 10 ** log10_bound(k, blocks=2) + 1e-12
    # 2! · 2^6 / 8!
    assert 10 ** log10_bound(8, blocks=2) == pytest.approx(128 / 40320)


def test_rows_and_columns_that_are_the_same_units_are_split():
    """Permuted on both sides, the split matrix keeps to the bound; the whole one, with its diagonal, matches always."""
    a = np.eye(6) + 0.01 * np.random.default_rng(2).normal(size=(6, 6))
    b = np.eye(6) + 0.01 * np.random.default_rng(3).normal(size=(6, 6))
    rows, columns = split_units(6, 1)
    assert not set(rows) & set(columns)
    whole, split = [], []
    for order in itertools.permutations(range(6)):
        moved = b[np.ix_(order, order)]
        whole.append(count_fixed_points(unit_rows(a), unit_rows(moved)))
        split.append(count_fixed_points(unit_rows(a[np.ix_(rows, columns)]), unit_rows(moved[np.ix_(rows, columns)])))
    assert min(whole) == 6  # the diagonal: every order matches itself
    for k in (1, 2, 3):
        assert np.mean(np.array(split) >= k) <= 1 / math.factorial(k)


@pytest.mark.parametrize(
    ("units", "numbers", "kept"), [(16, 9, 4), (64, 1, 24), (32, 1, 16), (8, 4, 4), (2048, 1, 512)]
)
def test_a_quarter_to_a_half_of_the_columns_is_kept(units, numbers, kept):
    rows, columns = split_units(units, numbers)
    assert (len(columns), len(rows)) == (kept, units - kept)
    assert sorted([*rows, *columns]) == list(range(units))


def test_the_bound_is_that_of_exact_factorials():
    assert log10_bound(0) == log10_bound(1) == 0
    assert log10_bound(10) == pytest.approx(-math.log10(3628800), abs=1e-15)
    # log10(1000!) by Stirling's series with four terms
    assert log10_bound(1000) == pytest.approx(-2567.604644222132, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_of_any_scale_have_length_one(scale):
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [-5.0, 12.0]], dtype=np.float32) * np.float32(scale))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [-5 / 13, 12 / 13]], rtol=1e-6)


def test_ties_and_zero_rows_are_misses():
    a = np.array([[1.0, 0], [0, 1], [0, 0]])
    assert count_fixed_points(unit_rows(a), unit_rows(a)) == 2
    twins = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert count_fixed_points(unit_rows(twins), unit_rows(twins)) == 1
    assert count_fixed_points(unit_rows(-a), unit_rows(a)) == 2  # a gain of the other sign


def test_partial_conjunction_asks_for_half_of_the_layers():
    # n = 5, u = 3: three times the third smallest
    assert partial_conjunction([-9.0, -2.0, -7.0, 0.0, -1.0]) == pytest.approx(-2 + math.log10(3))
    assert partial_conjunction([-100.0, 0.0, 0.0]) == 0
    assert partial_conjunction([-4.0] * 4) == pytest.approx(-4 + math.log10(3))
    assert partial_conjunction([]) == 0
