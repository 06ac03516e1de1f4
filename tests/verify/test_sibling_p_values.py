import numpy as np
import pytest
from scipy import stats

from sac_fast.scores.siblings_similarity import Similarities
from sac_fast.verify.sibling_p_values import (
    combined_profiles,
    max_p_values,
    rank_p_values,
    standardise,
    student_p_values,
)


def made(suspects, members, seed=0):
    rng = np.random.default_rng(seed)
    among = rng.standard_normal((members, members))
    np.fill_diagonal(among, np.nan)
    return Similarities(rng.standard_normal((suspects, members)), among)


def test_rank_counts_ties_against_the_accusation():
    assert rank_p_values(np.array([[2.0, 1.0, 2.0, 0.0, 1.0]])).tolist() == [0.4]
    # differences by rounding are ties
    assert rank_p_values(np.array([[2.0, 1.0, 2.0 - 1e-12, 0.0, 1.0]])).tolist() == [0.4]
    assert rank_p_values(np.array([[np.nan] * 5, [2.0, 1.0, np.nan, 0.0, 0.0]])).tolist() == [1.0, 1.0]


def test_max_t_by_its_definition():
    statistics = np.random.default_rng(1).standard_normal((7, 20)).round(1)  # with ties
    statistics[3] = np.nan
    found = max_p_values(statistics)
    for b, row in enumerate(statistics):
        others = [max(r[j] for r in statistics if not np.isnan(r).any()) for j in range(1, 20)]
        expected = 1.0 if np.isnan(row[0]) else (1 + sum(other >= row[0] for other in others)) / 20
        assert found[b] == pytest.approx(expected)
    assert (found >= rank_p_values(statistics)).all()


def test_one_suspect_needs_no_adjustment():
    statistics = np.random.default_rng(2).standard_normal((1, 10))
    assert max_p_values(statistics).tolist() == rank_p_values(statistics).tolist()


def test_standardised_from_nine_siblings_on():
    few = made(3, 9)
    np.testing.assert_array_equal(standardise(few), few.suspects)
    many = made(3, 10)
    expected = (many.suspects - np.nanmean(many.among, axis=1)) / np.nanstd(many.among, axis=1)
    np.testing.assert_allclose(standardise(many), expected)


@pytest.mark.parametrize("members", [6, 12])
def test_values_without_variation_are_no_evidence(members):
    similarities = made(2, members)
    similarities.suspects[1] = 0.3
    values = standardise(similarities)
    assert np.isnan(values[1]).all()
    assert rank_p_values(combined_profiles([values])).tolist()[1] == 1.0
    assert student_p_values([values], over_suspects=False).tolist()[1] == 1.0
    assert np.isfinite(student_p_values([values], over_suspects=True)).all()


def test_statistic_is_the_largest_of_the_scaled_channels():
    channels = [standardise(made(4, 12, seed)) for seed in (0, 1)]
    scaled = [(v - np.median(v, axis=1, keepdims=True)) / stats.iqr(v, axis=1, keepdims=True) for v in channels]
    np.testing.assert_allclose(combined_profiles(channels), np.maximum(*scaled))
    silent = np.full_like(channels[0], np.nan)
    np.testing.assert_allclose(combined_profiles([channels[0], silent]), scaled[0])


def test_student_is_the_prediction_of_one_new_value():
    values = made(5, 7).suspects
    found = student_p_values([values, -values], over_suspects=False)
    for b, row in enumerate(values):
        # a new value against K: the two-sample test with equal variances and one value in the first sample
        one = [stats.ttest_ind(sign * row[:1], sign * row[1:], alternative="greater").pvalue for sign in (1, -1)]
        assert found[b] == pytest.approx(max(1e-3, 2 * min(one)))


def test_student_never_shows_less_than_it_holds_for():
    values = np.array([[1e6, 0.0, 0.1, -0.1, 0.05]])
    assert student_p_values([values], over_suspects=False).tolist() == [1e-3]


@pytest.mark.parametrize("members", [6, 12])
def test_student_over_suspects(members):
    values = made(4, members).suspects
    alone = student_p_values([values[:1]], over_suspects=True)
    assert alone == pytest.approx(student_p_values([values[:1]], over_suspects=False))
    rows = stats.zscore(values, axis=1) if members > 9 else values - values.mean(axis=1, keepdims=True)
    largest = rows.max(axis=0)[1:]
    found = student_p_values([values], over_suspects=True)
    for b in range(4):
        p = stats.ttest_ind(rows[b, :1], largest, alternative="greater").pvalue
        assert found[b] == pytest.approx(max(1e-3, p))
