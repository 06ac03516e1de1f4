"""`correlation_vector`, and the forms in which it is stored."""

import numpy as np
import pytest
import torch
from support import definition
from support.model_outputs import models_of
from support.tolerances import FLOAT32, FLOAT64, STORED

from sac_fast import correlation_distance, correlation_vector

METRICS = ["cosine", "pearson", "spearman", "rbf"]


@pytest.mark.parametrize("metric", METRICS)
def test_correlation_vector_is_the_upper_triangle(backend, metric):
    for n in (2, 33, 70):
        outputs = models_of(1, n, 11, n)[0]
        vector = correlation_vector(outputs, metric=metric, backend=backend)
        expected = definition.matrix(outputs.double(), metric)[np.triu_indices(n, 1)]
        np.testing.assert_allclose(vector, expected, rtol=0, atol=FLOAT32)
    wide = correlation_vector(outputs.double(), metric=metric, backend=backend)
    np.testing.assert_allclose(wide, expected, rtol=0, atol=FLOAT64)


def test_storage_forms_keep_their_error_bounds():
    a, b = models_of(2, 60, 10, 11)
    exact_a, exact_b = (correlation_vector(x, dtype=torch.float64) for x in (a, b))
    scale = 2 / 60**2
    exact = (exact_a - exact_b).abs().sum() * scale
    assert exact.item() == pytest.approx(correlation_distance(a, b).item(), abs=FLOAT32)
    for dtype, (entry, distance) in STORED.items():
        stored = [correlation_vector(x, dtype=dtype).double() for x in (a, b)]
        if dtype == torch.uint8:
            stored = [x / 127.5 - 1 for x in stored]
        assert (stored[0] - exact_a).abs().max() <= entry * (1 + 1e-6)
        error = ((stored[0] - stored[1]).abs().sum() * scale - exact).abs().item()
        assert error <= distance
        assert error <= distance / 10  # errors of 1770 entries average out
    ends = correlation_vector(torch.tensor([[1.0, 0], [1, 0], [-1, 0]]), dtype=torch.uint8)
    assert ends.tolist() == [255, 0, 0]


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(instruction_set, metric):
    models = models_of(5, 40, 3, 14)
    bad = [*models[:3], models[3].clone(), models[4].clone()]
    bad[3][17, 1] = float("nan")
    bad[4][2, 1] = float("inf")
    calls = [
        (lambda: correlation_vector(bad[3], metric=metric), "outputs"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"{name} must be finite, got NaN or Inf in row 17"):
            call()
