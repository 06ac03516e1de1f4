import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, sibling_test

PROBES = "sha256:" + "a" * 64


def models(count, seed=0, noise=1.0):
    task = 2 * torch.randn(200, 5, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    return [task + noise * torch.randn(200, 5, generator=generator) for _ in range(count)]


def diagnostics_of(source, siblings, **options):
    result = sibling_test(source, siblings, source, **options)
    return {d.name: d for d in result.diagnostics}, result.warnings


def test_ranks_of_the_source_among_its_siblings():
    source, *siblings = models(10)
    labels = models(1, noise=0.0)[0].argmax(1)
    found, warnings = diagnostics_of(source, siblings, labels=labels)
    assert list(found) == ["accuracy", "agreement", "confidence", "distance"]
    accuracy = [float((o.argmax(1) == labels).double().mean()) for o in (source, *siblings)]
    assert found["accuracy"].source == pytest.approx(accuracy[0])
    assert found["accuracy"].siblings == pytest.approx(accuracy[1:])
    below, above = (sum(compare(a, accuracy[0]) for a in accuracy) for compare in (np.less_equal, np.greater_equal))
    assert found["accuracy"].p_value == pytest.approx(min(1, 2 * min(below, above) / 10))
    rows = [torch.softmax(o.double(), 1) for o in (source, *siblings)]
    flat = [(r - r.mean(0)).flatten() for r in rows]
    cosines = [float(torch.cosine_similarity(flat[0], f, dim=0)) for f in flat[1:]]
    assert found["distance"].source == pytest.approx(1 - np.mean(cosines))
    assert found["confidence"].source == pytest.approx(float(rows[0].amax(1).mean()))
    assert warnings == ()


def test_a_source_of_another_recipe_is_told():
    found, warnings = diagnostics_of(models(1, noise=0.2)[0], models(19, seed=1))
    assert found["agreement"].outlier
    assert found["agreement"].rank == 20
    assert found["agreement"].p_value == pytest.approx(0.1)
    assert any("outlier among its siblings by agreement" in text for text in warnings)


def test_labels_alone_have_no_confidence():
    source, *siblings = (o.argmax(1) for o in models(10))
    found, _ = diagnostics_of(source, siblings)
    assert list(found) == ["agreement", "distance"]


def test_other_versions_and_usual_seeds_are_told():
    about = {"probe_hash": PROBES, "versions": {"torch": "2.13.0"}}
    members = [Fingerprint(o, {**about, "name": f"m{i}"}) for i, o in enumerate(models(6))]
    members[2] = Fingerprint(members[2].outputs, {**members[2].provenance, "versions": {"torch": "1.0"}})
    seeded = Fingerprint(members[0].outputs, {**members[0].provenance, "seed": 42})
    warnings = sibling_test(seeded, members[1:], members[0]).warnings
    assert any("versions differ from the source's: m2" in text for text in warnings)
    assert any("usual seed 42" in text for text in warnings)
