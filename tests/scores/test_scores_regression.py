"""Regression of outputs on outputs, and the fitted weights of a score."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from sac_fast.scores import (
    Score,
    Weights,
    fit_weights,
    resampled_shares,
    unexplained_share,
)

RNG = np.random.default_rng(2)


STRENGTHS = [1e-12, 1e-9, 1e-7, *(10.0 ** np.arange(-6, 1.5, 0.5))]


def left_out(source, suspect, strength, start):
    """The share by definition: scikit-learn fits ridge regression to all probes but one, for each probe."""
    centred = source - source.mean(axis=0)
    alpha = strength * np.linalg.eigvalsh(centred.T @ centred)[-1]
    rest, errors, spread = suspect - start * source if start else suspect, 0.0, 0.0
    for i in range(len(source)):
        others = np.arange(len(source)) != i
        fitted = Ridge(alpha=alpha, solver="svd").fit(source[others], rest[others])
        errors += ((rest[i] - fitted.predict(source[i : i + 1])[0]) ** 2).sum()
        spread += ((suspect[i] - suspect[others].mean(axis=0)) ** 2).sum()
    return errors / spread


@pytest.mark.parametrize(("n", "k", "outputs"), [(50, 4, 2), (50, 4, 4), (30, 28, 28), (20, 60, 5), (20, 60, 60)])
def test_unexplained_share_is_that_of_leave_one_out_ridge_regression(n, k, outputs):
    source = RNG.normal(size=(n, k)) * np.geomspace(1, 0.01, k)
    suspect = source @ RNG.normal(size=(k, outputs)) + 0.1 * RNG.normal(size=(n, outputs)) + 7.0
    centred, theirs = source - source.mean(axis=0), suspect - suspect.mean(axis=0)
    start = (centred * theirs).sum() / (centred**2).sum() if outputs == k else 0.0
    rest = theirs - start * centred if start else theirs
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    basis = np.linalg.svd(centred, full_matrices=False)[0]

    def criterion(strength):  # generalised cross-validation
        kept = values / (values + strength * values.max())
        return ((rest - basis @ (kept[:, None] * (basis.T @ rest))) ** 2).sum() / (n - 1 - kept.sum()) ** 2

    allowed = [s for s in STRENGTHS if (values / (values + s * values.max())).sum() <= 0.9 * (n - 1)]
    wanted = left_out(source, suspect, min(allowed, key=criterion), start)
    found = unexplained_share(torch.from_numpy(source), torch.from_numpy(suspect))
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("n", "k"), [(60, 2), (60, 55), (60, 60), (60, 61), (60, 500), (200, 180), (25, 20_000)])
def test_random_numbers_are_unexplained_for_any_n_and_k(n, k):
    source = torch.from_numpy(RNG.normal(size=(n, k)))
    assert unexplained_share(source, torch.from_numpy(RNG.normal(size=(n, k)))) == pytest.approx(1.0, abs=0.06)
    assert unexplained_share(source, torch.from_numpy(RNG.normal(size=(n, 40)))) == pytest.approx(1.0, abs=0.06)
    assert unexplained_share(source, source.clone()) == 0.0
    # one percent of the variance is noise, which nothing explains
    near = source + 0.1 * torch.from_numpy(RNG.normal(size=(n, k)))
    assert unexplained_share(source, near) == pytest.approx(0.01 / 1.01, rel=0.3)


def test_unexplained_share_at_its_ends():
    source = torch.from_numpy(RNG.normal(size=(50, 4)))
    assert unexplained_share(source, source.clone()) == 0.0
    assert unexplained_share(source, 3e20 * source - 5.0) == pytest.approx(0.0, abs=1e-12)
    assert unexplained_share(source, 3e20 * source[:, :2] - 5.0) == pytest.approx(0.0, abs=1e-12)
    assert unexplained_share(source, torch.full((50, 3), 2.0)) == 1.0
    assert unexplained_share(torch.full((50, 3), 0.1), source) == pytest.approx(1.0)
    assert unexplained_share(source[:2], source[:2].flip(0)) >= 0.0
    # collinear columns, as log-probabilities have them, explain no more than one of them
    doubled = torch.cat([source, source], dim=1)
    other = torch.from_numpy(RNG.normal(size=(50, 3)))
    assert unexplained_share(doubled, other) == pytest.approx(unexplained_share(source, other), abs=1e-9)


def test_few_columns_at_a_time_give_the_same(monkeypatch):
    source, suspect = torch.from_numpy(RNG.normal(size=(2, 30, 11)))
    whole = unexplained_share(source, suspect + source)
    monkeypatch.setattr("sac_fast.scores.regression._MAX_COLUMNS", 3)
    assert unexplained_share(source, suspect + source) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "suspect_rows", "message"),
    [
        (1, 1, r"source must be \(n, k\) with at least 2 rows \(probes\), got \(1, 4\)"),
        (9, 8, "must have 9 rows like source"),
    ],
)
def test_unexplained_share_refuses(rows, suspect_rows, message):
    with pytest.raises(ValueError, match=message):
        unexplained_share(torch.ones(rows, 4), torch.ones(suspect_rows, 4))


def test_resampled_shares():
    source, suspect, other = (torch.from_numpy(RNG.normal(size=(120, k))) for k in (4, 4, 2))
    suspect = suspect + source
    counts = torch.from_numpy(RNG.multinomial(120, np.full(120, 1 / 120), size=400))
    found = resampled_shares(source, [suspect, other, source], counts)
    assert found.shape == (3, 400)
    np.testing.assert_allclose(
        resampled_shares(source, [suspect, other], torch.ones(1, 120))[:, 0],
        [unexplained_share(source, suspect), unexplained_share(source, other)],
        rtol=1e-12,
    )
    assert found[2].max() == 0.0
    # The standard error over fresh probes: source and suspect are known exactly, so that many sets can be drawn.
    fresh = []
    for _ in range(100):
        s = torch.from_numpy(RNG.normal(size=(120, 4)))
        fresh.append(unexplained_share(s, s + torch.from_numpy(RNG.normal(size=(120, 4)))))
    assert found[0].std() == pytest.approx(np.std(fresh), rel=0.4)


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
