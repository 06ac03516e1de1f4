"""Power, and whether the false-accusation rate holds: against literals, SciPy and simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from sac_fast.verdict import NullPool, nulls_needed, probes_needed, random_split_check, realised_rate, transfer_check


@pytest.mark.parametrize(("rate", "expected"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.9, 1), (1 / 49, 48)])
def test_nulls_for_an_attainable_p_value(rate, expected):
    assert nulls_needed(rate) == expected


@pytest.mark.parametrize(("rate", "ceiling"), [(0.05, 0.1), (0.05, 0.075), (0.1, 0.15), (0.01, 0.03), (0.2, 0.9)])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_nulls_for_a_ceiling_by_enumeration(rate, ceiling, confidence):
    """The first m at which the binomial tail says so: at least r of m nulls lie below the ceiling's quantile."""

    def kept(m):
        r = math.floor(rate * (1 + m) + 1e-9)
        return r >= 1 and scipy.stats.binom.sf(r - 1, m, ceiling) >= confidence

    first = next(m for m in range(1, 2000) if kept(m))
    assert nulls_needed(rate, ceiling=ceiling, confidence=confidence) == first


def test_nulls_for_a_ceiling_literal():
    # r = 1 up to m = 28: P(min of m nulls <= the 20 % quantile) = 1 − 0.8^m ≥ 0.95 from m = 14 on
    assert nulls_needed(0.1, ceiling=0.2, confidence=0.95) == 14


def test_nulls_for_a_ceiling_stay_within_the_limit():
    # the smallest null counts from 99 to 198 nulls: 1 − 0.98^m ≥ 0.95 from m = 149 on
    assert nulls_needed(0.01, ceiling=0.02, max_nulls=149) == 149
    with pytest.raises(ValueError, match="ceiling must be reachable with 148 nulls"):
        nulls_needed(0.01, ceiling=0.02, max_nulls=148)


def test_the_smallest_rate():
    assert nulls_needed(1e-12) == 999_999_999_999
    assert NullPool([1.0]).judge(0.5, 1e-12).verdict == "inconclusive"


def test_realised_rate_of_simulated_pools():
    rng, m, rate = np.random.default_rng(1), 59, 0.05
    # uniform distances: the rate that a threshold has is the threshold
    realised = np.array([NullPool(rng.uniform(size=m)).judge(0.0, rate).threshold for _ in range(4000)])
    expected = realised_rate(m, rate, confidence=0.9)
    assert (expected.null_count, expected.nominal, expected.mean) == (m, rate, 3 / 60)
    assert realised.mean() == pytest.approx(expected.mean, abs=4 * realised.std() / math.sqrt(4000))
    inside = ((realised >= expected.low) & (realised <= expected.high)).mean()
    assert inside == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 4000))


def test_realised_rate_with_too_few_nulls_accuses_nobody():
    few = realised_rate(10, 0.05)
    assert (few.mean, few.low, few.high) == (0.0, 0.0, 0.0)


def test_probes_needed_literals():
    # z(0.975) = 1.959964: 100 · (1.959964 · 0.02 / 0.01)² = 1536.6
    assert probes_needed(0.01, 0.02, 100, power=0.975) == 1537
    assert probes_needed(0.01, 0.0, 100) == 2
    assert probes_needed(1e-3, 0.5, 100, power=0.5) == 2  # at even odds any number does


def test_probes_needed_reach_the_power():
    """Simulated: a mean of n numbers of deviation 1 around 0.3 falls below 0.5 with the stated probability."""
    n = probes_needed(0.2, 1 / math.sqrt(50), 50, power=0.9)
    means = np.random.default_rng(2).normal(0.3, 1 / math.sqrt(n), size=20_000)
    assert (means < 0.5).mean() == pytest.approx(0.9, abs=0.01)


def split_share(values, rate, judged, splits, seed):
    """random_split_check written out with NullPool."""
    rng, accused = np.random.default_rng(seed), 0
    for _ in range(splits):
        order = rng.permutation(len(values))
        pool = NullPool(values[order[judged:]])
        accused += sum(pool.judge(d, rate).verdict == "derived" for d in values[order[:judged]])
    return accused / splits / judged


def test_random_splits_against_the_verdicts_themselves():
    values = np.random.default_rng(3).normal(size=60)
    check = random_split_check(values, 0.1, splits=50, held_out=0.5, seed=4)
    assert (check.null_count, check.held_out_count, check.splits) == (30, 30, 50)
    assert check.share == split_share(values, 0.1, 30, 50, 4)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_random_splits_hold(rate, seed):
    values = np.random.default_rng(seed).lognormal(size=220)
    check = random_split_check(values, rate, splits=300, seed=seed)
    assert check.holds
    assert check.expected == math.floor(rate * 111 + 1e-9) / 111
    assert abs(check.share - check.expected) < 4 * check.standard_error


def test_error_of_random_splits_is_that_of_many_repetitions():
    values = np.random.default_rng(5).normal(size=40)
    checks = [random_split_check(values, 0.1, splits=20, seed=s) for s in range(300)]
    spread = np.std([check.share for check in checks])
    assert spread == pytest.approx(checks[0].standard_error, rel=0.15)
    # the binomial error of as many trials would be too small: verdicts of one split share a threshold
    assert math.sqrt(0.1 * 0.9 / (20 * 20)) < 0.8 * spread


def test_random_splits_with_ties_accuse_fewer():
    assert random_split_check([1.0] * 40, 0.1, splits=20).share == 0.0


def test_random_splits_with_too_few_nulls_show_nothing():
    check = random_split_check(range(20), 0.05)
    assert (check.holds, check.share, check.expected) == (None, 0.0, 0.0)
    assert random_split_check([1.0, 2.0], 0.5).null_count == 1


def test_transfer_finds_nulls_of_the_wrong_kind():
    rng = np.random.default_rng(6)
    far, near, like = rng.normal(5, 1, 60), rng.normal(3, 1, 40), rng.normal(5, 1, 40)
    wrong, right = transfer_check(far, near, 0.05), transfer_check(far, like, 0.05)
    assert wrong.accused == sum(NullPool(far).judge(d, 0.05).verdict == "derived" for d in near)
    assert wrong.p_value < 1e-3
    assert right.p_value > 0.01
    assert transfer_check(far[:10], near, 0.05).p_value is None


def test_transfer_p_value_is_exact():
    """Exchangeable kinds: the number accused follows the distribution that the p-value assumes."""
    rng, trials = np.random.default_rng(7), 3000
    found = [transfer_check(row[:19], row[19:], 0.1) for row in rng.normal(size=(trials, 31))]
    for accused in range(4):
        expected = next((c.p_value for c in found if c.accused == accused), None)
        share = np.mean([c.accused >= accused for c in found])
        assert share == pytest.approx(expected, abs=4 * math.sqrt(0.25 / trials))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nulls_needed(0.0), ValueError, "alpha must lie strictly"),
        # one once overflowed, the other counted up to 10²⁶
        (lambda: nulls_needed(1e-310), ValueError, "alpha must be at least 1e-12, got 1e-310"),
        (lambda: NullPool([1.0]).judge(0.5, 1e-26), ValueError, "alpha must be at least 1e-12"),
        (lambda: nulls_needed(0.05, ceiling=0.05), ValueError, "ceiling must lie above .* 0.05, got 0.05"),
        (
            lambda: nulls_needed(0.05, ceiling=0.0501, max_nulls=1000),
            ValueError,
            "ceiling must be reachable with 1,000",
        ),
        (lambda: realised_rate(-1, 0.1), ValueError, "null_count must not be negative, got -1"),
        (lambda: realised_rate(2.0, 0.1), TypeError, "null_count must be an integer, got 2.0"),
        (lambda: probes_needed(0.0, 0.1, 100), ValueError, "margin must be above 0"),
        (lambda: probes_needed(0.1, -0.1, 100), ValueError, "standard_error must not be negative, got -0.1"),
        (lambda: probes_needed(0.1, 0.1, 1), ValueError, "probes must be at least 2, got 1"),
        (lambda: probes_needed(0.1, 0.1, 100, power=0.4), ValueError, "power must be at least 0.5, got 0.4"),
        (lambda: probes_needed(1e-9, 1.0, 100), ValueError, "margin must be reachable with 1,000,000,000 probes"),
        (lambda: probes_needed(1e-80, 1e80, 100), ValueError, "margin must be reachable with 1,000,000,000 probes"),
        (lambda: random_split_check([1.0], 0.1), ValueError, "independents must hold at least 2 distances, got 1"),
        (lambda: random_split_check([1.0, math.nan], 0.1), ValueError, "independents must be finite, got nan"),
        (lambda: random_split_check([1.0, 2.0], 0.1, splits=0), ValueError, "splits must be at least 1, got 0"),
        (lambda: transfer_check([], [1.0], 0.1), ValueError, "null must hold at least one distance, got none"),
    ],
)
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()
