"""The contrast with siblings and the similarity given the cohort: definitions by brute force, symmetry, refusals."""

import numpy as np
import pytest
import torch

from sac_fast.verify.contrast import contrast_distances, given_cohort_distances

N, K = 60, 5


def models(count, seed=0, k=K):
    """Models of one task, each with something of its own."""
    generator = torch.Generator().manual_seed(seed)
    task = torch.randn(N, k, generator=generator, dtype=torch.float64)
    return [task + torch.randn(N, k, generator=generator, dtype=torch.float64) for _ in range(count)]


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def soft_channels(model):
    x = model.numpy()
    return [softmax(x), np.log(softmax(x / 4))]


def centred(rows):
    return (rows - rows.mean(axis=0)).ravel()


def cosine(a, b):
    a, b = centred(a), centred(b)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def largest(channels):
    z = [(values - values.mean()) / values.std() for values in map(np.asarray, channels)]
    return -np.max(z, axis=0)


def published(a, b):
    return np.abs(np.corrcoef(a.numpy()) - np.corrcoef(b.numpy())).mean()


def unexplained(member, model):
    """Ridge regression left out probe by probe, its strength by the least GCV, all by the definition."""
    x, y = (rows - rows.mean(axis=0) for rows in (soft_channels(member)[1], soft_channels(model)[1]))
    start = (x * y).sum() / (x * x).sum() if x.shape == y.shape else 0.0
    values, rest = np.linalg.eigvalsh(x.T @ x), y - start * x
    best = (np.inf, None)
    for strength in (1e-12, 1e-9, 1e-7, *(10.0 ** (e / 2) for e in range(-12, 3)), 1e30):
        hat = x @ np.linalg.pinv(x.T @ x + strength * values[-1] * np.eye(x.shape[1]), rcond=1e-13) @ x.T
        if strength < 1e-10:  # next to nothing: all directions of the source in full
            hat = x @ np.linalg.pinv(x, rcond=1e-9)
        free = 1 + np.trace(hat)
        left = rest - hat @ rest
        best = min(best, ((left**2).sum() / (len(x) - free) ** 2, strength), key=lambda each: each[0])
        if best[1] == strength:
            errors = (left**2).sum(axis=1) / (1 - 1 / len(x) - np.diag(hat)) ** 2
    return errors.sum() / ((y**2).sum() / (1 - 1 / len(x)) ** 2)


def test_contrast_is_its_definition():
    source, one, two, *others = models(9)
    channels = [[], [], [], []]
    for model in others:
        near = [-np.log(published(member, model)) for member in (source, one, two)]
        channels[0].append(near[0] - (near[1] + near[2]) / 2)
        near = [-np.log(unexplained(member, model)) for member in (source, one, two)]
        channels[1].append(near[0] - (near[1] + near[2]) / 2)
        for c in range(2):
            cosines = [cosine(soft_channels(m)[c], soft_channels(model)[c]) for m in (source, one, two)]
            near = np.arctanh(cosines)
            channels[2 + c].append(near[0] - (near[1] + near[2]) / 2)
    found = contrast_distances(source, [one, two], others, "logits")
    np.testing.assert_allclose(found, largest(channels), rtol=1e-6)


def test_given_cohort_is_its_definition():
    """Residuals of source and model after the shrunken regression on all other models."""
    source, *others = models(7, seed=1)
    channels = []
    for c in range(2):
        vectors = {i: centred(soft_channels(m)[c]) for i, m in enumerate([source, *others])}
        vectors = {i: v / np.linalg.norm(v) for i, v in vectors.items()}
        values = []
        for x in range(1, 7):
            cohort = np.stack([vectors[i] for i in range(1, 7) if i != x])
            mean = cohort.mean(axis=0)
            residuals = (cohort - mean).T
            scale = 0.1 * (residuals**2).sum() / 5
            inner = np.linalg.inv(residuals.T @ residuals + scale * np.eye(5))
            project = np.eye(N * K) - residuals @ inner @ residuals.T
            a, b = vectors[0] - mean, vectors[x] - mean
            values.append(a @ project @ b / np.sqrt((a @ project @ a) * (b @ project @ b)))
        channels.append(values)
    found = given_cohort_distances(source, others, "logits")
    np.testing.assert_allclose(found, largest(channels), rtol=1e-6)


@pytest.mark.parametrize("form", ["logits", "labels", "embeddings"])
def test_the_order_of_the_models_does_not_matter(form):
    source, sibling, *others = models(9, seed=2)
    order = [3, 6, 0, 2, 5, 1, 4]
    shuffled = [others[i] for i in order]
    for distances in (
        lambda some: contrast_distances(source, [sibling], some, form),
        lambda some: given_cohort_distances(source, some, form),
    ):
        np.testing.assert_allclose(distances(shuffled), distances(others)[order], rtol=1e-6)


@pytest.mark.parametrize(("form", "width"), [("labels", K), ("embeddings", K), ("logits", K - 2), ("similarities", K)])
def test_a_derived_model_is_nearest_in_every_form(form, width):
    source, sibling, *others = models(10, seed=3)
    derived = source + 0.3 * others[0]
    everyone = [model[:, :width] for model in (derived, *others[1:])]
    if form == "labels":
        everyone = [torch.nn.functional.one_hot(model.argmax(1), K).double() for model in everyone]
    assert contrast_distances(source, [sibling], everyone, form).argmin() == 0
    assert given_cohort_distances(source, everyone, form).argmin() == 0


def test_what_siblings_share_is_no_evidence():
    """A model between source and siblings is the nearest to the source, and the farthest by the contrast."""
    source, one, two, *others = models(10, seed=4)
    kin = (source + 2 * one + 2 * two) / 5
    distances = contrast_distances(source, [one, two], [kin, *others], "logits")
    plain = [published(source, model) for model in (kin, *others)]
    assert int(np.argmin(plain)) == 0
    assert int(np.argmax(distances)) == 0


def test_models_without_spread_say_nothing():
    source, sibling, *others = models(7, seed=5)
    constant = torch.ones(N, K, dtype=torch.float64)
    assert np.isfinite(contrast_distances(source, [sibling], [constant, *others], "logits")).all()
    assert np.isfinite(given_cohort_distances(source, [constant, *others], "logits")).all()
    assert contrast_distances(source, [sibling], [others[0]] * 3, "logits").tolist() == [0.0, 0.0, 0.0]


def test_too_few_models_are_refused():
    source, *others = models(6)
    with pytest.raises(ValueError, match=r"siblings must have outputs like the source's \(60, 5\), got \[\]"):
        contrast_distances(source, [], others, "logits")
    with pytest.raises(ValueError, match=r"got \[\(60, 3\)\]"):
        contrast_distances(source, [others[0][:, :3]], others, "logits")
    with pytest.raises(ValueError, match="a suspect and at least 4 nulls, got 4 models"):
        given_cohort_distances(source, others[:4], "logits")


def test_models_of_other_classes_do_not_weaken_the_others():
    """They add the channel of correlations and leave the outputs' channels as they are."""
    source, sibling, *others = models(9, seed=6)
    moved = models(2, seed=7, k=K - 2)
    order = [8, 0, 3, 1, 7, 2, 5, 4, 6]
    assert len(others) + len(moved) == len(order)
    everyone = [*others, *moved]
    for distances in (
        lambda some: given_cohort_distances(source, some, "logits"),
        lambda some: contrast_distances(source, [sibling], some, "logits"),
    ):
        found, alone = distances(everyone), distances(others)
        assert np.isfinite(found).all()
        # one more channel can only bring a model nearer than its standing among those of its own classes
        assert (found[:7] <= alone + 1e-8).all()
        np.testing.assert_allclose(distances([everyone[i] for i in order]), found[order], rtol=1e-6)
