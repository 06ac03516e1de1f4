import pytest
import torch

from sac_fast import Fingerprint, FingerprintError, correlation_distance, verify_fingerprints

PROBES = "sha256:" + "a" * 64


def made(seed, name=None, model_hash=None, **provenance):
    outputs = torch.randn(30, 4, generator=torch.Generator().manual_seed(seed))
    about = {"name": name or f"m{seed}", "probe_hash": PROBES, "model_hash": model_hash, **provenance}
    return Fingerprint(outputs, about)


def test_distances_and_p_value():
    source, suspect, nulls = made(0), made(1), [made(seed) for seed in range(2, 11)]
    result = verify_fingerprints(source, suspect, nulls, alpha=0.1, metric="pearson")

    def distance(fp):
        return correlation_distance(source.outputs, fp.outputs, metric="pearson").item()

    assert result.null_distances == {fp.name: distance(fp) for fp in nulls}
    nearer = sum(distance(fp) <= distance(suspect) for fp in nulls)
    assert result.verdict.p_value == (1 + nearer) / 10
    told = result.to_dict()
    assert told["distance"] == distance(suspect)
    assert told["probe_hash"] == PROBES


def test_copy_of_the_source_is_derived():
    source = made(0)
    copy = Fingerprint(source.outputs.clone(), {**source.provenance, "name": "copy"})
    nulls = [made(s) for s in range(1, 10)]
    assert verify_fingerprints(source, copy, nulls, alpha=0.1).verdict.verdict == "derived"
    result = verify_fingerprints(source, copy, nulls, alpha=0.1, metric="cosine")
    assert result.verdict.distance == 0.0
    assert result.verdict.verdict == "derived"


def test_no_nulls_at_all():
    assert verify_fingerprints(made(0), made(1), []).verdict.verdict == "inconclusive"


def test_nulls_of_one_name_are_all_kept():
    result = verify_fingerprints(made(0), made(1), [made(2, "x"), made(3, "x"), made(4, "x")])
    assert len(set(result.null_distances.values())) == 3


def test_a_null_that_bears_a_numbered_name_is_kept():
    # "a (3)" is what the second "a" would be called, being the third null
    result = verify_fingerprints(made(0), made(1), [made(2, "a (3)"), made(3, "a"), made(4, "a")])
    assert result.verdict.null_count == 3
    assert list(result.null_distances)[:2] == ["a (3)", "a"]
    assert len(set(result.null_distances.values())) == 3


def test_null_that_is_no_model_of_its_own():
    one, two = ("sha256:" + digit * 64 for digit in "12")
    with pytest.raises(FingerprintError, match="got 'n' with the weights of the source"):
        verify_fingerprints(made(0, model_hash=one), made(1, model_hash=two), [made(2, "n", model_hash=one)])
    twice = [made(2, "n", model_hash=two), made(3, "o", model_hash=two)]
    with pytest.raises(FingerprintError, match="got 'o' with the weights of the null 'n'"):
        verify_fingerprints(made(0), made(1), twice)


def test_different_preprocessing_is_told():
    source = made(0, preprocessing_hash="p")
    result = verify_fingerprints(source, made(1, preprocessing_hash="q"), [made(2, preprocessing_hash="p")])
    assert result.warnings[0].startswith("preprocessing differs")
    assert "m1" in result.warnings[0]
    assert "m2" not in result.warnings[0]
