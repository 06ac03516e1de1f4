import numpy as np
import pytest
import torch

from sac_fast import correlation_distance
from sac_fast.scores import inner_products
from sac_fast.scores.siblings_chance import agreement_with_members, correlation_agreement
from sac_fast.scores.siblings_channels import SIBLING_SCORES, label_agreement, sibling_similarities
from sac_fast.scores.siblings_products import (
    correlation_disagreement,
    correlation_products,
    label_disagreement,
    most_disputed,
    output_products,
)


def made(count, n=60, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    task = 2 * torch.randn(n, k, generator=generator)
    return [task + torch.randn(n, k, generator=generator) for _ in range(count)]


def test_output_products_are_inner_products():
    models = made(7)
    found = output_products(models[:4], models[4:], lambda rows: torch.softmax(rows, dim=1))
    expected = inner_products([model.double() for model in models], "outputs", "softmax(1)")
    np.testing.assert_allclose(found.members, expected[:4, :4], atol=1e-12)
    np.testing.assert_allclose(found.crossed, expected[4:, :4], atol=1e-12)


def test_output_products_in_blocks(monkeypatch):
    models = made(9)
    whole = output_products(models[:4], models[4:], torch.exp)
    monkeypatch.setattr("sac_fast.scores.siblings_products._MAX_ELEMENTS", 100)
    parts = output_products(models[:4], models[4:], torch.exp)
    np.testing.assert_allclose(parts.crossed, whole.crossed, atol=1e-12)
    np.testing.assert_allclose(parts.members, whole.members, atol=1e-12)


def test_correlation_products_are_inner_products_of_any_width():
    models = [*made(5), made(1, k=7, seed=1)[0]]
    found = correlation_products(models[:4], models[4:], "cosine")
    expected = inner_products([model.double() for model in models], "correlations", "raw", "cosine")
    np.testing.assert_allclose(found.members, expected[:4, :4], atol=1e-12)
    np.testing.assert_allclose(found.crossed, expected[4:, :4], atol=1e-12)


def test_constant_outputs_have_no_direction():
    models = made(5)
    constant = torch.full((60, 4), 0.1)
    assert not output_products(models, [constant], lambda rows: rows).crossed.any()
    assert not correlation_products(models, [constant], "pearson").crossed.any()


def test_disputed_probes_are_those_with_many_labels():
    labels = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [0, 2, 1, 1]])
    entropy = label_disagreement(labels, 3)
    np.testing.assert_allclose(entropy, [0, np.log(3), -np.log(1 / 3) / 3 - 2 / 3 * np.log(2 / 3), 0], atol=1e-12)
    assert most_disputed(entropy, 2).tolist() == [1, 2]
    assert most_disputed(entropy, 3).tolist() == [0, 1, 2]  # a tie goes to the earlier probe
    np.testing.assert_array_equal(label_disagreement(labels[::-1], 3).round(12), entropy.round(12))


def test_disagreement_of_embeddings_is_the_variance_of_correlations():
    models = made(4, n=20)
    matrices = np.stack([np.corrcoef(model.double().numpy()) for model in models])
    np.testing.assert_allclose(
        correlation_disagreement(models, "pearson"), matrices.var(axis=0).mean(axis=1), atol=1e-9
    )


def test_label_agreement_by_its_definition():
    models = made(6)
    labels = np.stack([model.argmax(1).numpy() for model in models])
    found = label_agreement(models[:5], models[5:])
    n = labels.shape[1]
    for j in range(5):
        expected = 0.0
        for i in range(n):
            others = sum(labels[c, i] == labels[j, i] for c in range(5) if c != j)
            expected += (labels[5, i] == labels[j, i]) * -np.log((others + 0.5) / 5) / n
        assert found.suspects[0, j] == pytest.approx(expected)
        for other in range(5):
            if other == j:
                continue
            expected = 0.0
            for i in range(n):
                rest = sum(labels[c, i] == labels[j, i] for c in range(5) if c not in (j, other))
                expected += (labels[other, i] == labels[j, i]) * -np.log((rest + 0.5) / 4) / n
            assert found.among[j, other] == pytest.approx(expected)


def test_published_distance_is_the_distance():
    models = made(7)
    found = sibling_similarities(models[:5], models[5:], "logits", "sac-jc")["sac-jc"]
    assert found.suspects[1, 3] == pytest.approx(-correlation_distance(models[3], models[6], metric="pearson").item())
    assert found.among[1, 3] == pytest.approx(-correlation_distance(models[3], models[1], metric="pearson").item())


@pytest.mark.parametrize("score", SIBLING_SCORES)
def test_members_are_treated_alike(score):
    models = made(9, n=200)
    order = [3, 0, 5, 1, 4, 2]
    straight = sibling_similarities(models[:6], models[6:], "logits", score)
    turned = sibling_similarities([models[i] for i in order], models[6:], "logits", score)
    assert straight.keys() == turned.keys()
    for name, one in straight.items():
        np.testing.assert_allclose(turned[name].suspects, one.suspects[:, order], atol=1e-10)
        if score == "regression":
            assert one.among is None
        else:
            np.testing.assert_allclose(turned[name].among, one.among[np.ix_(order, order)], atol=1e-10)


def test_agreement_with_members_is_standardised_over_permutations():
    generator = torch.Generator().manual_seed(3)
    models = made(5, n=50)
    noise = torch.randn(50, 4, generator=generator)
    found = agreement_with_members(models, [models[0], noise, torch.zeros(50, 4)], soft=False)
    mean = torch.stack(models).double().mean(0)
    mean = mean - mean.mean(0)
    for suspect, z in zip((models[0], noise), found, strict=False):
        rows = suspect.double() - suspect.double().mean(0)
        by_chance = [float((rows[torch.randperm(50, generator=generator)] * mean).sum()) for _ in range(4000)]
        assert z == pytest.approx(float((rows * mean).sum()) / np.std(by_chance), rel=0.05)
    assert found[0] > 8
    assert abs(found[1]) < 3
    assert found[2] == 0


def test_agreement_of_correlations_tells_noise_from_models_of_other_width():
    models = made(5, n=100)
    mixed = models[0] @ torch.randn(4, 9, generator=torch.Generator().manual_seed(5))
    noise = torch.randn(100, 9, generator=torch.Generator().manual_seed(6))
    found = correlation_agreement(models, [mixed, noise, torch.ones(100, 3)], "pearson")
    assert found[0] > 6
    assert abs(found[1]) < 3
    assert found[2] == 0
