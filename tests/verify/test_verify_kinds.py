"""Null pools by kind from fingerprints: what is counted, what is required, what is warned of."""

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, FingerprintError, sibling_test, verify_fingerprints
from sac_fast.verify.kinds import REQUIRED, judge_by_score, required_kinds
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


def test_every_kind_that_a_suspect_can_be_of_is_required():
    copy, far = made(SOURCE.outputs, "copy"), nulls_of("other-data", 9, 200)
    result = verify_fingerprints(SOURCE, copy, far, alpha=0.1)
    assert result.verdict.verdict == "inconclusive"
    missing = f"too few of the kinds: {NEAREST} (0), same-data (0), same-backbone (0), other-backbone (0)."
    assert missing in result.verdict.reason
    assert any("name the kinds that it can be of (`kinds`, --kind)" in text for text in result.conditions)
    # a model of other classes can be of that kind too
    some = [fp for i, kind in enumerate(REQUIRED) for fp in nulls_of(kind, 9, 400 + 10 * i)]
    assert verify_fingerprints(SOURCE, copy, some, alpha=0.1).verdict.verdict == "derived"
    moved = made(SOURCE.outputs[:, : K - 1], "moved")
    assert (
        "too few of the kinds: other-classes (0)" in verify_fingerprints(SOURCE, moved, some, alpha=0.1).verdict.reason
    )
    assert required_kinds(False) == (*required_kinds(True), "other-classes")
    assert "sibling" not in required_kinds(False)
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
    assert [w.rpartition(": ")[2] for w in warnings] == ["too near", "worse", "worse", "other task"]
    assert "untrained" in warnings[2]
    assert collect_nulls(SOURCE, pool, "logits").warnings == ()
    assert collect_nulls(SOURCE, [*pool, other.with_kind("other-classes")], "logits").warnings == ()


def test_a_null_with_the_weights_of_another_model_is_refused():
    digest = "sha256:" + "1" * 64
    suspect, null = made(noise(1), "suspect", model_hash=digest), made(noise(2), "null", model_hash=digest)
    with pytest.raises(FingerprintError, match="got 'null' with the weights of the suspect"):
        verify_fingerprints(SOURCE, suspect, [null])


SCALED = [made((noise(2).double() * (1 + 1e-6 * i)).float(), f"copy-{i}") for i in range(19)]


@pytest.mark.parametrize("score", ["default", "given-cohort", "distance", "robust", "sac-jc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_copies_with_scaled_outputs_are_one_null(score, dtype):
    """Their distances are rounding, and so is the median of these."""
    source, suspect = made(noise(0), "source"), made(noise(0) + 0.1 * noise(1), "suspect")
    nulls = [made(fp.outputs.to(dtype).float(), fp.name) for fp in SCALED]
    for pool, kinds in ((nulls, None), ([fp.with_kind("same-data") for fp in nulls], ["same-data"])):
        result = verify_fingerprints(source, suspect, pool, score=score, kinds=kinds)
        assert (result.verdict.p_value, result.verdict.null_count) == (0.5, 1)
        assert result.verdict.verdict == "inconclusive"
    siblings = [made(noise(0) + noise(3), "sibling")]
    result = verify_fingerprints(source, suspect, nulls, score="contrast", siblings=siblings)
    assert (result.verdict.p_value, result.verdict.null_count) == (0.5, 1)


def test_copies_of_one_sibling_are_refused():
    siblings = [made(fp.outputs, f"sibling-{i}") for i, fp in enumerate(SCALED)]
    with pytest.raises(FingerprintError, match="sibling-1 must be a model of its own, got the outputs of sibling-0"):
        sibling_test(SOURCE, siblings, {"suspect": made(noise(1), "suspect")})


def test_distances_without_outputs_count_once_where_they_are_equal():
    """Of nulls in calibrations of the first form nothing else is known."""
    pool = collect_nulls(SOURCE, [], "logits")
    known = {f"copy-{i}": 0.3 * (1 + 1e-6 * i) for i in range(19)} | {"another": 0.31}
    verdict, _ = judge_by_score(lambda rows: np.array([0.1]), pool, 0.05, known=known)
    assert (verdict.p_value, verdict.null_count) == (1 / 3, 2)


def test_untrained_nulls_are_warned_of():
    """They answer by the brightness of the image: none of them is a model of the task."""
    truth = torch.arange(N) % K
    task = 3 * torch.nn.functional.one_hot(truth, K).float()
    source = made(task + noise(1), "source")
    brightness = torch.rand(N, 1, generator=torch.Generator().manual_seed(2))
    untrained = [made(brightness * noise(10 + i)[:1] + 0.01 * noise(40 + i), f"untrained-{i}") for i in range(19)]
    trained = [made(task + noise(70 + i), f"trained-{i}") for i in range(3)]
    warnings = collect_nulls(source, [*untrained, *trained], "logits").warnings
    told = next(text for text in warnings if "(untrained?)" in text)
    assert "untrained-0" in told
    assert "and 14 more" in told
    assert not any("(untrained?)" in text for text in collect_nulls(source, trained, "logits").warnings)
