"""Similarity given a cohort against the same written out with n×n matrices."""

import dataclasses

import numpy as np
import pytest
import torch
from support.definition import compare, matrix

from sac_fast.scores import CohortFeatures, CohortStatistic, inner_products, similarity_given_cohort

RNG = np.random.default_rng(1)
N, MODELS = 30, 9
# different numbers of outputs, and something that all have in common
COMMON = RNG.normal(size=(N, 3))
OUTPUTS = [COMMON @ RNG.normal(size=(3, k)) + RNG.normal(size=(N, k)) for k in (5, 5, 7, 4, 5, 6, 5, 5, 8)]
TENSORS = [torch.from_numpy(o) for o in OUTPUTS]


def centred(outputs, metric="pearson"):
    """HCH as a vector of norm 1."""
    centring = np.eye(N) - 1 / N
    c = (centring @ matrix(outputs, metric) @ centring).ravel()
    return c / np.linalg.norm(c)


VECTORS = np.stack([centred(o) for o in OUTPUTS])


def written_out(source, suspect, cohort, shrinkage):
    """Matched filter in the space of n² entries: the inverse of the cohort's shrunken covariance as metric."""
    mean = VECTORS[cohort].mean(axis=0)
    residuals = (VECTORS[cohort] - mean).T
    a, b = VECTORS[source] - mean, VECTORS[suspect] - mean
    if np.isinf(shrinkage):
        metric = np.eye(N * N)
    else:
        scale = shrinkage * (residuals**2).sum() / len(cohort)
        # (R Rᵀ + s I)⁻¹ s: the form without Woodbury's identity
        metric = np.linalg.inv(residuals @ residuals.T + scale * np.eye(N * N)) * scale
    return a @ metric @ b / np.sqrt((a @ metric @ a) * (b @ metric @ b))


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman"])
def test_inner_products_are_one_minus_cka(metric):
    found = inner_products(TENSORS, "correlations", "raw", metric)
    assert found.shape == (MODELS, MODELS)
    np.testing.assert_array_equal(found, found.T)
    for i in range(MODELS):
        for j in range(MODELS):
            wanted = 1 - compare(matrix(OUTPUTS[i], metric), matrix(OUTPUTS[j], metric), "cka")
            assert found[i, j] == pytest.approx(wanted, abs=1e-12)


def test_many_models_are_taken_in_blocks(monkeypatch):
    whole = inner_products(TENSORS, "correlations", "softmax(2)")
    monkeypatch.setattr("sac_fast.scores.cohort._MAX_COLUMNS", 17)
    np.testing.assert_allclose(inner_products(TENSORS, "correlations", "softmax(2)"), whole, rtol=0, atol=1e-14)


def test_outputs_as_they_are():
    same = [TENSORS[i] for i in (0, 1, 4)]
    flat = [(o - o.mean(dim=0)).numpy().ravel() for o in same]
    found = inner_products(same, "outputs", "raw")
    for i in range(3):
        for j in range(3):
            wanted = flat[i] @ flat[j] / np.linalg.norm(flat[i]) / np.linalg.norm(flat[j])
            assert found[i, j] == pytest.approx(wanted, abs=1e-12)
    with pytest.raises(ValueError, match=r"same number of outputs for space 'outputs', got \[5, 7\]"):
        inner_products(TENSORS[:3], "outputs", "raw")


def test_a_model_without_variation_is_like_nobody():
    found = inner_products([TENSORS[0], torch.ones(N, 3, dtype=torch.float64)], "correlations", "raw")
    assert found.tolist() == [[pytest.approx(1.0), 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("shrinkage", [np.inf, 10.0, 0.1, 1e-3])
def test_similarity_is_the_matched_filter(shrinkage):
    cohort = [3, 4, 5, 6, 7, 8]
    products = VECTORS @ VECTORS.T
    found = similarity_given_cohort(products, 0, [1, 2], cohort, shrinkage)
    wanted = [written_out(0, suspect, cohort, shrinkage) for suspect in (1, 2)]
    # the inverse of a matrix of condition 1/λ
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8)


def test_without_shrinkage_it_is_the_partial_correlation():
    cohort = [3, 4, 5, 6, 7, 8]
    mean = VECTORS[cohort].mean(axis=0)
    residuals = (VECTORS[cohort] - mean).T

    def rest(i):
        x = VECTORS[i] - mean
        return x - residuals @ np.linalg.lstsq(residuals, x, rcond=None)[0]

    wanted = rest(0) @ rest(1) / np.linalg.norm(rest(0)) / np.linalg.norm(rest(1))
    found = similarity_given_cohort(VECTORS @ VECTORS.T, 0, [1], cohort, 1e-10)
    assert found[0] == pytest.approx(wanted, abs=1e-6)


def test_a_member_of_the_cohort_is_judged_by_the_others():
    products = VECTORS @ VECTORS.T
    found = similarity_given_cohort(products, 0, [5, 1, 5], [3, 4, 5, 6, 7], 0.1)
    alone = similarity_given_cohort(products, 0, [5], [3, 4, 6, 7], 0.1)
    assert found[0] == found[2] == alone[0]
    assert found[1] == similarity_given_cohort(products, 0, [1], [3, 4, 5, 6, 7], 0.1)[0]


def test_the_source_itself_is_most_alike():
    products = inner_products([TENSORS[0], TENSORS[0].clone(), *TENSORS[3:]], "correlations", "raw")
    assert similarity_given_cohort(products, 0, [1], [2, 3, 4, 5, 6, 7], 0.1)[0] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [1], [2, 3], 0.1), "cohort must hold at least 3 independents besides the suspect, got 2"),
        ((0, [2], [2, 3, 4], 0.1), "cohort must hold at least 3 independents besides the suspect, got 2"),
        ((0, [1], [0, 3, 4], 0.1), "cohort must not hold the source"),
        ((0, [1], [2, 3, 4], 0.0), "shrinkage must be positive, got 0.0"),
        ((0, [1], [2, 3, 4], float("nan")), "shrinkage must be positive, got nan"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        similarity_given_cohort(VECTORS @ VECTORS.T, *arguments)


def test_statistics_have_names():
    statistic = CohortStatistic(0.1, "softmax(4)", "pearson", "misclassified", 500)
    assert statistic.name == "given-cohort(0.10000000000000001)/softmax(4)/pearson@misclassified:500"
    assert CohortStatistic.parse(statistic.name) == statistic
    assert CohortStatistic.parse("given-cohort(inf)/raw/cosine@plain").shrinkage == np.inf


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raw/cosine/l1@plain", "statistic must be given-cohort"),
        ("given-cohort(x)/raw/cosine@plain", "statistic must be given-cohort"),
        ("given-cohort(0)/raw/cosine@plain", "shrinkage must be positive"),
        ("given-cohort(1)/raw/rbf@plain", "metric must be one of cosine, pearson, spearman, got 'rbf'"),
        ("given-cohort(1)/rah/cosine@plain", "transform must be made of"),
        ("given-cohort(1)/raw/cosine@plain:1", "count must be"),
    ],
)
def test_names_of_no_statistic(name, message):
    with pytest.raises(ValueError, match=message):
        CohortStatistic.parse(name)


def test_features_are_statistics_of_the_chosen_rows():
    names = [f"m{i}" for i in range(MODELS)]
    outputs = {"plain": dict(zip(names, TENSORS, strict=True))}
    statistics = (CohortStatistic(0.1, "raw", "pearson", "plain"), CohortStatistic(1.0, "raw", "pearson", "plain", 15))
    found = CohortFeatures(outputs, names, statistics, {}).compute("m0", ["m1", "m2"], names[3:])
    assert found[0, 0] == pytest.approx(written_out(0, 1, list(range(3, 9)), 0.1), abs=1e-8)
    half = inner_products([o[::2] for o in TENSORS], "correlations", "raw")
    np.testing.assert_allclose(found[:, 1], similarity_given_cohort(half, 0, [1, 2], range(3, 9), 1.0), atol=1e-12)
    with pytest.raises(ValueError, match="outputs must hold the probe set 'other', got plain"):
        CohortFeatures(outputs, names, (CohortStatistic(0.1, "raw", "pearson", "other"),), {})
    with pytest.raises(ValueError, match="needs the true labels of its probes, got none"):
        CohortFeatures(outputs, names, (dataclasses.replace(statistics[0], by_class=True),), {"plain": None})


def test_centred_within_classes():
    classes = torch.from_numpy(np.arange(N) % 4 * 1_000_000)
    projection = (
        np.eye(N) - np.equal.outer(classes.numpy(), classes.numpy()) / np.bincount(np.arange(N) % 4)[np.arange(N) % 4]
    )
    found = inner_products(TENSORS[:3], "correlations", "raw", "pearson", classes)
    vectors = [(projection @ matrix(o, "pearson") @ projection.T).ravel() for o in OUTPUTS[:3]]
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            assert found[i, j] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-12)
    with pytest.raises(ValueError, match="classes must be 30 numbers of at least 0"):
        inner_products(TENSORS[:3], "correlations", "raw", "pearson", classes[1:])
    statistic = CohortStatistic(0.5, "raw", "pearson", "plain", None, True)
    assert statistic.name == "given-cohort(0.5)/raw/pearson/by-class@plain"
    assert CohortStatistic.parse(statistic.name) == statistic
