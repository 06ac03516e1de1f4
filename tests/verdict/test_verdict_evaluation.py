"""evaluate_distances and its intervals: against the single figures, scipy.stats.bootstrap and simulation."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from sac_fast.verdict import (
    auc,
    benjamini_hochberg,
    calibrated_threshold,
    conformal_p_value,
    evaluate_distances,
    holm,
    random_split_check,
    transfer_check,
    welch_p_value,
)


def zoo(seed=0):
    rng = np.random.default_rng(seed)
    stolen = {"finetune-all": rng.normal(0, 1, 9), "extract-labels": rng.normal(1.5, 1, 12), "same-data": [0.5]}
    independents = {"other-data": rng.normal(3, 1, 14), "same-data": rng.normal(2, 1, 17)}
    return stolen, independents


# Definitions of the rates, independent of the package's, which compute many resamples at once.
def tpr_at_fpr(near, far, rate):
    near, far = np.asarray(near), np.asarray(far)
    thresholds = np.concatenate([[-np.inf], far, near])[:, None]
    return (near <= thresholds).mean(axis=1)[(far <= thresholds).mean(axis=1) <= rate].max()


def f1_at_rate(near, far, rate):
    if 1 / (1 + len(far)) > rate:
        return None
    near, far = np.asarray(near), np.asarray(far)
    found = ((1 + (far <= near[:, None]).sum(axis=1)) / (1 + len(far)) <= rate).sum()
    # an independent among the others: itself is one of those not farther
    wrong = ((far <= far[:, None]).sum(axis=1) / len(far) <= rate).sum()
    return 2 * found / (found + wrong + len(near))


STOLEN, INDEPENDENTS = zoo()
NULL = np.concatenate(list(INDEPENDENTS.values()))
ALL = np.concatenate(list(STOLEN.values()))


@pytest.fixture(scope="module")
def evaluation():
    return evaluate_distances(STOLEN, INDEPENDENTS, alpha=0.1, resamples=300, splits=200)


def test_figures_are_those_of_the_single_functions(evaluation):
    cells = [(evaluation.overall, ALL, NULL)]
    cells += [(evaluation.attacks[a], STOLEN[a], NULL) for a in STOLEN]
    cells += [(evaluation.null_kinds[k], ALL, INDEPENDENTS[k]) for k in INDEPENDENTS]
    cells += [(evaluation.cells[a][k], STOLEN[a], INDEPENDENTS[k]) for a in STOLEN for k in INDEPENDENTS]
    for cell, near, far in cells:
        assert (cell.derived_count, cell.independent_count) == (len(near), len(far))
        assert cell.auc.value == pytest.approx(auc(near, far), abs=1e-12)
        assert cell.tpr_at_fpr["0.01"].value == pytest.approx(tpr_at_fpr(near, far, 0.01), abs=1e-12)
        assert cell.tpr_at_fpr["0.05"].value == pytest.approx(tpr_at_fpr(near, far, 0.05), abs=1e-12)
        assert cell.f1.value == pytest.approx(f1_at_rate(near, far, 0.1), abs=1e-12)
        assert cell.threshold == calibrated_threshold(far, 0.1)
        p = [conformal_p_value(d, far) for d in near]
        assert cell.median_p_value == np.median(p)
        assert cell.detected.value == np.mean(np.array(p) <= 0.1)
        assert cell.attainable_p_value == 1 / (1 + len(far))
        assert cell.welch_p_value == welch_p_value(near, far)
    assert evaluation.attacks["same-data"].welch_p_value is None  # one model


def test_means_over_attacks(evaluation):
    expected = np.mean([auc(STOLEN[a], NULL) for a in STOLEN])
    assert evaluation.mean_over_attacks["auc"].value == pytest.approx(expected, abs=1e-12)
    expected = np.mean([tpr_at_fpr(STOLEN[a], NULL, 0.05) for a in STOLEN])
    assert evaluation.mean_over_attacks["tpr_at_fpr:0.05"].value == pytest.approx(expected, abs=1e-12)


def test_many_suspects_splits_and_kinds(evaluation):
    p = np.array([conformal_p_value(d, NULL) for d in ALL])
    corrected = {"conformal": p, "holm": holm(p), "benjamini_hochberg": benjamini_hochberg(p)}
    for name, values in corrected.items():
        assert np.concatenate(list(evaluation.p_values[name].values())).tolist() == values.tolist()
    assert list(evaluation.p_values["holm"]) == list(STOLEN)
    assert evaluation.found_at_rate == {
        "none": (p <= 0.1).mean(),
        "holm": (corrected["holm"] <= 0.1).mean(),
        "benjamini_hochberg": (corrected["benjamini_hochberg"] <= 0.1).mean(),
    }
    assert evaluation.random_splits == [random_split_check(NULL, r, splits=200) for r in (0.01, 0.05, 0.1)]
    expected = transfer_check(INDEPENDENTS["other-data"], INDEPENDENTS["same-data"], 0.1)
    assert evaluation.transfer == {
        "other-data": {"same-data": expected},
        "same-data": {"other-data": transfer_check(INDEPENDENTS["same-data"], INDEPENDENTS["other-data"], 0.1)},
    }


def test_goes_into_json_and_repeats_itself(evaluation):
    text = json.dumps(evaluation.to_dict(), allow_nan=False)
    again = evaluate_distances(STOLEN, INDEPENDENTS, alpha=0.1, resamples=300, splits=200)
    assert json.dumps(again.to_dict()) == text
    other = evaluate_distances(STOLEN, INDEPENDENTS, alpha=0.1, resamples=300, splits=200, seed=1)
    assert other.overall.auc.value == evaluation.overall.auc.value
    assert other.overall.auc.over_models != evaluation.overall.auc.over_models


def scipy_auc(near, far, axis):
    near, far = np.moveaxis(near, axis, -1), np.moveaxis(far, axis, -1)
    apart = near[..., :, None] - far[..., None, :]
    return ((apart < 0) + 0.5 * (apart == 0)).mean(axis=(-1, -2))


def test_auc_interval_is_that_of_scipy():
    near, far = np.random.default_rng(1).normal(0, 1, 40), np.random.default_rng(2).normal(1.2, 1, 30)
    ours = evaluate_distances({"a": near}, {"k": far}, resamples=10_000).overall.auc.over_models
    theirs = scipy.stats.bootstrap(
        (near, far), scipy_auc, n_resamples=10_000, method="BCa", vectorized=True, batch=1000, random_state=0
    ).confidence_interval
    assert ours.method == "bca"
    # Monte Carlo error of the low quantile of 10 000 draws: about 0.002 here
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    plain = scipy.stats.bootstrap(
        (near, far), scipy_auc, n_resamples=2000, method="percentile", vectorized=True, batch=1000, random_state=0
    ).confidence_interval
    assert plain.low > ours.low + 0.008  # the correction is there to be seen


@pytest.mark.parametrize(("figure", "single"), [("tpr", tpr_at_fpr), ("f1", f1_at_rate)])
def test_rate_intervals_are_percentiles_of_resampled_models(figure, single):
    near, far = np.random.default_rng(3).normal(0, 1, 15), np.random.default_rng(4).normal(1.2, 1, 25)
    result = evaluate_distances({"a": near}, {"k": far}, alpha=0.2, false_positive_rates=[0.2], resamples=8000).overall
    ours = (result.tpr_at_fpr["0.2"] if figure == "tpr" else result.f1).over_models
    rng = np.random.default_rng(5)
    drawn = np.array([single(rng.choice(near, 15), rng.choice(far, 25), 0.2) for _ in range(4000)])
    # the figures move in steps: compare where the ends stand among the draws, ± 4 standard errors
    for end, share in ((ours.low, 0.025), (ours.high, 0.975)):
        assert (drawn < end - 1e-9).mean() <= share + 0.01
        assert (drawn <= end + 1e-9).mean() >= share - 0.01
    assert ours.method == "percentile"


def test_f1_has_an_interval_with_just_enough_nulls():
    """19 nulls are the fewest for α = 0.05: one fewer, as the rows for BCa have it, would leave F1 undefined."""
    near, far = np.random.default_rng(3).normal(0, 1, 30), np.random.default_rng(4).normal(1, 1, 20)
    for nulls in (19, 20):
        f1 = evaluate_distances({"a": near}, {"k": far[:nulls]}, resamples=200, splits=1).overall.f1
        assert f1.over_models.method == "percentile"
        assert f1.over_models.low < f1.value < f1.over_models.high
        assert f1.note is None


def test_groups_are_resampled_by_themselves():
    """Two attacks that never differ within themselves: a resample of each leaves every figure as it is."""
    result = evaluate_distances({"a": [1.0] * 4, "b": [3.0] * 8}, {"k": [2.0] * 20}, resamples=100)
    assert result.overall.auc.value == pytest.approx(1 / 3)
    assert result.overall.auc.over_models is None
    assert "no interval" in result.overall.auc.note


def test_auc_intervals_cover():
    """Simulated: AUC = Φ(1/√2·δ) for normal distances δ apart; 95 % intervals over 20 + 20 models."""
    rng, trials, truth = np.random.default_rng(6), 120, scipy.stats.norm.cdf(1.5 / math.sqrt(2))
    hits = 0
    for trial in range(trials):
        near, far = rng.normal(0, 1, 20), rng.normal(1.5, 1, 20)
        interval = evaluate_distances(
            {"a": near}, {"k": far}, resamples=300, splits=1, checked_rates=[], false_positive_rates=[], seed=trial
        ).overall.auc.over_models
        hits += interval.low <= truth <= interval.high
    assert hits / trials >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_perfect_separation_is_no_certainty():
    result = evaluate_distances({"a": [0.1, 0.2, 0.3]}, {"k": range(1, 41)}, resamples=100).overall
    for figure in (result.auc, result.tpr_at_fpr["0.05"]):
        assert (figure.value, figure.over_models.method) == (1.0, "clopper-pearson")
        # three agreed: the lower end solves p³ = 0.025
        assert figure.over_models.low == pytest.approx(0.025 ** (1 / 3))
        assert figure.over_models.high == 1.0


def test_replicates_that_agree_are_no_certainty_over_probes():
    near, far = np.array([0.1, 0.2]), np.arange(1.0, 31.0)
    drawn = np.random.default_rng(0).uniform(-0.05, 0.05, 20)
    result = evaluate_distances(
        {"a": near}, {"k": far}, resamples=20, splits=1,
        stolen_replicates={"a": near[:, None] + drawn}, independent_replicates={"k": far[:, None] + drawn},
    )  # fmt: skip
    for figure in (result.overall.auc, result.overall.f1, result.mean_over_attacks["auc"]):
        assert figure.over_probes is None
        assert "no interval over probes: no resample of them differs" in figure.note


def test_probe_intervals_are_figures_of_the_replicates():
    rng = np.random.default_rng(7)
    near = {a: np.asarray(v)[:, None] + rng.normal(0, 0.3, (len(v), 150)) for a, v in STOLEN.items()}
    far = {k: np.asarray(v)[:, None] + rng.normal(0, 0.3, (len(v), 150)) for k, v in INDEPENDENTS.items()}
    result = evaluate_distances(
        STOLEN,
        INDEPENDENTS,
        alpha=0.1,
        resamples=50,
        stolen_replicates=near,
        independent_replicates=far,
    )
    pooled_near, pooled_far = np.concatenate(list(near.values())).T, np.concatenate(list(far.values())).T
    for figure, single in [
        (result.overall.auc, auc),
        (result.overall.tpr_at_fpr["0.05"], lambda n, f: tpr_at_fpr(n, f, 0.05)),
        (result.overall.f1, lambda n, f: f1_at_rate(n, f, 0.1)),
    ]:
        drawn = np.array([single(n, f) for n, f in zip(pooled_near, pooled_far, strict=True)])
        # scikit-learn gives one area in two roundings
        drawn, value = np.round(drawn, 12), round(figure.value, 12)
        # bias-corrected percentiles, by the book
        z = scipy.stats.norm.ppf(((drawn < value).mean() + (drawn <= value).mean()) / 2)
        ends = scipy.stats.norm.cdf(2 * z + scipy.stats.norm.ppf([0.025, 0.975]))
        assert (figure.over_probes.low, figure.over_probes.high) == pytest.approx(
            tuple(np.quantile(drawn, ends)), abs=1e-9
        )
        assert figure.over_probes.method == "bias-corrected"
    assert result.mean_over_attacks["auc"].over_probes is not None
    assert evaluate_distances(STOLEN, INDEPENDENTS, resamples=50).overall.auc.over_probes is None


def test_scores_need_not_be_distances():
    stolen = {"a": [-3.0, -2.5, 0.1]}
    assert evaluate_distances(stolen, {"k": [-2.7, 1.0]}, resamples=50).overall.auc.value == 4 / 6


def test_too_few_independents_are_inconclusive():
    result = evaluate_distances({"a": [0.1, 0.2]}, {"k": [1.0]}, resamples=50)
    cell = result.overall
    assert cell.auc.value == 1.0
    assert (cell.threshold, cell.f1.value, cell.detected.value, cell.welch_p_value) == (None,) * 4
    assert "inconclusive: 1 independents give no p-value below 0.5" in cell.f1.note
    assert "too few for a rate of 0.05" in cell.tpr_at_fpr["0.05"].note
    assert result.random_splits == []
    assert result.transfer == {"k": {}}
    json.dumps(result.to_dict(), allow_nan=False)


def test_all_distances_equal():
    result = evaluate_distances({"a": [0.5] * 5}, {"k": [0.5] * 30}, resamples=50)
    cell = result.overall
    assert (cell.auc.value, cell.tpr_at_fpr["0.05"].value, cell.f1.value) == (0.5, 0.0, 0.0)
    assert (cell.welch_p_value, cell.detected.value, cell.median_p_value) == (None, 0.0, 1.0)
    assert cell.auc.over_models is None


REPLICATES = {"a": np.ones((2, 5))}
BAD_CALLS = [
    (lambda: evaluate_distances({}, {"k": [1.0]}), ValueError, "stolen must hold at least one group .* got none"),
    (lambda: evaluate_distances({"a": []}, {"k": [1.0]}), ValueError, r"stolen\['a'\] must hold at least one"),
    (lambda: evaluate_distances({"a": [1.0]}, {}), ValueError, "independents must hold at least one group"),
    (lambda: evaluate_distances([1.0], {"k": [1.0]}), TypeError, "stolen must map names to distances, got list"),
    (lambda: evaluate_distances({3: [1.0]}, {"k": [1.0]}), TypeError, "stolen must have names as keys, got 3"),
    (lambda: evaluate_distances({"a": [math.nan]}, {"k": [1.0]}), ValueError, r"stolen\['a'\] must be finite, got nan"),
    (lambda: evaluate_distances({"a": [1]}, {"k": [math.inf]}), ValueError, r"independents\['k'\] must be finite"),
    (lambda: evaluate_distances({"a": [1]}, {"k": [1]}, confidence=1), ValueError, "confidence must lie strictly"),
    (lambda: evaluate_distances({"a": [1]}, {"k": [1]}, resamples=0), ValueError, "resamples must be at least 1"),
    (lambda: evaluate_distances({"a": [1]}, {"k": [1]}, seed=-1), ValueError, "seed must not be negative, got -1"),
    (
        lambda: evaluate_distances({"a": [1, 2]}, {"k": [1]}, stolen_replicates=REPLICATES),
        ValueError,
        "independent_replicates must be given where the other",
    ),
    (
        lambda: evaluate_distances(
            {"a": [1, 2]}, {"k": [1]}, stolen_replicates=REPLICATES, independent_replicates={"k": np.ones((1, 4))}
        ),
        ValueError,
        r"independent_replicates\['k'\] must have shape \(1, 5\), got \(1, 4\)",
    ),
    (
        lambda: evaluate_distances(
            {"b": [1, 2]}, {"k": [1]}, stolen_replicates=REPLICATES, independent_replicates={"k": np.ones((1, 5))}
        ),
        ValueError,
        r"stolen_replicates must have the names \['b'\], got \['a'\]",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD_CALLS, ids=[words[:40] for *_, words in BAD_CALLS])
def test_errors_name_argument_expected_and_got(call, error, words):
    with pytest.raises(error, match=words):
        call()
