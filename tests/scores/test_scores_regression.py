"""Regression of outputs on outputs, and the fitted weights of a score."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from sac_fast.scores import (
    Score,
    Weights,
    fit_weights,
    unexplained_share,
    unexplained_shares_weighted,
)

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("outputs", [2, 6])
def test_unexplained_share_is_one_minus_r2(outputs):
    source = RNG.normal(size=(50, 4))
    suspect = source @ RNG.normal(size=(4, outputs)) + RNG.normal(size=(50, outputs)) + 7.0
    residual = suspect - LinearRegression().fit(source, suspect).predict(source)
    wanted = (residual**2).sum() / ((suspect - suspect.mean(axis=0)) ** 2).sum()
    found = unexplained_share(torch.from_numpy(source), torch.from_numpy(suspect))
    assert found == pytest.approx(wanted, abs=1e-12)


def test_unexplained_share_at_its_ends():
    source = torch.from_numpy(RNG.normal(size=(50, 4)))
    assert unexplained_share(source, source.clone()) == 0.0
    assert unexplained_share(source, 3e20 * source[:, :2] - 5.0) == pytest.approx(0.0, abs=1e-12)
    assert unexplained_share(source, torch.full((50, 3), 2.0)) == 1.0
    assert unexplained_share(torch.full((50, 3), 0.1), source) == 1.0
    # collinear columns, as log-probabilities have them, explain no more than one of them
    doubled = torch.cat([source, source], dim=1)
    other = torch.from_numpy(RNG.normal(size=(50, 3)))
    assert unexplained_share(doubled, other) == pytest.approx(unexplained_share(source, other), abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "suspect_rows", "message"),
    [
        (5, 5, r"at least 6 rows \(probes\) for a regression on 4 outputs, got 5"),
        (9, 8, "must have 9 rows like source"),
    ],
)
def test_unexplained_share_refuses(rows, suspect_rows, message):
    with pytest.raises(ValueError, match=message):
        unexplained_share(torch.ones(rows, 4), torch.ones(suspect_rows, 4))


def test_weighted_shares_are_those_of_repeated_rows():
    source, suspect, other = (torch.from_numpy(RNG.normal(size=(40, k))) for k in (4, 4, 2))
    suspect = suspect + source
    counts = torch.from_numpy(RNG.multinomial(40, np.full(40, 1 / 40), size=5))
    found = unexplained_shares_weighted(source, [suspect, other], counts)
    assert found.shape == (2, 5)
    for r, of in enumerate(counts):
        rows = torch.repeat_interleave(torch.arange(40), of)
        for s, outputs in enumerate((suspect, other)):
            assert found[s, r].item() == pytest.approx(unexplained_share(source[rows], outputs[rows]), abs=1e-10)


def test_a_regression_has_a_name():
    score = Score.parse("log-softmax(4)/regression@misclassified:300")
    assert (score.metric, score.comparison) == (None, "regression")
    assert score.name == "log-softmax(4)/regression@misclassified:300"
    with pytest.raises(ValueError, match="metric must be one of"):
        Score("raw", "regression", "l1", "plain")
    with pytest.raises(ValueError, match="agreement must come without metric and comparison"):
        Score.parse("agreement/regression@plain")


def test_weights_are_those_of_scikit_learn():
    thefts, independents = RNG.normal(1.0, 1.0, size=(30, 2)), RNG.normal(0.0, 1.0, size=(20, 2))
    origins = ["a"] * 10 + ["b"] * 20
    found = fit_weights(thefts, origins, independents, regularisation=0.05)
    x = (np.vstack([thefts, independents]) - independents.mean(axis=0)) / independents.std(axis=0)
    y = np.repeat([1, 0], [30, 20])
    shares = np.concatenate([np.full(10, 0.25 / 10), np.full(20, 0.25 / 20), np.full(20, 0.5 / 20)])
    # scikit-learn minimises |w|²/2 + C Σ share · loss
    wanted = LogisticRegression(C=1 / 0.05, tol=1e-10, max_iter=10_000).fit(x, y, sample_weight=shares)
    assert (wanted.coef_ > 0).all()  # else the bound at 0 would matter
    np.testing.assert_allclose(found.weights, wanted.coef_[0], atol=1e-4)
    assert found.intercept == pytest.approx(wanted.intercept_[0], abs=1e-4)
    np.testing.assert_allclose(found.distances(thefts), -wanted.predict_log_proba(x[:30])[:, 1], atol=1e-4)


def test_similarity_never_speaks_against_theft():
    # the second statistic is lower for thefts
    thefts = np.column_stack([RNG.normal(1, 1, 30), RNG.normal(-2, 1, 30)])
    found = fit_weights(thefts, ["a"] * 30, RNG.normal(size=(30, 2)), regularisation=0.01)
    assert found.weights[0] > 0
    assert found.weights[1] == 0


def test_distances_do_not_saturate():
    weights = Weights(np.zeros(1), np.ones(1), np.ones(1), 0.0)
    found = weights.distances(np.array([[-1000.0], [0.0], [30.0], [31.0], [1000.0]]))
    assert found[0] == 1000.0
    assert found[1] == pytest.approx(np.log(2))
    assert found[2] > found[3] > found[4] >= 0


@pytest.mark.parametrize(
    ("thefts", "origins", "independents", "regularisation", "message"),
    [
        (np.ones((2, 2)), ["a", "a"], np.ones((3, 1)), 0.1, r"must be \(a, d\) and \(b, d\)"),
        (np.ones((0, 2)), [], np.ones((3, 2)), 0.1, "there must be stolen models"),
        (np.ones((2, 2)), ["a"], np.ones((3, 2)), 0.1, "there must be stolen models"),
        (np.full((2, 2), np.nan), ["a", "a"], np.ones((3, 2)), 0.1, "statistics must be finite"),
        (np.ones((2, 2)), ["a", "a"], np.ones((3, 2)), 0.0, "regularisation must be positive"),
    ],
)
def test_fits_that_cannot_be(thefts, origins, independents, regularisation, message):
    with pytest.raises(ValueError, match=message):
        fit_weights(thefts, origins, independents, regularisation=regularisation)
