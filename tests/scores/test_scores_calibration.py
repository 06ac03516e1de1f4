"""Regression, weights, and the calibration file."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from support.labelled_zoos import make_zoo

from sac_fast.errors import FileFormatError, FingerprintError
from sac_fast.evaluation.fitting import fit_calibration, split_independents
from sac_fast.io.container import load_container, save_container
from sac_fast.scores import (
    Calibration,
    CohortStatistic,
    Score,
    Weights,
    fit_weights,
    unexplained_share,
    unexplained_shares_weighted,
)
from sac_fast.verify.preset import verify_calibrated, verify_fixed

RNG = np.random.default_rng(2)
STATISTICS = (
    CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),
    CohortStatistic(1.0, "labels", "pearson", "misclassified", 60, by_class=True),
)


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


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def fitted(zoo):
    return fit_calibration(zoo, statistics=STATISTICS, regularisation=0.1)


def prints(zoo, *names):
    return [zoo.load_fingerprint("misclassified", name) for name in names]


def test_half_of_the_independents_are_nulls(zoo, fitted):
    cohort, nulls = split_independents(zoo.of_role("independent"), 0.5)
    assert (len(cohort), len(nulls)) == (8, 7)
    assert set(fitted.cohort["misclassified"]) == {m.name for m in cohort}
    assert set(fitted.null) == {m.name for m in nulls}
    assert {m.origin for m in nulls} == {m.origin for m in cohort}
    # adaptive attacks take no part
    assert fitted.attacks == {"finetune-all": 3, "extract-labels": 3, "transfer-all": 3}
    assert split_independents(zoo.of_role("independent"), 0.0)[1] == []


def test_it_tells_thieves_from_nulls(zoo, fitted):
    outputs = {
        m.name: {"misclassified": zoo.load_fingerprint("misclassified", m).outputs} for m in zoo.of_role("stolen")
    }
    found = fitted.distances(outputs)
    assert max(found.values()) < min(fitted.null.values())


def test_what_is_saved_is_read_back(tmp_path, zoo, fitted):
    fitted.save(tmp_path / "c.safetensors")
    again = Calibration.load(tmp_path / "c.safetensors")
    outputs = {"x": {"misclassified": zoo.load_fingerprint("misclassified", "finetune-all-0").outputs}}
    assert again.distances(outputs) == fitted.distances(outputs)
    assert again.null == fitted.null
    assert again.used_hashes == fitted.used_hashes
    assert again.null_hashes == fitted.null_hashes
    assert again.attacks == fitted.attacks


def test_a_verdict_by_the_file(tmp_path, zoo, fitted):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    source, thief = prints(zoo, "source", "extract-labels-0")
    # a suspect must be no model of the fit, so this one is another
    other = dataclasses.replace(thief, provenance={**thief.provenance, "model_hash": None})
    result = verify_calibrated(path, source, other, alpha=0.2)
    assert result.verdict.verdict == "derived"
    assert result.verdict.null_count == 7
    assert (result.metric, result.comparison) == ("calibrated", "−log P")
    with pytest.raises(FingerprintError, match="the suspect must be no model that the calibration holds"):
        verify_calibrated(path, source, thief)
    null = prints(zoo, next(iter(fitted.null)))
    with pytest.raises(FingerprintError, match="a null must be no model that the calibration holds"):
        verify_calibrated(path, source, other, null)
    with pytest.raises(FingerprintError, match="the calibration must be of the source 'extract-labels-0'"):
        verify_calibrated(path, thief, other)
    with pytest.raises(FingerprintError, match="must be of the calibration's probes"):
        verify_calibrated(path, zoo.load_fingerprint("plain", "source"), other)


def test_a_verdict_by_a_fixed_preset(zoo):
    source, thief, *nulls = prints(zoo, "source", "finetune-all-0", *(f"independent-{i}" for i in range(6)))
    result = verify_fixed("robust", source, thief, nulls, 0.2)
    assert result.verdict.verdict == "derived"
    wanted = Score.parse("log-softmax(4)/regression@x").distances(source.outputs, [thief.outputs])
    assert result.verdict.distance == wanted[0]
    assert any("meant for probes of the kind misclassified" in warning for warning in result.warnings)
    with pytest.raises(FingerprintError, match="must be of the same probes"):
        verify_fixed("robust", source, zoo.load_fingerprint("plain", "finetune-all-0"), nulls)
    with pytest.raises(FingerprintError, match="a null must be a model of its own"):
        verify_fixed("robust", source, thief, [*nulls, nulls[0]])
    with pytest.raises(ValueError, match="preset must be one of sac-jc, robust, got 'calibrated'"):
        verify_fixed("calibrated", source, thief, nulls)


def test_nulls_have_no_part_in_the_fit(zoo, fitted):
    name = next(iter(fitted.cohort["misclassified"]))
    with pytest.raises(FingerprintError, match="a null must have no part in the fit"):
        fitted.with_null({name: {"misclassified": zoo.load_fingerprint("misclassified", name)}})
    with pytest.raises(ValueError, match="must be on misclassified, missing 'misclassified'"):
        fitted.with_null({"x": {"plain": zoo.load_fingerprint("plain", next(iter(fitted.null)))}})


def test_neither_the_source_nor_a_model_twice_is_a_null(zoo, fitted):
    source, one, other = prints(zoo, "source", *list(fitted.null)[:2])
    with pytest.raises(FingerprintError, match="a null must be no copy of the source, got 'copy'"):
        fitted.with_null({"copy": {"misclassified": source}})
    with pytest.raises(FingerprintError, match="must all be different models, got the null 'a' and the null 'b'"):
        fitted.with_null({"a": {"misclassified": one}, "b": {"misclassified": one}})
    assert len(fitted.with_null({"a": {"misclassified": one}, "b": {"misclassified": other}}).null) == 2
    # what has no hash cannot be told apart
    unknown = dataclasses.replace(one, provenance={**one.provenance, "model_hash": None})
    twice = fitted.with_null({"a": {"misclassified": unknown}, "b": {"misclassified": unknown}})
    assert (len(twice.null), twice.null_hashes) == (2, {})


@pytest.mark.parametrize(
    ("of", "copy", "message"),
    [
        ("source", "independent-0", "got the source and the independent 'independent-0'"),
        ("source", "finetune-all-0", "got the source and the stolen 'finetune-all-0'"),
        ("finetune-all-1", "finetune-all-0", "got the stolen 'finetune-all-0' and the stolen 'finetune-all-1'"),
        ("COHORT", "finetune-all-0", "got the independent 'COHORT' and the stolen 'finetune-all-0'"),
        ("COHORT", "NULL", "a null must have no part in the fit, got 'NULL' with the weights of 'COHORT'"),
        ("source", "NULL", "a null must be no copy of the source, got 'NULL'"),
    ],
)
def test_a_zoo_with_a_copied_model_is_refused(tmp_path, fitted, of, copy, message):
    """Both names are told, though the copied file bears the name of the other."""
    names = {"COHORT": next(iter(fitted.cohort["misclassified"])), "NULL": next(iter(fitted.null))}
    for word, name in names.items():
        of, copy, message = (text.replace(word, name) for text in (of, copy, message))
    zoo = make_zoo(tmp_path)
    target = zoo.fingerprint_file("misclassified", copy)
    target.unlink()
    target.symlink_to(zoo.fingerprint_file("misclassified", of))
    with pytest.raises(FingerprintError, match=message):
        fit_calibration(zoo, statistics=STATISTICS)


def test_a_file_that_holds_the_source_as_a_null_is_refused(tmp_path, zoo, fitted):
    """Such files were written once."""
    source, suspect = prints(zoo, "source", "adaptive-correlation-0")
    path = tmp_path / "c.safetensors"
    null_hashes = {**fitted.null_hashes, source.model_hash: "copy"}
    dataclasses.replace(fitted, null={**fitted.null, "copy": 0.0}, null_hashes=null_hashes).save(path)
    with pytest.raises(FingerprintError, match=r"the source must be no model .* got 'source' \(there: 'copy'\)"):
        verify_calibrated(path, source, suspect)


def test_nulls_of_the_file_are_not_replaced_by_later_ones(tmp_path, zoo, fitted):
    source, suspect, one, two, three = prints(
        zoo, "source", "adaptive-correlation-0", *list(fitted.null)[:2], "adaptive-correlation-1"
    )
    # the third null, were it not taken, would be called "n (3)"
    fitted.with_null({"n (3)": {"misclassified": one}, "n": {"misclassified": two}}).save(tmp_path / "c")
    later = dataclasses.replace(three, provenance={**three.provenance, "name": "n"})
    result = verify_calibrated(tmp_path / "c", source, suspect, [later])
    assert result.verdict.null_count == 3
    assert len(set(result.null_distances.values())) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [-1.0, 0.0]}, "weights must be at least 0"),
        ({"deviations": [0.0, 1.0]}, "deviations above 0"),
        ({"weights": [1.0]}, "expected 2 numbers"),
        ({"means": ["1", 2]}, "expected 2 numbers"),
        ({"intercept": True}, "expected 1 numbers"),
        ({"statistics": ["given-cohort(1)/raw/rbf@misclassified"] * 2}, "metric must be one of"),
        ({"statistics": []}, "expected 0 numbers"),
        ({"statistics": 3}, "expected a list"),
        ({"probe_hashes": {"misclassified": "x"}}, "64 digits"),
        ({"probe_hashes": {"other": "sha256:" + "0" * 64}}, "of the statistics' probe sets"),
        ({"cohort": ["a", "a", "b"]}, "at least 3 different models"),
        ({"cohort": ["a", "b", "c"]}, "other arrays"),
        ({"null": {"a": -1.0}}, "finite and not negative"),
        ({"null": {"a": "1"}}, "finite and not negative"),
        ({"null": []}, "expected an object"),
        ({"source_hash": "x"}, "64 digits"),
        ({"used_hashes": {"x": "y"}}, "64 digits"),
    ],
)
def test_a_file_of_wrong_parts_is_refused(tmp_path, fitted, change, message):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    arrays, metadata = load_container(path, "calibration")
    save_container(path, "calibration", arrays, {**metadata, **change})
    with pytest.raises(FileFormatError, match=message):
        Calibration.load(path)


def test_wrong_arrays_are_refused(tmp_path, fitted):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    arrays, metadata = load_container(path, "calibration")
    for change, message in (
        ({"misclassified/0": arrays["misclassified/0"][:-1]}, "outputs must have 80 rows like the source's, got 79"),
        ({"misclassified/source": np.full((80, 5), np.nan, np.float32)}, "NaN or Inf"),
        ({"misclassified/labels": np.zeros(79, np.int64)}, "labels must be 80 numbers"),
        ({"misclassified/labels": np.zeros(80, np.int32)}, "labels must be 80 numbers"),
        ({"misclassified/labels": np.full(80, -1)}, "labels must be 80 numbers"),
        ({"misclassified/1": np.zeros((80, 5), np.int32)}, "float32 or float64"),
    ):
        save_container(path, "calibration", {**arrays, **change}, metadata)
        with pytest.raises(FileFormatError, match=message):
            Calibration.load(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileFormatError):
        Calibration.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null_share": 1.0}, "null_share must be at least 0 and below 1"),
        ({"null_share": 0.9}, "at least 4 independents besides the nulls"),
        ({"statistics": (CohortStatistic(0.1, "raw", "pearson", "cutmix"),)}, "must have the probe sets cutmix"),
    ],
)
def test_fits_that_are_refused(zoo, options, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(zoo, **{"statistics": STATISTICS, **options})
