"""Figures of merit and corrections against literals, brute force, scikit-learn and SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from sac_fast.verdict import (
    benjamini_hochberg,
    calibrated_threshold,
    conformal_p_value,
    f1_at_rate,
    f1_at_threshold,
    holm,
    roc_curve,
    tpr_at_fpr,
    welch_p_value,
)

# Few different values, so that ties are frequent; scores may be negative.
GRID = st.integers(-10, 10).map(lambda i: i / 8)
SCORES = st.lists(GRID, min_size=1, max_size=25)
RATES = st.sampled_from([0.01, 0.05, 0.1, 0.29, 1 / 3, 0.5, 0.9])


@given(SCORES, SCORES)
def test_roc_curve_is_what_each_threshold_does(near, far):
    curve = roc_curve(near, far)
    assert curve.thresholds[0] == -math.inf
    assert sorted({*near, *far}) == curve.thresholds[1:].tolist()
    for t, false, true in zip(curve.thresholds, curve.false_positive_rate, curve.true_positive_rate, strict=True):
        assert false == sum(d <= t for d in far) / len(far)
        assert true == sum(d <= t for d in near) / len(near)
    area = sklearn.metrics.auc(curve.false_positive_rate, curve.true_positive_rate)
    pairs = [(d < i) + 0.5 * (d == i) for d in near for i in far]
    assert area == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_roc_curve_goes_into_json():
    assert roc_curve([0.0, 2.0], [1.0, 2.0]).to_dict() == {
        "thresholds": [None, 0.0, 1.0, 2.0],
        "false_positive_rate": [0.0, 0.0, 0.5, 1.0],
        "true_positive_rate": [0.0, 0.5, 0.5, 1.0],
    }


@given(SCORES, SCORES, RATES)
def test_tpr_is_the_highest_that_the_curve_allows(near, far, rate):
    truth = [1] * len(near) + [0] * len(far)
    false, true, _ = sklearn.metrics.roc_curve(truth, [-d for d in near + far], drop_intermediate=False)
    assert tpr_at_fpr(near, far, rate) == true[false <= rate].max()


HUNDRED = list(range(100))


@pytest.mark.parametrize(
    ("near", "far", "rate", "expected"),
    [
        ([-1, 0, 1, 2], HUNDRED, 0.01, 0.5),  # one of the hundred may be accused: those below 1
        ([-1, 0, 1, 2], HUNDRED, 0.02, 0.75),
        ([0, 1], HUNDRED[:99], 0.01, 0.0),  # 99 independents: none may be accused, and 0 is as far as the nearest
        ([-1, 1], [0], 0.05, 0.5),  # a single independent
        ([3, 3], [3, 3], 0.5, 0.0),  # all equal: nobody is found without accusing everybody
        ([1], [3, 3, 3, 9], 0.3, 1.0),
        ([3], [3, 3, 3, 9], 0.5, 0.0),  # accusing at 3 accuses three of four
        ([3], [3, 3, 3, 9], 0.75, 1.0),
    ],
)
def test_tpr_literals(near, far, rate, expected):
    assert tpr_at_fpr(near, far, rate) == expected


@given(SCORES, SCORES, GRID)
def test_f1_against_scikit_learn(near, far, threshold):
    truth = [1] * len(near) + [0] * len(far)
    accused = [d < threshold for d in near + far]
    expected = sklearn.metrics.f1_score(truth, accused, zero_division=0)
    assert f1_at_threshold(near, far, threshold) == pytest.approx(expected, abs=1e-12)


@given(SCORES, SCORES, RATES)
def test_f1_at_rate_judges_each_independent_by_the_others(near, far, rate):
    actual = f1_at_rate(near, far, rate)
    if calibrated_threshold(far, rate) is None:
        assert actual is None
        return
    found = sum(conformal_p_value(d, far) <= rate for d in near)
    others = [far[:i] + far[i + 1 :] for i in range(len(far))]
    wrong = sum(bool(rest) and conformal_p_value(d, rest) <= rate for d, rest in zip(far, others, strict=True))
    assert actual == pytest.approx(2 * found / (found + wrong + len(near)), abs=1e-12)


def test_f1_literals():
    assert f1_at_threshold([0.1, 0.2, 0.9], [0.5, 0.6], 0.55) == 2 * 2 / (2 * 2 + 1 + 1)
    assert f1_at_threshold([0.9], [0.5], 0.1) == 0.0
    # ten independents at 0.1: threshold 1; of the others, nine give 1 → p = 1/10 for the nearest: one false accusation
    assert f1_at_rate([0, 0, 0, 5], range(1, 11), 0.1) == 2 * 3 / (2 * 3 + 1 + 1)
    assert f1_at_rate([0.0], range(1, 9), 0.1) is None


def test_welch_literal():
    # means 2 and 6, variances 1 and 4, three of each: t = -4 / √(5/3), ν = (5/3)² / ((1/9 + 16/9) / 2)
    near, far = [1.0, 2.0, 3.0], [4.0, 6.0, 8.0]
    t, freedom = -4 / math.sqrt(5 / 3), (5 / 3) ** 2 / ((1 / 9 + 16 / 9) / 2)
    assert welch_p_value(near, far) == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom), rel=1e-12)


@pytest.mark.parametrize(
    ("near", "far"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([1.0, 1.0], [1.0, 1.0]), ([1.0] * 2, [2.0] * 3)]
)
def test_welch_is_not_defined(near, far):
    assert welch_p_value(near, far) is None


def test_welch_with_one_constant_group():
    # variance of the mean 1/3 with two degrees of freedom: t = √3
    assert welch_p_value([1.0, 1.0], [1.0, 2.0, 3.0]) == pytest.approx(2 * scipy.stats.t.sf(math.sqrt(3), 2), rel=1e-12)
    # nearly constant: no warning comes out
    assert 0 <= welch_p_value([1.0, 1.0 + 1e-16, 1 + 3e-16], [1.0, 1.0, 1.0 + 3e-16]) <= 1


def test_holm_literals():
    # by hand: sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, running maximum
    assert holm([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # Holm's own kind of example: 0.005·3, 0.04·2, 0.1·1 → 0.1
    assert holm([0.1, 0.005, 0.04]).tolist() == pytest.approx([0.1, 0.015, 0.08])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([0.5]).tolist() == [0.5]
    # the two smallest of ten: 10 · 0.004, then max(0.04, 9 · 0.01)
    assert holm([0.01, 0.004], tests=10).tolist() == pytest.approx([0.09, 0.04])
    assert holm([0.01, 0.2], tests=2).tolist() == holm([0.01, 0.2]).tolist() == [0.02, 0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_as_the_step_down_procedure_does(p_values, level):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = set()
    for step, i in enumerate(order):
        if (len(p_values) - step) * p_values[i] > level:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(holm(p_values)) if p <= level} == rejected


def test_benjamini_hochberg_literals():
    # by hand: 0.01·4/1, 0.02·4/2, 0.03·4/3, 0.04·4/4, running minimum from the right: all 0.04
    assert benjamini_hochberg([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.04] * 4)
    assert benjamini_hochberg([0.1, 0.005, 0.04]).tolist() == pytest.approx([0.1, 0.015, 0.06])


def test_corrections_bound_what_they_promise():
    """Simulated: 20 suspects share a pool of 199 nulls, 12 of them independent."""
    rng, trials, level = np.random.default_rng(0), 400, 0.1
    anybody = false_share = 0.0
    for _ in range(trials):
        null = np.sort(rng.normal(size=199))
        suspects = np.concatenate([rng.normal(size=12), rng.normal(-4, 1, size=8)])
        p = (1 + np.searchsorted(null, suspects, side="right")) / 200
        anybody += (holm(p)[:12] <= level).any()
        accused = benjamini_hochberg(p) <= level
        false_share += accused[:12].sum() / max(1, accused.sum())
    deviation = math.sqrt(level * (1 - level) / trials)
    assert anybody / trials <= level + 3 * deviation
    assert false_share / trials <= level + 3 * deviation
    assert false_share / trials >= level / 4  # it does accuse


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: holm([]), ValueError, "p_values must hold at least one p-value, got none"),
        (lambda: holm([0.1, 0.2], tests=1), ValueError, "tests must be at least 2, got 1"),
        (lambda: holm([0.5, 1.5]), ValueError, r"p_values must lie within 0 … 1, got 1.5"),
        (lambda: benjamini_hochberg([math.nan]), ValueError, "p_values must be finite, got nan"),
        (lambda: benjamini_hochberg([-0.1]), ValueError, r"p_values must lie within 0 … 1, got -0.1"),
        (lambda: tpr_at_fpr([], [1.0], 0.1), ValueError, "derived must hold at least one distance, got none"),
        (lambda: tpr_at_fpr([1.0], [1.0], 0.0), ValueError, "false_positive_rate must lie strictly .* got 0.0"),
        (lambda: roc_curve([1.0], [math.inf]), ValueError, "independent must be finite, got inf"),
        (lambda: f1_at_threshold([1.0], [1.0], math.nan), ValueError, "threshold must be finite, got nan"),
        (lambda: f1_at_rate([1.0], [], 0.1), ValueError, "independent must hold at least one distance"),
        (lambda: welch_p_value(["a"], [1.0]), TypeError, "derived must be a sequence of numbers"),
    ],
)
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()
