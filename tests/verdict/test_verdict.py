"""p-values, thresholds and verdicts against literals, brute force and simulation."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sac_fast.verdict import NullPool, Verdict, attainable_p_value, auc, calibrated_threshold, conformal_p_value

NINE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
# Few different values, so that ties are frequent.
GRID = st.integers(0, 20).map(lambda i: i / 8)
NULLS = st.lists(GRID, min_size=1, max_size=30)
RATES = st.one_of(
    st.floats(0.001, 0.999),
    st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda t: min(t) / (max(t) + 1)),
)


def brute_p(distance, null):
    return (1 + sum(1 for value in null if value <= distance)) / (1 + len(null))


@pytest.mark.parametrize(
    ("distance", "expected"), [(0.05, 0.1), (0.1, 0.2), (0.15, 0.2), (0.9, 1.0), (5.0, 1.0), (0.0, 0.1)]
)
def test_p_value_literals(distance, expected):
    assert conformal_p_value(distance, NINE) == expected


def test_p_value_needs_no_order():
    assert conformal_p_value(0.35, [0.9, 0.1, 0.5, 0.3]) == 3 / 5


def test_p_values_of_many_distances():
    p = conformal_p_value([0.35, 0.0, 0.9, 0.1], [0.9, 0.1, 0.5, 0.3])
    assert p.dtype == np.float64
    assert p.tolist() == [3 / 5, 1 / 5, 1.0, 2 / 5]
    assert type(conformal_p_value(np.float32(0.35), [0.9, 0.1, 0.5, 0.3])) is float


@pytest.mark.parametrize(("count", "expected"), [(0, 1.0), (1, 0.5), (9, 0.1), (19, 0.05), (np.int64(99), 0.01)])
def test_attainable_p_value(count, expected):
    assert attainable_p_value(count) == expected


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    # rank: the how-manieth smallest null is the threshold; None: too few nulls
    [
        (9, 0.1, 1),
        (8, 0.1, None),
        (10, 0.1, 1),
        (18, 0.1, 1),
        (19, 0.1, 2),
        (4, 0.2, 1),
        (3, 0.2, None),
        (19, 0.05, 1),
        (18, 0.05, None),
        (9, 0.3, 3),
        (9, 0.7, 7),
        (99, 0.29, 29),  # 0.29 * 100 is 28.999…
        (99, 0.07, 7),  # 0.07 * 100 is 7.000…1
        (2, 1 / 3, 1),
        (48, 1 / 49, 1),  # 1 / 49 * 49 is 0.999…
        (10, 1 / 11, 1),
        (1, 0.999, 1),
    ],
)
def test_threshold_literals(count, rate, rank):
    null = [10.0 + i for i in range(count)]
    expected = None if rank is None else 9.0 + rank
    assert calibrated_threshold(null, rate) == expected


def test_threshold_by_enumeration_for_every_fraction():
    """At every α = r / (1 + m), as the user writes it or as the division gives it, the rank is r."""
    for count in range(1, 60):
        null = list(range(count))
        for r in range(1, count + 1):
            assert calibrated_threshold(null, r / (count + 1)) == r - 1


@given(NULLS, RATES, GRID)
def test_below_threshold_is_exactly_p_at_most_rate(null, rate, distance):
    threshold = calibrated_threshold(null, rate)
    accused = threshold is not None and distance < threshold
    assert accused == (brute_p(distance, null) <= rate)


@given(NULLS, GRID, GRID)
def test_p_value_grows_with_the_distance(null, one, other):
    low, high = sorted([one, other])
    assert conformal_p_value(low, null) <= conformal_p_value(high, null)
    assert conformal_p_value(low, null) == brute_p(low, null)
    assert attainable_p_value(len(null)) <= conformal_p_value(low, null) <= 1


@given(NULLS, GRID, RATES)
def test_judge_agrees_with_p_value_and_bounds(null, distance, rate):
    verdict = NullPool(null).judge(distance, rate)
    p = brute_p(distance, null)
    assert verdict.p_value == p
    if 1 / (1 + len(null)) > rate:
        expected = "inconclusive"
        assert verdict.threshold is None
        assert verdict.upper_bound is None
    else:
        expected = "derived" if p <= rate else "inconclusive" if p <= 2 * rate else "not distinguished"
        assert (distance < verdict.threshold) == (expected == "derived")
        far = verdict.upper_bound is not None and distance >= verdict.upper_bound
        assert far == (expected == "not distinguished")
    assert verdict.verdict == expected


@pytest.mark.parametrize(
    ("distance", "rate", "expected"),
    [
        (0.05, 0.1, "derived"),
        (0.1, 0.1, "inconclusive"),
        (0.19, 0.1, "inconclusive"),
        (0.2, 0.1, "not distinguished"),
        (0.05, 0.09, "inconclusive"),  # nine nulls cannot give p below 0.1
        (0.95, 0.09, "inconclusive"),
        (0.95, 0.5, "inconclusive"),  # 2α = 1: no p-value lies above
    ],
)
def test_judge_literals(distance, rate, expected):
    assert NullPool(NINE).judge(distance, rate).verdict == expected


def test_verdict_holds_all_numbers_and_goes_into_json():
    verdict = NullPool([0.3, 0.1, 0.2, 0.4], kind="retrained twins").judge(0.05, 0.2)
    assert verdict == Verdict(
        verdict="derived",
        distance=0.05,
        p_value=0.2,
        attainable_p_value=0.2,
        alpha=0.2,
        threshold=0.1,
        upper_bound=0.2,
        null_count=4,
        realised_rate=0.2,
        reason=verdict.reason,
    )
    assert "retrained twins" in verdict.reason
    assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["threshold"] == 0.1


@pytest.mark.parametrize(("count", "rate", "needed"), [(8, 0.1, 9), (3, 0.2, 4), (1, 0.01, 99), (1, 1 / 49, 48)])
def test_too_few_nulls_says_how_many_are_needed(count, rate, needed):
    verdict = NullPool([1.0] * count).judge(0.0, rate)
    assert verdict.verdict == "inconclusive"
    assert f"at least {needed}." in verdict.reason
    assert NullPool([1.0] * needed).judge(0.0, rate).verdict == "derived"
    assert NullPool([1.0] * (needed - 1)).judge(0.0, rate).verdict == "inconclusive"


def test_pool_is_sorted_and_cannot_be_changed():
    given_distances = np.array([3.0, 1.0, 2.0])
    pool = NullPool(given_distances)
    assert pool.distances.tolist() == [1.0, 2.0, 3.0]
    assert len(pool) == 3
    given_distances[:] = 0
    assert pool.distances.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        pool.distances[0] = 0


@given(NULLS, GRID, RATES)
def test_scores_need_not_be_distances(null, distance, rate):
    """Only the order counts: a rising map that makes everything negative changes no verdict."""
    as_distance = NullPool(null).judge(distance, rate)
    as_score = NullPool([-1 / (1 + d) for d in null]).judge(-1 / (1 + distance), rate)
    assert (as_score.verdict, as_score.p_value) == (as_distance.verdict, as_distance.p_value)


@pytest.mark.parametrize("count", [9, 25])
def test_false_accusations_of_exchangeable_suspects(count):
    """Of independents drawn like the nulls, a share of floor(α(1 + m)) / (1 + m) ≤ α is accused."""
    rate, trials = 0.1, 4000
    draws = np.random.default_rng(3).lognormal(size=(trials, count + 1))
    accused = sum(NullPool(row[1:]).judge(row[0], rate).verdict == "derived" for row in draws)
    expected = math.floor(rate * (count + 1) + 1e-9) / (count + 1)
    deviation = math.sqrt(expected * (1 - expected) / trials)
    assert accused / trials <= rate + 4 * deviation
    assert abs(accused / trials - expected) < 4 * deviation


@given(NULLS, NULLS)
def test_auc_against_counting_pairs_and_scikit_learn(near, far):
    pairs = [(d < i) + 0.5 * (d == i) for d in near for i in far]
    assert auc(near, far) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    scores = [-d for d in near + far]
    assert auc(near, far) == roc_auc_score([1] * len(near) + [0] * len(far), scores)


def test_auc_literals():
    assert auc([0.1, 0.2], [0.3, 0.4]) == 1.0
    assert auc([0.3], [0.1]) == 0.0
    assert auc([0.5], [0.5]) == 0.5
    assert auc([0.1, 0.4], [0.2, 0.4]) == (1 + 1 + 0 + 0.5) / 4


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: conformal_p_value(math.nan, [1.0]), ValueError, "distance must be finite, got nan"),
        (lambda: conformal_p_value("near", [1.0]), TypeError, "distance must be a number, got 'near'"),
        (lambda: conformal_p_value([], [1.0]), ValueError, "distance must hold at least one distance, got none"),
        (lambda: conformal_p_value([0.1, math.nan], [1.0]), ValueError, "distance must be finite, got nan"),
        (lambda: conformal_p_value(0.1, []), ValueError, "null must hold at least one distance, got none"),
        (lambda: conformal_p_value(0.1, [1.0, math.nan]), ValueError, "null must be finite, got nan"),
        (lambda: conformal_p_value(0.1, [1.0, math.inf]), ValueError, "null must be finite, got inf"),
        (lambda: conformal_p_value(0.1, [[1.0]]), ValueError, "null must have one dimension, got 2"),
        (lambda: conformal_p_value(0.1, ["a"]), TypeError, "null must be a sequence of numbers"),
        (lambda: NullPool([-math.inf]), ValueError, "distances must be finite, got -inf"),
        (lambda: calibrated_threshold([1.0], 0.0), ValueError, "alpha must lie .* got 0.0"),
        (lambda: calibrated_threshold([1.0], 1.0), ValueError, "alpha must lie .* got 1.0"),
        (lambda: NullPool([1.0]).judge(0.1, math.nan), ValueError, "alpha .* got nan"),
        (lambda: NullPool([1.0]).judge(0.1, None), TypeError, "alpha must be a number"),
        (lambda: attainable_p_value(-1), ValueError, "null_count must not be negative, got -1"),
        (lambda: attainable_p_value(2.5), TypeError, "null_count must be an integer, got 2.5"),
        (lambda: auc([], [1.0]), ValueError, "derived must hold at least one distance"),
        (lambda: auc([1.0], [math.nan]), ValueError, "independent must be finite"),
    ],
)
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_import_is_light():
    """Neither scipy nor scikit-learn is loaded before a function needs it."""
    code = "import sys, sac_fast.verdict; print([m for m in ('scipy', 'sklearn', 'skimage') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_empty_pool_is_inconclusive():
    verdict = NullPool([]).judge(0.0, 0.5)
    assert (verdict.verdict, verdict.p_value, verdict.attainable_p_value) == ("inconclusive", 1.0, 1.0)
    assert verdict.threshold is None
    assert "needs at least 1" in verdict.reason
