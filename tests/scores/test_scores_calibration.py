"""Calibration on a labelled zoo, and the calibration file."""

import dataclasses

import numpy as np
import pytest
from support.labelled_zoos import make_zoo

from sac_fast.errors import FileFormatError, FingerprintError
from sac_fast.evaluation.fitting import fit_calibration, split_independents
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
