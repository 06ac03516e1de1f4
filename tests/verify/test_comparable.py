"""Verdicts on suspects that answer in another form than the source, and on outputs that are no evidence."""

import pytest
import torch
from support.output_forms import GIVE, classifiers, fingerprint_of

from sac_fast import FingerprintError, verify_fingerprints
from sac_fast.scores import FIXED
from sac_fast.verdict import conformal_p_value
from sac_fast.verify.comparable import comparable_outputs
from sac_fast.verify.preset import verify_fixed

SOURCE, *OTHERS = classifiers(48)
NULLS = [fingerprint_of(o, f"null {i}") for i, o in enumerate(OTHERS[:23])]
HONEST = OTHERS[23:47]
GROUNDS = {
    "sac-jc": lambda *models: verify_fixed("sac-jc", *models),
    "robust": lambda *models: verify_fixed("robust", *models),
    "pearson": lambda *models: verify_fingerprints(*models, metric="pearson"),
}


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("form", GIVE)
def test_a_copy_is_derived_in_every_form(form, ground):
    suspect = fingerprint_of(GIVE[form](SOURCE), "copy")
    result = GROUNDS[ground](fingerprint_of(SOURCE, "source"), suspect, NULLS)
    assert result.verdict.verdict == "derived"
    assert result.verdict.p_value == 1 / 24
    assert result.verdict.distance == pytest.approx(0.0, abs=2e-3 if form == "float16" else 1e-6)
    assert len([w for w in result.warnings if "compared as" in w]) == (form != "logits")


@pytest.mark.parametrize("preset", ["sac-jc", "robust"])
@pytest.mark.parametrize("form", GIVE)
def test_honest_models_are_not_accused_beyond_the_rate(form, preset):
    # p <= 0.05 for 24 honest models: 1.2 are expected at most, more than 4 have a probability below 0.7 %.
    # benchmarks/simulate_output_forms.py repeats this with fresh sources. All honest models give the same form, so the
    # nulls are converted once; the verdict on the first one shows that its distance is the one computed here.
    source = fingerprint_of(SOURCE, "source")
    honest = [fingerprint_of(GIVE[form](o)) for o in HONEST]
    compared = comparable_outputs(source, honest[0], [*NULLS, *honest[1:]])
    everyone = [fp.outputs for fp in (compared.suspect, *compared.nulls)]
    first, *others = FIXED[preset].distances(compared.source.outputs, everyone)
    nulls, found = others[:23], [first, *others[23:]]
    assert sum(conformal_p_value(found, nulls) <= 0.05) <= 4
    assert min(found) > 0.01
    assert verify_fixed(preset, source, honest[0], NULLS).verdict.distance == pytest.approx(first)


@pytest.mark.parametrize("form", ["probabilities", "class numbers"])
def test_the_source_may_be_the_one_that_answers_in_the_weaker_form(form):
    source = fingerprint_of(GIVE[form](SOURCE), "source")
    result = verify_fingerprints(source, fingerprint_of(SOURCE, "copy"), NULLS)
    assert result.verdict.verdict == "derived"
    assert result.verdict.null_count == 23


def test_nulls_of_a_weaker_form_are_left_out_and_counted():
    source = fingerprint_of(SOURCE, "source")
    weak = [fingerprint_of(GIVE["class numbers"](o), f"weak {i}") for i, o in enumerate(OTHERS[:7])]
    result = verify_fingerprints(source, fingerprint_of(SOURCE.clone(), "copy"), [*NULLS[7:], *weak])
    assert result.verdict.null_count == 16
    assert result.verdict.verdict == "inconclusive"  # 16 nulls are too few for 5 %
    assert (
        "7 nulls (weak 0, weak 1, weak 2, weak 3, weak 4, …) left out: "
        "their outputs cannot be brought to the form logits"
    ) in result.warnings
    # They do count for a suspect that answers no more than they do.
    labels = fingerprint_of(GIVE["one-hot"](SOURCE), "labels only")
    assert verify_fingerprints(source, labels, [*NULLS[7:], *weak]).verdict.null_count == 23


def test_one_label_only_suspect_does_not_weaken_the_tests_of_others():
    source = fingerprint_of(SOURCE, "source")
    suspect = fingerprint_of(OTHERS[40], "suspect")
    before = verify_fingerprints(source, suspect, NULLS).to_dict()
    verify_fingerprints(source, fingerprint_of(GIVE["class numbers"](SOURCE)), NULLS)
    assert verify_fingerprints(source, suspect, NULLS).to_dict() == before


def constant(name, seed=0, k=10):
    rng = torch.Generator().manual_seed(seed)
    return fingerprint_of(torch.randn(k, generator=rng) + 1e-3 * torch.randn(120, k, generator=rng), name)


def test_degenerate_outputs_are_no_evidence():
    source = fingerprint_of(SOURCE, "source")
    result = verify_fingerprints(source, constant("dead"), NULLS)
    assert result.verdict.verdict == "inconclusive"
    assert result.verdict.p_value == 1.0
    assert result.verdict.reason.startswith("The outputs of the suspect (logits) are no evidence: outputs hardly vary")
    one_label = fingerprint_of(torch.full((120, 1), 3.0), "one label")
    verdict = verify_fixed("robust", source, one_label, NULLS).verdict
    assert (verdict.verdict, "one label for 100% of the probes" in verdict.reason) == ("inconclusive", True)
    with pytest.raises(
        FingerprintError, match="source 'dead' must have outputs that are evidence, got: outputs hardly"
    ):
        verify_fingerprints(constant("dead"), source, NULLS)
    found = comparable_outputs(source, fingerprint_of(OTHERS[40]), [*NULLS, constant("a", 1), constant("b", 2)])
    assert len(found.nulls) == 23
    assert found.warnings == ("2 nulls (a, b) left out: their outputs are no evidence, being nearly constant or tied",)


def test_a_constant_two_class_model_is_not_derived_from_a_real_one():
    two = classifiers(25, k=2, seed=3)
    source, *nulls = (fingerprint_of(o, f"m{i}") for i, o in enumerate(two))
    dead = constant("dead", k=2)
    assert verify_fingerprints(source, dead, nulls).verdict.verdict == "inconclusive"
    with pytest.raises(FingerprintError, match="got: centred correlations of two outputs are ±1"):
        verify_fingerprints(source, dead, nulls, metric="pearson")


@pytest.mark.parametrize("give", [lambda z: z, torch.sigmoid, lambda z: torch.sigmoid(z).round(decimals=3)])
def test_two_classes_in_one_column(give):
    two = classifiers(24, k=2, seed=3)
    one = two[:, :, 1:] - two[:, :, :1]
    source, *nulls = (fingerprint_of(o, f"m{i}") for i, o in enumerate(one))
    result = verify_fingerprints(source, fingerprint_of(give(one[0]), "copy"), nulls, metric="cosine")
    assert result.verdict.verdict == "derived"
    assert min(result.null_distances.values()) > 0.01
    other = fingerprint_of(give(one[1]), "other")
    assert verify_fingerprints(source, other, nulls[1:], metric="cosine").verdict.distance > 0.01
    copy = fingerprint_of(give(one[0]), "copy")
    assert verify_fingerprints(source, copy, nulls).verdict.verdict == "derived"


def test_forms_that_cannot_be_compared_are_refused():
    source = fingerprint_of(SOURCE, "source", output_form="embeddings")
    with pytest.raises(
        FingerprintError, match=r"'m' \(probabilities\) cannot be compared with 'source' \(embeddings\)"
    ):
        verify_fingerprints(source, fingerprint_of(SOURCE.softmax(1)), NULLS)
