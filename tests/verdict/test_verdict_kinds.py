"""Verdicts over nulls of several kinds, and nulls that count once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_fast.verdict import KindPool, judge_by_kind, near_duplicates

NINE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
GRID = st.integers(0, 6).map(lambda i: i / 4)
POOLS = st.dictionaries(st.sampled_from("abc"), st.lists(GRID, max_size=12), min_size=1)


def judge(distance, alpha, required=(), **pools):
    return judge_by_kind([KindPool(kind, distance, nulls) for kind, nulls in pools.items()], alpha, required=required)


def test_the_largest_p_value_counts():
    verdict = judge(0.15, 0.2, near=NINE, far=[0.5] * 4)
    assert verdict.by_kind == {"near": 0.2, "far": 0.2}
    assert (verdict.verdict, verdict.p_value, verdict.null_count) == ("derived", 0.2, 13)
    verdict = judge(0.25, 0.2, near=NINE, far=[0.5] * 4)
    assert verdict.by_kind == {"near": 0.3, "far": 0.2}
    assert (verdict.verdict, verdict.p_value, verdict.attainable_p_value) == ("inconclusive", 0.3, 0.2)
    assert judge(0.45, 0.2, near=NINE, far=[0.5] * 4).verdict == "not distinguished"


def test_bounds_and_rates():
    verdict = judge(0.25, 0.2, near=NINE, far=[0.5, 0.15, 0.5, 0.5])
    # the second smallest of nine, the smallest of four; then the fourth and the second
    assert (verdict.threshold, verdict.upper_bound) == (0.15, 0.4)
    assert verdict.realised_rate == 0.2
    assert judge(0.25, 0.25, near=NINE).realised_rate == 0.2  # 2 of 10
    assert judge(0.25, 0.05, near=NINE).realised_rate == 0.0


@pytest.mark.parametrize(
    ("distance", "expected", "words"),
    [
        (0.0, "inconclusive", "at least 9 nulls of each kind; too few of the kinds: few (2)."),
        (0.9, "not distinguished", "p = 1 against 9 nulls of the kind near"),
        (0.15, "inconclusive", "too few of the kinds: few (2)"),
    ],
)
def test_a_kind_of_too_few_nulls_is_named_unless_another_settles_it(distance, expected, words):
    verdict = judge(distance, 0.1, near=NINE, few=[1.0, 1.0])
    assert verdict.verdict == expected
    assert words in verdict.reason
    assert verdict.threshold is None


def test_a_required_kind_without_nulls_is_named():
    verdict = judge(0.0, 0.1, required=("nearest", "near"), near=NINE)
    assert verdict.verdict == "inconclusive"
    assert "too few of the kinds: nearest (0)" in verdict.reason
    assert judge(0.0, 0.1, required=("near",), near=NINE).verdict == "derived"


@given(POOLS, GRID, st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_verdicts_follow_from_the_p_values_of_the_kinds(pools, distance, alpha):
    verdict = judge(distance, alpha, **pools)
    p = {kind: (1 + sum(null <= distance for null in nulls)) / (1 + len(nulls)) for kind, nulls in pools.items()}
    assert verdict.by_kind == p
    enough = {kind: value for kind, value in p.items() if 1 / (1 + len(pools[kind])) <= alpha}
    if enough and max(enough.values()) > 2 * alpha:
        expected = "not distinguished"
    elif len(enough) < len(p) or max(p.values()) > alpha:
        expected = "inconclusive"
    else:
        expected = "derived"
    assert verdict.verdict == expected
    if verdict.threshold is not None:
        assert (distance < verdict.threshold) == (expected == "derived")


def test_two_pools_of_one_kind_both_count():
    pools = [KindPool("near", 0.15, NINE), KindPool("near", 0.3, [0.2, 0.4, 0.4, 0.4])]
    verdict = judge_by_kind(pools, 0.2)
    assert (verdict.by_kind, verdict.verdict) == ({"near": 0.4}, "inconclusive")
    assert (verdict.null_count, verdict.threshold, verdict.distance) == (4, None, 0.15)


def test_no_pool_is_refused():
    with pytest.raises(ValueError, match="pools must hold at least one pool, got none"):
        judge_by_kind([], 0.1)


def test_near_duplicates_within_their_kind():
    at = np.array([0.0, 0.1, 0.15, 2.0, 4.0, 4.4, 4.4])
    distances = np.abs(at[:, None] - at)
    # 21 distances, their median 2.4: a quarter is 0.6
    assert near_duplicates(distances, ["a"] * 7) == [[0, 1, 2], [4, 5, 6]]
    # of the kind a: 0, 0.1, 0.15, 2, 4: median 1.925; of b two equal ones
    assert near_duplicates(distances, ["a"] * 5 + ["b"] * 2) == [[0, 1, 2], [5, 6]]
    # 0.1 and 4 are alone in b; 4.4 and 4.4 remain; between 0, 0.15, 2: a quarter of 1.85
    assert near_duplicates(distances, ["a", "b", "a", "a", "b", "c", "c"]) == [[0, 2], [5, 6]]


def test_two_nulls_are_near_only_if_they_are_nearly_equal():
    assert near_duplicates([[0, 2e-4], [2e-4, 0]], ["a", "a"]) == []
    assert near_duplicates([[0, 9e-5], [9e-5, 0]], ["a", "a"]) == [[0, 1]]
    assert near_duplicates([[0, 0], [0, 0]], ["a", "a"]) == [[0, 1]]
    assert near_duplicates(np.zeros((0, 0)), []) == []
    with pytest.raises(ValueError, match=r"must be \(3, 3\) like kinds"):
        near_duplicates(np.zeros((2, 2)), ["a"] * 3)
