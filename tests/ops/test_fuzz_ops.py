"""The native entry points on shapes, strides, scales and values that nobody would choose."""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import definition, tolerances

from sac_fast import (
    _backend,
    correlation_distance,
    correlation_distances,
    correlation_vector,
    nearest_models,
    pairwise_correlation_distances,
)

pytestmark = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")

METRICS = st.sampled_from(["cosine", "pearson", "spearman", "rbf"])
# exponents of ten that a row may be scaled by: from subnormal numbers to the largest
SCALES = {torch.float64: (-320, 306), torch.float32: (-44, 37), torch.bfloat16: (-39, 37), torch.float16: (-7, 3)}


@st.composite
def outputs(draw, n, max_k=40, dtypes=tuple(SCALES)):
    """An (n, k) tensor: small integers times a power of ten for each row, repeated and zero rows, odd strides."""
    k = draw(st.integers(1, max_k))
    dtype = draw(st.sampled_from(dtypes))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = SCALES[dtype]
    values = random.integers(-8, 9, (n, k)).astype(np.float64)
    if draw(st.booleans()):
        values = values[random.integers(0, n, n)]  # repeated rows
    with np.errstate(all="ignore"):
        values *= 10.0 ** random.integers(low, high, (n, 1)).astype(np.float64)
    values[random.random(n) < draw(st.sampled_from([0.0, 0.3, 1.0]))] *= draw(st.sampled_from([0.0, 1.0]))
    tensor = torch.from_numpy(values).to(dtype)
    layout = draw(st.sampled_from(["plain", "transposed", "inside", "every second"]))
    if layout == "transposed":
        return tensor.T.contiguous().T
    if layout == "inside":
        wide = torch.full((n + 2, k + 3), float("nan"), dtype=dtype)  # what lies around must not be read
        wide[1:-1, 2:-1] = tensor
        return wide[1:-1, 2:-1]
    if layout == "every second":
        wide = torch.full((2 * n, 2 * k), float("inf"), dtype=dtype)
        wide[::2, ::2] = tensor
        return wide[::2, ::2]
    return tensor


@st.composite
def batches(draw):
    n = draw(st.integers(2, 70))
    return [draw(outputs(n)) for _ in range(draw(st.integers(2, 5)))]


# more of the same: SAC_FAST_FUZZ_FACTOR=100 pytest tests/ops/test_fuzz_ops.py
FACTOR = int(os.environ.get("SAC_FAST_FUZZ_FACTOR", "1"))


def fuzz(examples):
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def numbers(x):
    return x.double().numpy()


@fuzz(60)
@given(models=batches(), metric=METRICS, threads=st.sampled_from(["1", "2", "7"]))
def test_pairs(instruction_set, monkeypatch, models, metric, threads):
    monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
    a, b = models[:2]
    actual = correlation_distance(a, b, metric=metric, backend="cpu").item()
    expected = definition.distance(numbers(a), numbers(b), metric)
    assert actual == pytest.approx(expected, abs=tolerances.of(a, b))
    assert correlation_distance(a, a.clone(), metric=metric, backend="cpu") == 0.0


@fuzz(60)
@given(models=batches(), metric=METRICS, threads=st.sampled_from(["1", "2", "7"]), data=st.data())
def test_batches(instruction_set, monkeypatch, models, metric, threads, data):
    monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
    expected = np.array([[definition.distance(numbers(a), numbers(b), metric) for a in models] for b in models])
    atol = tolerances.of(*models)
    pairwise = pairwise_correlation_distances(models, metric=metric, backend="cpu")
    np.testing.assert_allclose(pairwise, expected, rtol=0, atol=atol)
    one = correlation_distances(models[0], models, metric=metric, backend="cpu")
    np.testing.assert_allclose(one, expected[0], rtol=0, atol=atol)
    top = data.draw(st.integers(1, len(models) - 1))
    first_pass = data.draw(st.sampled_from(["none", "uint8"]))
    nearest = nearest_models(models, top=top, metric=metric, first_pass=first_pass, backend="cpu")
    np.fill_diagonal(expected, np.inf)
    # with five models at most, the uint8 pass hands all of them on
    np.testing.assert_allclose(nearest.values, np.sort(expected)[:, :top], rtol=0, atol=atol)
    vector = correlation_vector(models[0], metric=metric, backend="cpu")
    entries = definition.matrix(numbers(models[0]), metric)[np.triu_indices(len(models[0]), 1)]
    np.testing.assert_allclose(vector, entries, rtol=0, atol=tolerances.of(models[0]))


@fuzz(40)
@given(
    models=batches(), metric=METRICS, value=st.sampled_from([float("nan"), float("inf"), -float("inf")]), data=st.data()
)
def test_one_bad_number_anywhere(instruction_set, models, metric, value, data):
    which = data.draw(st.integers(0, len(models) - 1))
    row = data.draw(st.integers(0, len(models[0]) - 1))
    models[which] = models[which].clone()
    models[which][row, data.draw(st.integers(0, models[which].shape[1] - 1))] = value
    with pytest.raises(ValueError, match=rf"models\[{which}\] must be finite, got NaN or Inf in row {row}$"):
        pairwise_correlation_distances(models, metric=metric, backend="cpu")
    name = "b" if which else "a"
    with pytest.raises(ValueError, match=rf"^{name} must be finite, got NaN or Inf in row {row}$"):
        correlation_distance(models[0], models[max(which, 1)], metric=metric, backend="cpu")
