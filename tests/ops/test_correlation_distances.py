"""`correlation_distances`: one source against many suspects."""

import numpy as np
import pytest
import torch
from support.model_outputs import defined, models_of
from support.tolerances import FLOAT32, HIGHEST

from sac_fast import correlation_distances

METRICS = ["cosine", "pearson", "spearman", "rbf"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 2, 1), (2, 33, 7), (5, 70, 100), (11, 31, 10), (3, 129, 300)])
def test_against_definition(backend, metric, m, n, k):
    models = models_of(m, n, k, spread=3)
    models[-1][n // 2] = 0.0  # a row without direction: its C_ii is 0, all others' is 1
    one = correlation_distances(models[-1], models, metric=metric, backend=backend)
    assert (one.shape, one.dtype) == ((m,), torch.float32)
    np.testing.assert_allclose(one, defined(models[-1:], models, metric)[0], rtol=0, atol=FLOAT32)
    assert one[-1] == 0.0


@pytest.mark.parametrize("dtype", HIGHEST)
def test_mixed_dtypes(backend, dtype):
    models = models_of(6, 40, 12, 1, dtype)
    models[2] = models[2].float()
    expected = defined(models, models)
    actual = correlation_distances(models[0], models, backend=backend)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(actual, expected[0], rtol=0, atol=HIGHEST[dtype])


def test_long_rows_of_one_sign(backend):
    # products that are all summed up to 1 before they are compared: float32's rounding adds up
    models = [1 + 1e-3 * x for x in models_of(4, 40, 700, 2)] + [torch.ones(40, 50)]
    actual = correlation_distances(models[0], models, backend=backend)
    np.testing.assert_allclose(actual, defined(models, models)[0], rtol=0, atol=FLOAT32)


def test_stacks_and_strides(backend):
    stacked = torch.stack(models_of(7, 30, 6, 3))
    found = correlation_distances(stacked[0, ::2], stacked[:, ::2], backend=backend)
    np.testing.assert_allclose(found, defined(stacked[:1, ::2], stacked[:, ::2])[0], rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    models = models_of(90, 65, 9, 12, spread=2)
    seen = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        results = [
            correlation_distances(models[0], models, metric=metric),
        ]
        seen.add(tuple(result.numpy().tobytes() for result in results))
    assert len(seen) == 1


def test_identical_models_are_exactly_zero(backend):
    one = models_of(1, 50, 10, 13)[0]
    assert not correlation_distances(one, [one.clone(), one], backend=backend).any()


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(instruction_set, metric):
    models = models_of(5, 40, 3, 14)
    bad = [*models[:3], models[3].clone(), models[4].clone()]
    bad[3][17, 1] = float("nan")
    bad[4][2, 1] = float("inf")
    calls = [
        (lambda: correlation_distances(models[0], bad, metric=metric), r"suspects\[3\]"),
        (lambda: correlation_distances(bad[3], models, metric=metric), "source"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"{name} must be finite, got NaN or Inf in row 17"):
            call()
