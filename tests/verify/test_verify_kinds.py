"""Null pools by kind from fingerprints: what is counted, what is required, what is warned of."""

import pytest
import torch

from sac_fast import Fingerprint, FingerprintError, verify_fingerprints
from sac_fast.verify.nulls import collect_nulls

PROBES = "sha256:" + "a" * 64
N, K = 40, 4
NEAREST = "same-data-same-architecture"


def noise(seed, k=K):
    return torch.randn(N, k, generator=torch.Generator().manual_seed(seed))


def made(outputs, name, kind=None, **provenance):
    return Fingerprint(outputs, {"name": name, "probe_hash": PROBES, "kind": kind, **provenance})


SOURCE = made(noise(0), "source")


def nulls_of(kind, count, first, near=0.0):
    """Nulls that share a part of the source's outputs."""
    return [made(near * SOURCE.outputs + noise(first + i), f"{kind}-{i}", kind) for i in range(count)]


def test_a_kind_nearer_to_the_source_than_the_others_decides():
    near, far = nulls_of(NEAREST, 9, 100, near=2.0), nulls_of("other-data", 9, 200)
    honest = made(1.8 * SOURCE.outputs + noise(300), "honest")
    undeclared = [fp.with_kind(None) for fp in far]
    wrong = verify_fingerprints(SOURCE, honest, undeclared, alpha=0.1)
    assert (wrong.verdict.verdict, wrong.verdict.by_kind) == ("derived", {"undeclared": 0.1})
    assert wrong.hypothesis == "The suspect is one more model like these 9 nulls of undeclared kind."
    assert "declare no kind" in wrong.conditions[1]
    right = verify_fingerprints(SOURCE, honest, [*far, *near], alpha=0.1)
    assert right.verdict.verdict == "not distinguished"
    assert right.verdict.by_kind["other-data"] == 0.1
    assert right.verdict.p_value == right.verdict.by_kind[NEAREST] > 0.2
    assert right.hypothesis.endswith(f"one of these kinds: {NEAREST} (9 nulls), other-data (9 nulls).")
    assert right.null_kinds["other-data-3"] == "other-data"
    assert any("Nothing is said of the kinds same-data, other-classes" in condition for condition in right.conditions)


def test_kinds_of_models_trained_from_new_weights_are_required():
    copy, far = made(SOURCE.outputs, "copy"), nulls_of("other-data", 9, 200)
    result = verify_fingerprints(SOURCE, copy, far, alpha=0.1)
    assert result.verdict.verdict == "inconclusive"
    assert f"too few of the kinds: {NEAREST} (0), same-data (0)." in result.verdict.reason
    # unless the suspect's own kind is declared
    result = verify_fingerprints(SOURCE, copy, far, alpha=0.1, kinds=["other-data"])
    assert result.verdict.verdict == "derived"
    assert "If made without the source, the suspect is of the kind that was declared: other-data." in result.conditions
    result = verify_fingerprints(SOURCE, copy, far, alpha=0.1, kinds=["other-data", "same-backbone"])
    assert "too few of the kinds: same-backbone (0)" in result.verdict.reason
    with pytest.raises(ValueError, match="kinds must be one of"):
        verify_fingerprints(SOURCE, copy, far, kinds=["twin"])


def test_undeclared_nulls_among_declared_ones_are_a_kind():
    pool = [*nulls_of(NEAREST, 9, 100), *[fp.with_kind(None) for fp in nulls_of("other-data", 3, 200)]]
    result = verify_fingerprints(SOURCE, made(SOURCE.outputs, "copy"), pool, alpha=0.1)
    assert "too few of the kinds: undeclared (3)" in result.verdict.reason


def test_conversions_of_one_null_count_once():
    pool = nulls_of(NEAREST, 6, 100)
    again = [made(fp.outputs + 1e-3 * noise(50 + i), f"again-{i}", NEAREST) for i, fp in enumerate(pool[:3])]
    copy = made(SOURCE.outputs, "copy")
    result = verify_fingerprints(SOURCE, copy, [*pool, *again], alpha=0.1)
    # 9 nulls would give 1 / 10
    assert (result.verdict.p_value, result.verdict.null_count) == (1 / 7, 6)
    assert result.verdict.verdict == "inconclusive"
    assert f"nulls that are nearly the same model count once: {NEAREST}-1, again-1" in result.warnings
    assert len(result.null_distances) == 9
    # outputs without the hashes of weights are compared all the same
    result = verify_fingerprints(SOURCE, copy, [*pool, made(pool[0].outputs, "again", NEAREST)], alpha=0.1)
    assert result.verdict.null_count == 6


def test_repeated_nulls_near_the_suspect_all_count():
    """The larger p-value: a suspect that is one more copy of a much copied honest model is honest."""
    popular = 3.0 * SOURCE.outputs + noise(7)
    copies = [made(popular + 1e-3 * noise(60 + i), f"copy-{i}", NEAREST) for i in range(5)]
    suspect = made(popular + 1e-3 * noise(70), "one more")
    result = verify_fingerprints(SOURCE, suspect, [*nulls_of(NEAREST, 9, 100), *copies], alpha=0.1)
    nearer = sum(SOURCE.distance(fp) <= SOURCE.distance(suspect) for fp in copies)
    assert result.verdict.by_kind[NEAREST] == max((1 + nearer) / 15, (1 + (nearer > 0)) / 11)
    assert any("nearly those of a null: copy-0" in warning for warning in result.warnings)


def test_nearness_is_always_shown():
    near = made(SOURCE.outputs + 1e-2 * noise(9), "conversion")
    result = verify_fingerprints(SOURCE, near, nulls_of(NEAREST, 3, 100), alpha=0.1)
    assert result.verdict.verdict == "inconclusive"
    smallest = min(SOURCE.distance(fp, metric="pearson") for fp in nulls_of(NEAREST, 3, 100))
    assert result.ratio == pytest.approx(SOURCE.distance(near, metric="pearson") / smallest, rel=1e-5)
    assert any(text.startswith("the suspect's outputs are nearly those of the source: 0.0") for text in result.warnings)
    assert verify_fingerprints(SOURCE, near, []).ratio is None


def test_nulls_that_are_no_evidence_are_warned_of():
    pool = nulls_of(NEAREST, 5, 100, near=2.0)
    derived = made(SOURCE.outputs + 0.01 * noise(1), "too near", NEAREST)
    worse = made(noise(2), "worse", NEAREST)
    other = made(noise(3, K + 2), "other task", NEAREST)
    warnings = collect_nulls(SOURCE, [*pool, derived, worse, other], "logits").warnings
    assert [w.rpartition(": ")[2] for w in warnings] == ["too near", "worse", "other task"]
    assert collect_nulls(SOURCE, pool, "logits").warnings == ()
    assert collect_nulls(SOURCE, [*pool, other.with_kind("other-classes")], "logits").warnings == ()


def test_a_null_with_the_weights_of_another_model_is_refused():
    digest = "sha256:" + "1" * 64
    suspect, null = made(noise(1), "suspect", model_hash=digest), made(noise(2), "null", model_hash=digest)
    with pytest.raises(FingerprintError, match="got 'null' with the weights of the suspect"):
        verify_fingerprints(SOURCE, suspect, [null])
