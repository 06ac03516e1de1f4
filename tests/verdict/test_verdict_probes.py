"""Resampled probes: replicates against the definition, errors and coverage against fresh probes."""

import json
import math

import numpy as np
import pytest
import torch
from support import definition

from sac_fast.errors import BackendError
from sac_fast.verdict import evaluate_distances, half_samples, probe_bootstrap, probe_counts

METRICS = ["cosine", "pearson", "spearman", "rbf"]


def outputs(n, k, seed):
    return np.random.default_rng(seed).normal(size=(n, k))


def replicate(a, b, w, metric):
    """The stated formula with D written out, pair by pair of different probes."""
    n = len(w)
    apart = np.abs(definition.matrix(a, metric) - definition.matrix(b, metric))
    between = np.outer(w, w).astype(float)
    np.fill_diagonal(between, 0)
    return (1 - 1 / n) * (between * apart).sum() / between.sum() + (w * np.diag(apart)).sum() / n**2


@pytest.mark.parametrize("metric", METRICS)
def test_replicates_by_the_formula(backend, metric):
    source, suspects = outputs(25, 6, 0), {"one": outputs(25, 6, 1), "other": outputs(25, 9, 2)}
    source[3], suspects["one"][7], suspects["other"][3] = 0, 0, 0  # D_ii = 1 but for probe 3 of "other"
    got = probe_bootstrap(source, suspects, metric=metric, resamples=11, seed=5, backend=backend)
    counts = probe_counts(25, 11, seed=5)
    assert got.names == ("one", "other")
    for row, suspect in enumerate(suspects.values()):
        assert got.distances[row] == pytest.approx(definition.distance(source, suspect, metric), abs=1e-12)
        expected = [replicate(source, suspect, w, metric) for w in counts]
        assert got.replicates[row] == pytest.approx(expected, abs=1e-12)
        assert replicate(source, suspect, np.ones(25), metric) == pytest.approx(got.distances[row], abs=1e-12)


def test_float32_outputs_keep_the_stated_precision(backend):
    source, suspect = (torch.from_numpy(outputs(300, 10, s)).float() for s in (0, 1))
    got = probe_bootstrap(source, {"s": suspect}, resamples=5, backend=backend)
    expected = [replicate(source.double(), suspect.double(), w, "cosine") for w in probe_counts(300, 5)]
    assert got.replicates[0] == pytest.approx(expected, abs=2e-6)


def test_probe_counts_are_multinomial():
    counts = probe_counts(10, 20_000, seed=1)
    assert (counts.sum(axis=1) == 10).all()
    # mean 1, variance 1 − 1/n, covariance −1/n
    assert counts.mean(axis=0) == pytest.approx(np.ones(10), abs=4 * math.sqrt(0.9 / 20_000))
    covariance = np.cov(counts.T)
    assert np.diag(covariance) == pytest.approx(np.full(10, 0.9), abs=0.05)
    assert covariance[~np.eye(10, dtype=bool)] == pytest.approx(np.full(90, -0.1), abs=0.04)


def test_two_probes_are_always_both_drawn():
    assert probe_counts(2, 50).tolist() == [[1, 1]] * 50


def models(n, rng):
    """A source and a suspect that err together, on n fresh probes: outputs depend on the probe, not on its index."""
    x = rng.normal(size=(n, 5)) * np.exp(0.5 * rng.normal(size=(n, 1)))
    mix = np.linspace(-1, 1, 30).reshape(5, 6)
    return np.tanh(x @ mix), np.tanh(x @ mix[:, ::-1] + 0.4 * rng.normal(size=(n, 6)))


def test_replicates_stand_around_the_distance():
    """Repeated probes bring no bias: without the correction the mean would be d/n lower, 5 % of it here."""
    source, suspect = models(20, np.random.default_rng(2))
    got = probe_bootstrap(source, {"s": suspect}, resamples=20_000)
    error = got.standard_errors[0] / math.sqrt(20_000)
    assert got.replicates[0].mean() == pytest.approx(got.distances[0], abs=5 * error)
    assert 5 * error < got.distances[0] / 20 / 2


def test_standard_errors_and_intervals_are_those_of_fresh_probes():
    rng, n, trials = np.random.default_rng(3), 60, 150
    truth = (1 - 1 / n) * np.mean([definition.distance(*models(1000, rng)) for _ in range(4)]) * 1000 / 999
    distances, errors, hits = [], [], 0
    for trial in range(trials):
        source, suspect = models(n, rng)
        got = probe_bootstrap(source, {"s": suspect}, resamples=200, seed=trial)
        distances.append(got.distances[0])
        errors.append(got.standard_errors[0])
        interval = got.interval("s")
        hits += interval.low <= truth <= interval.high
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.2)
    # five standard errors below 95 %, for the bootstrap is only asymptotically right
    assert hits / trials >= 0.95 - 5 * math.sqrt(0.95 * 0.05 / trials)


def test_half_samples_have_the_same_error():
    source, suspect = models(120, np.random.default_rng(4))
    halves = half_samples(120, 400, seed=1)
    assert halves.shape == (400, 60)
    assert (np.diff(halves, axis=1) > 0).all()
    assert halves.min() >= 0
    assert halves.max() < 120
    spread = np.std([definition.distance(source[h], suspect[h]) for h in halves])
    expected = probe_bootstrap(source, {"s": suspect}, resamples=400).standard_errors[0]
    assert spread == pytest.approx(expected, rel=0.2)


def test_all_models_meet_the_same_resamples():
    source, suspect = models(40, np.random.default_rng(5))
    got = probe_bootstrap(source, {"one": suspect, "same": suspect, "itself": source}, resamples=20)
    assert (got.replicates[0] == got.replicates[1]).all()
    assert (got.replicates[2] == 0).all()
    assert got.interval("itself").to_dict() == {"low": 0.0, "high": 0.0, "method": "bias-corrected"}


def test_auc_over_probes():
    rng = np.random.default_rng(6)
    source = rng.normal(size=(80, 6))
    near = {f"stolen-{i}": source + 1.0 * rng.normal(size=source.shape) for i in range(5)}
    far = {f"independent-{i}": 0.6 * source + 1.0 * rng.normal(size=source.shape) for i in range(6)}
    got = probe_bootstrap(source, near | far, resamples=200)
    distance = dict(zip(got.names, got.distances, strict=True))
    result = evaluate_distances(
        {"noise": [distance[name] for name in near]},
        {"other": [distance[name] for name in far]},
        stolen_replicates={"noise": got.replicates_of(list(near))},
        independent_replicates={"other": got.replicates_of(list(far))},
        resamples=100,
    )
    interval = result.overall.auc.over_probes
    assert 0 <= interval.low <= result.overall.auc.value <= interval.high <= 1
    assert interval.low < interval.high


def test_goes_into_json():
    got = probe_bootstrap(outputs(20, 3, 0), {"s": outputs(20, 3, 1)}, resamples=30, confidence=0.8)
    report = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert (report["probes"], report["resamples"], report["confidence"]) == (20, 30, 0.8)
    model = report["models"]["s"]
    assert model["over_probes"]["low"] < model["distance"] < model["over_probes"]["high"]
    assert model["standard_error"] == pytest.approx(np.std(got.replicates[0], ddof=1))


GOOD = outputs(5, 3, 0)
BAD_CALLS = [
    (lambda: probe_bootstrap(GOOD, {}), ValueError, "suspects must map at least one name to outputs, got none"),
    (lambda: probe_bootstrap(GOOD, [GOOD]), ValueError, "suspects must map .* got list"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD[:4]}), ValueError, r"suspects\['s'\]: b must have 5 rows like a, got 4"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD * math.nan}), ValueError, r"suspects\['s'\]: b must be finite"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD}, resamples=1), ValueError, "resamples must be at least 2, got 1"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD}, confidence=1.0), ValueError, "confidence must lie strictly"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD}, metric="l3"), ValueError, "metric must be one of"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD}, backend="cuda"), BackendError, "needs tensors on a cuda device"),
    (lambda: probe_bootstrap(GOOD, {"s": GOOD}, resamples=3).interval("t"), KeyError, "name must be one of s, got 't'"),
    (lambda: probe_counts(1, 5), ValueError, "probes must be at least 2, got 1"),
    (lambda: half_samples(3, 5), ValueError, "probes must be at least 4, got 3"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD_CALLS, ids=[words[:40] for *_, words in BAD_CALLS])
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()
