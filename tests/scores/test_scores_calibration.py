"""Calibration on a labelled zoo, and the calibration file."""

import dataclasses

import numpy as np
import pytest
from support.labelled_zoos import make_zoo

from sac_fast.errors import FileFormatError, FingerprintError
from sac_fast.evaluation.fitting import fit_calibration
from sac_fast.fingerprint import Fingerprint
from sac_fast.io.container import load_container, save_container
from sac_fast.scores import (
    Calibration,
    CohortStatistic,
    Score,
)
from sac_fast.verify.preset import verify_calibrated, verify_fixed

STATISTICS = (
    CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),
    CohortStatistic(1.0, "labels", "pearson", "misclassified", 60, by_class=True),
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def fitted(zoo):
    return fit_calibration(zoo, statistics=STATISTICS, regularisation=0.1)


def prints(zoo, *names):
    return [zoo.load_fingerprint("misclassified", name) for name in names]


def outputs_of(zoo, *names):
    return {name: {"misclassified": fp.outputs} for name, fp in zip(names, prints(zoo, *names), strict=True)}


def test_all_independents_are_cohort_and_nulls(zoo, fitted):
    names = [m.name for m in zoo.of_role("independent")]
    assert list(fitted.cohort["misclassified"]) == names
    assert fitted.kinds == {m.name: m.origin for m in zoo.of_role("independent")}
    # adaptive attacks take no part
    assert fitted.attacks == {"finetune-all": 3, "extract-labels": 3, "transfer-all": 3}
    assert list(fitted.thefts["misclassified"]) == list(fitted.origins)
    found = fitted.conformal_distances(*outputs_of(zoo, "adaptive-correlation-0").values())
    assert found.shape == (16,)
    assert found[0] < found[1:].min()


def test_suspect_and_nulls_have_the_same_role(zoo, fitted):
    """Whichever of the models is the suspect, each has the same distance, and so has any order of the nulls."""
    models = outputs_of(zoo, *(f"independent-{i}" for i in range(6)))
    wanted = fitted.conformal_distances(models["independent-0"], {k: models[k] for k in list(models)[1:]})
    for number, suspect in enumerate(models):
        others = {name: models[name] for name in reversed(models) if name != suspect}
        found = dict(zip([suspect, *others], fitted.conformal_distances(models[suspect], others), strict=True))
        assert found[suspect] == pytest.approx(wanted[number], rel=1e-6)
        assert [found[name] for name in models] == pytest.approx(wanted.tolist(), rel=1e-6)


def test_conformal_distances_are_a_fit_with_the_suspect_among_the_independents(zoo, fitted):
    names = [m.name for m in zoo.of_role("independent")]
    suspect = prints(zoo, "extract-labels-0")[0].outputs
    prints_of = {name: fp for name, fp in zip(names, prints(zoo, *names), strict=True)}
    about = {**next(iter(prints_of.values())).provenance, "model_hash": None}
    again = Calibration.fit(
        {"misclassified": prints(zoo, "source")[0]},
        {"misclassified": {**prints_of, "x": Fingerprint(suspect, about)}},
        {"misclassified": dict(zip(fitted.origins, prints(zoo, *fitted.origins), strict=True))},
        fitted.origins,
        STATISTICS,
        labels=fitted.labels,
        regularisation=0.1,
    )
    # a model outside the fit is judged with the same cohort: all but itself
    alone = Calibration.distances(dataclasses.replace(fitted, weights=again.weights), {"x": {"misclassified": suspect}})
    assert fitted.conformal_distances({"misclassified": suspect})[0] == pytest.approx(alone["x"], rel=1e-6)


def test_what_is_saved_is_read_back(tmp_path, zoo, fitted):
    fitted.save(tmp_path / "c.safetensors")
    again = Calibration.load(tmp_path / "c.safetensors")
    outputs = {"x": {"misclassified": zoo.load_fingerprint("misclassified", "finetune-all-0").outputs}}
    assert again.distances(outputs) == fitted.distances(outputs)
    assert again.conformal_distances(outputs["x"]).tolist() == fitted.conformal_distances(outputs["x"]).tolist()
    for field in ("used_hashes", "attacks", "origins", "kinds", "regularisation", "null"):
        assert getattr(again, field) == getattr(fitted, field)


def test_a_verdict_by_the_file(tmp_path, zoo, fitted):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    source, thief = prints(zoo, "source", "extract-labels-0")
    # a suspect must be no model of the fit, so this one is another
    other = Fingerprint(thief.array, {**thief.provenance, "model_hash": None})
    kinds = ("same-data-same-architecture", "same-data", "other-data")
    assert verify_calibrated(path, source, other, alpha=0.2).verdict.verdict == "inconclusive"  # of any kind
    result = verify_calibrated(path, source, other, alpha=0.2, kinds=kinds)
    assert result.verdict.verdict == "derived"
    assert result.verdict.by_kind == dict.fromkeys(kinds, 1 / 6)
    assert (result.score, result.verdict.null_count) == ("calibrated, −log P", 15)
    with pytest.raises(FingerprintError, match="the suspect must be no model that the calibration holds"):
        verify_calibrated(path, source, thief)
    null = prints(zoo, "independent-0")
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


def test_outputs_on_other_probes_are_refused(zoo, fitted):
    with pytest.raises(ValueError, match="must be on misclassified, missing 'misclassified'"):
        fitted.conformal_distances({"plain": prints(zoo, "source")[0].outputs})


@pytest.mark.parametrize(
    ("of", "copy", "message"),
    [
        ("source", "independent-0", "got the source and the independent 'independent-0'"),
        ("source", "finetune-all-0", "got the source and the stolen 'finetune-all-0'"),
        ("finetune-all-1", "finetune-all-0", "got the stolen 'finetune-all-0' and the stolen 'finetune-all-1'"),
        ("independent-3", "finetune-all-0", "got the independent 'independent-3' and the stolen 'finetune-all-0'"),
        ("independent-3", "independent-4", "got the independent 'independent-3' and the independent 'independent-4'"),
    ],
)
def test_a_zoo_with_a_copied_model_is_refused(tmp_path, of, copy, message):
    """Both names are told, though the copied file bears the name of the other."""
    zoo = make_zoo(tmp_path)
    target = zoo.fingerprint_file("misclassified", copy)
    target.unlink()
    target.symlink_to(zoo.fingerprint_file("misclassified", of))
    with pytest.raises(FingerprintError, match=message):
        fit_calibration(zoo, statistics=STATISTICS)


@pytest.fixture
def first_form(tmp_path, fitted):
    """A calibration as it was written once: distances of nulls, no stolen models."""
    null = {f"independent-{i}": 5.0 + i for i in range(3)}
    hashes = {h: name for h, name in fitted.used_hashes.items() if name in null}
    used = {h: name for h, name in fitted.used_hashes.items() if name not in null}
    old = dataclasses.replace(
        fitted, thefts={}, origins={}, kinds={}, null=null, null_hashes=hashes, used_hashes=used, regularisation=0.0
    )
    path = tmp_path / "old.safetensors"
    old.save(path)
    arrays, metadata = load_container(path, "calibration")
    for later in ("thefts", "origins", "kinds", "regularisation"):
        del metadata[later]
    save_container(path, "calibration", arrays, metadata)
    return path


def test_a_file_of_the_first_form_still_judges(zoo, first_form):
    source, suspect = prints(zoo, "source", "adaptive-correlation-0")
    result = verify_calibrated(first_form, source, suspect, alpha=0.25)
    old = Calibration.load(first_form)
    assert result.verdict.distance == old.distances(outputs_of(zoo, "adaptive-correlation-0"))["adaptive-correlation-0"]
    assert (result.verdict.verdict, result.verdict.by_kind) == ("derived", {"undeclared": 0.25})
    assert sorted(result.null_distances.values()) == [5.0, 6.0, 7.0]
    with pytest.raises(ValueError, match="got one of the first form"):
        old.conformal_distances({"misclassified": suspect.outputs})


def test_a_file_that_holds_the_source_as_a_null_is_refused(tmp_path, zoo, first_form):
    """Such files were written once."""
    source, suspect = prints(zoo, "source", "adaptive-correlation-0")
    old = Calibration.load(first_form)
    null_hashes = {**old.null_hashes, source.model_hash: "copy"}
    dataclasses.replace(old, null={**old.null, "copy": 0.0}, null_hashes=null_hashes).save(tmp_path / "c")
    with pytest.raises(FingerprintError, match=r"the source must be no model .* got 'source' \(there: 'copy'\)"):
        verify_calibrated(tmp_path / "c", source, suspect)


def test_nulls_of_the_file_are_not_replaced_by_later_ones(zoo, first_form):
    source, suspect, later = prints(zoo, "source", "adaptive-correlation-0", "adaptive-correlation-1")
    # the fourth null, were it not taken, would be called "independent-0 (4)"
    later = Fingerprint(later.array, {**later.provenance, "name": "independent-0"})
    result = verify_calibrated(first_form, source, suspect, [later])
    assert result.verdict.null_count == 4
    assert len(set(result.null_distances.values())) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [-1.0, 0.0]}, "weights must be at least 0"),
        ({"deviations": [0.0, 1.0]}, "deviations above 0"),
        ({"weights": [1.0]}, "expected 2 numbers"),
        ({"means": ["1", 2]}, "expected 2 numbers"),
        ({"intercept": True}, "expected 2 numbers"),
        ({"regularisation": 0.0}, "regularisation must be above 0"),
        ({"origins": {}}, "origins must be of the stolen models"),
        ({"kinds": {"independent-0": "twin"}}, "kind must be one of"),
        ({"kinds": {"other": "same-data"}}, "kinds must be of the cohort"),
        ({"statistics": ["given-cohort(1)/raw/rbf@misclassified"] * 2}, "metric must be one of"),
        ({"statistics": []}, "expected 0 numbers"),
        ({"statistics": 3}, "expected a list"),
        ({"probe_hashes": {"misclassified": "x"}}, "64 digits"),
        ({"probe_hashes": {"other": "sha256:" + "0" * 64}}, "of the statistics' probe sets"),
        ({"cohort": ["a", "a", "b"]}, "at least 3 different models"),
        ({"cohort": ["a", "b", "c"], "kinds": {}}, "other arrays"),
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
        ({"statistics": (CohortStatistic(0.1, "raw", "pearson", "cutmix"),)}, "must have the probe sets cutmix"),
    ],
)
def test_fits_that_are_refused(zoo, options, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(zoo, **{"statistics": STATISTICS, **options})
