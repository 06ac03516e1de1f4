"""`pairwise_correlation_distances`: all pairs of a batch of models."""

import numpy as np
import pytest
import torch
from support.model_outputs import defined, models_of
from support.tolerances import FLOAT32, HIGHEST

from sac_fast import pairwise_correlation_distances

METRICS = ["cosine", "pearson", "spearman", "rbf"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 2, 1), (2, 33, 7), (5, 70, 100), (11, 31, 10), (3, 129, 300)])
def test_against_definition(backend, metric, m, n, k):
    models = models_of(m, n, k, spread=3)
    models[-1][n // 2] = 0.0  # a row without direction: its C_ii is 0, all others' is 1
    pairwise = pairwise_correlation_distances(models, metric=metric, backend=backend)
    assert (pairwise.shape, pairwise.dtype) == ((m, m), torch.float32)
    np.testing.assert_allclose(pairwise, defined(models, models, metric), rtol=0, atol=FLOAT32)
    assert torch.equal(pairwise, pairwise.T)
    assert not pairwise.diagonal().any()


@pytest.mark.parametrize("dtype", HIGHEST)
def test_mixed_dtypes(backend, dtype):
    models = models_of(6, 40, 12, 1, dtype)
    models[2] = models[2].float()
    expected = defined(models, models)
    actual = pairwise_correlation_distances(models, backend=backend)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=HIGHEST[dtype])


def test_long_rows_of_one_sign(backend):
    # products that are all summed up to 1 before they are compared: float32's rounding adds up
    models = [1 + 1e-3 * x for x in models_of(4, 40, 700, 2)] + [torch.ones(40, 50)]
    actual = pairwise_correlation_distances(models, backend=backend)
    np.testing.assert_allclose(actual, defined(models, models), rtol=0, atol=FLOAT32)


def test_correlations_of_one_and_minus_one_throughout(backend):
    # whole panels of C = −1 and of C = 1: no sum of a run may be larger
    half = torch.cat([torch.ones(130), -torch.ones(130)])
    models = [torch.ones(260, 3), half[:, None].expand(260, 2), -2 * half[:, None], half.roll(130)[:, None]]
    expected = [[0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    found = pairwise_correlation_distances(models, backend=backend)
    np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT32)


def test_stacks_and_strides(backend):
    stacked = torch.stack(models_of(7, 30, 6, 3))
    expected = defined(stacked, stacked)
    for models in (stacked, stacked.numpy(), stacked.mT.contiguous().mT, list(stacked.numpy())):
        found = pairwise_correlation_distances(models, backend=backend)
        np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    models = models_of(90, 65, 9, 12, spread=2)
    seen = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        results = [
            pairwise_correlation_distances(models, metric=metric),
        ]
        seen.add(tuple(result.numpy().tobytes() for result in results))
    assert len(seen) == 1


def test_identical_models_are_exactly_zero(backend):
    one = models_of(1, 50, 10, 13)[0]
    assert not pairwise_correlation_distances([one, one.clone(), one], backend=backend).any()


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(instruction_set, metric):
    models = models_of(5, 40, 3, 14)
    bad = [*models[:3], models[3].clone(), models[4].clone()]
    bad[3][17, 1] = float("nan")
    bad[4][2, 1] = float("inf")
    calls = [
        (lambda: pairwise_correlation_distances(bad, metric=metric), r"models\[3\]"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"{name} must be finite, got NaN or Inf in row 17"):
            call()
