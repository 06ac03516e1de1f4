import functools
import math

import numpy as np
import pytest
import torch
from support import definition
from support.model_outputs import outputs
from support.tolerances import FLOAT32, FLOAT64, HIGHEST, LITERAL

from sac_fast import _backend
from sac_fast.ops import correlation_distance, correlation_distance_weighted

METRICS = ["cosine", "pearson", "spearman", "rbf"]
needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def counts(replicates, n, seed=0):
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)


def defined(a, b, weights, metric="cosine"):
    """wᵀDw / (Σw)² with D written out."""
    apart = np.abs(definition.matrix(a.double(), metric) - definition.matrix(b.double(), metric))
    w = np.asarray(weights, dtype=np.float64)
    return np.einsum("ri,ij,rj->r", w, apart, w, optimize=True) / w.sum(axis=1) ** 2


def test_literals(backend):
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # D = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]: wᵀDw = 2 w_1 (w_0 + w_2)
    weights = torch.tensor([[1, 1, 1], [3, 0, 0], [0, 3, 0], [1, 2, 0], [0.5, 0.25, 0.25]])
    actual = correlation_distance_weighted(a, b, weights, backend=backend)
    assert actual.tolist() == pytest.approx([4 / 9, 0, 0, 4 / 9, 0.375], abs=LITERAL)


def test_zero_rows_count_on_the_diagonal(backend):
    # C^a = 0, C^b = 1 for the first probe alone: D_00 = 1
    a, b = torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    actual = correlation_distance_weighted(a, b, np.array([[1, 1], [2, 0], [1, 3]]), backend=backend)
    assert actual.tolist() == pytest.approx([1 / 4, 1, 1 / 16], abs=LITERAL)


@functools.cache
def case_of(metric, n, k, replicates):
    """Two models, weights and distances by definition, which all backends share."""
    a, b, w = outputs(n, k[0], n), outputs(n, k[1], n + 1), counts(replicates, n, n)
    return a, b, w, defined(a, b, w, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [2, 3, 31, 33, 129, 500])
@pytest.mark.parametrize(("k", "replicates"), [((10, 10), 37), ((1, 7), 8), ((300, 2), 1), ((3, 600), 9)])
def test_sizes(backend, metric, n, k, replicates):
    a, b, w, expected = case_of(metric, n, k, replicates)
    actual = correlation_distance_weighted(a, b, w, metric=metric, backend=backend)
    assert actual.shape == (replicates,)
    assert actual.dtype == torch.float32
    assert actual.numpy() == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype_a", HIGHEST)
@pytest.mark.parametrize("dtype_b", [torch.float32, torch.float64])
def test_dtypes(backend, metric, dtype_a, dtype_b):
    a, b, w = outputs(70, 13, 3, dtype_a), outputs(70, 9, 4, dtype_b), counts(5, 70)
    actual = correlation_distance_weighted(a, b, w, metric=metric, backend=backend)
    wide = torch.float64 in (dtype_a, dtype_b)
    assert actual.dtype == (torch.float64 if wide else torch.float32)
    assert actual.numpy() == pytest.approx(defined(a, b, w, metric), abs=HIGHEST[actual.dtype])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [2, 97, 800])
def test_weights_of_one_are_the_distance(backend, metric, n):
    a, b = outputs(n, 7, 5), outputs(n, 12, 6)
    actual = correlation_distance_weighted(a, b, torch.ones(3, n), metric=metric, backend=backend)
    expected = correlation_distance(a, b, metric=metric, backend=backend).item()
    assert actual.tolist() == pytest.approx([expected] * 3, abs=FLOAT32)
    assert actual.tolist() == pytest.approx([definition.distance(a, b, metric)] * 3, abs=FLOAT32)


@pytest.mark.parametrize("metric", METRICS)
def test_counts_are_resampled_rows_and_zeros_leave_probes_out(backend, metric):
    a, b = outputs(60, 7, 7), outputs(60, 12, 8)
    drawn = np.random.default_rng(1).integers(60, size=60)
    subset = np.zeros(60)
    subset[5:25] = 1
    w = np.stack([np.bincount(drawn, minlength=60), subset])
    actual = correlation_distance_weighted(a, b, w, metric=metric, backend=backend)
    expected = [definition.distance(a[drawn], b[drawn], metric), definition.distance(a[5:25], b[5:25], metric)]
    assert actual.tolist() == pytest.approx(expected, abs=FLOAT32)


def test_scale_of_the_weights_does_not_matter(backend):
    a, b, w = outputs(40, 7, 9, torch.float64), outputs(40, 5, 10, torch.float64), counts(6, 40) / 1.0
    scales = np.array([1e-300, 1e-30, 1e-3, 1e3, 1e30, 1e300])[:, None]
    actual = correlation_distance_weighted(a, b, w * scales, backend=backend)
    assert actual.numpy() == pytest.approx(defined(a, b, w), abs=FLOAT64)


def test_large_weights_beside_small_ones(backend):
    a, b = outputs(50, 4, 11), outputs(50, 4, 12)
    w = 10.0 ** np.linspace(-12, 12, 50)[None]
    assert correlation_distance_weighted(a, b, w, backend=backend).numpy() == pytest.approx(
        defined(a, b, w), abs=FLOAT32
    )


@pytest.mark.parametrize("metric", METRICS)
def test_identical_models_are_exactly_zero(backend, metric):
    a = outputs(50, 10, 13)
    actual = correlation_distance_weighted(a, a.clone(), counts(4, 50), metric=metric, backend=backend)
    assert actual.tolist() == [0.0] * 4


def test_any_strides_and_kinds_of_weights(backend):
    wide, w = outputs(45, 40, 14), counts(4, 45)
    a, b, expected = wide[:, ::3], wide.T.contiguous().T[:, 1:9], None
    expected = defined(a, b, w)
    transposed = torch.from_numpy(np.ascontiguousarray(w.T)).T
    for weights in (w, w.astype(np.uint8), w.astype(np.float32), transposed, transposed.half(), w.astype(">i4")):
        actual = correlation_distance_weighted(a, b, weights, backend=backend)
        assert actual.numpy() == pytest.approx(expected, abs=FLOAT32)


@needs_kernels
@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    a, b, w = outputs(1501, 17, 15), outputs(1501, 11, 16), counts(61, 1501)
    values = []
    for threads in ("1", "2", "3", "8", "2"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        values.append(correlation_distance_weighted(a, b, w, metric=metric, backend="cpu"))
    assert all(torch.equal(values[0], other) for other in values[1:])
    apart = (values[0] - correlation_distance_weighted(a, b, w, metric=metric, backend="reference")).abs().max()
    assert apart <= FLOAT32


@needs_kernels
def test_constant_difference_does_not_drift(instruction_set):
    # every entry of D off the diagonal rounds the same way: float32 sums would be off by 1e-5 without short runs
    n, a, b = 3000, torch.ones(3000, 1), torch.eye(2)[torch.arange(3000) % 2] + 0.3
    actual = correlation_distance_weighted(a, b, torch.ones(2, n), backend="cpu")
    cross = 2 * 1.3 * 0.3 / (1.3**2 + 0.3**2)
    assert actual.tolist() == pytest.approx([(1 - cross) / 2] * 2, abs=FLOAT32)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "weights must be finite, got NaN or Inf in row 1"),
        (math.inf, "weights must be finite, got NaN or Inf in row 1"),
        (-1e-9, "weights must be at least 0, got less in row 1"),
        (None, "weights must be positive somewhere, got only zeros in row 1"),
    ],
)
def test_bad_weights_name_the_row(backend, value, message):
    w = torch.ones(3, 20)
    if value is None:
        w[1] = 0
    else:
        w[1, 7] = w[2, 3] = value
    with pytest.raises(ValueError, match=message):
        correlation_distance_weighted(outputs(20, 3), outputs(20, 3, 1), w, backend=backend)


def test_bad_outputs_name_the_row(backend):
    a, bad = outputs(40, 3), outputs(40, 3, 1)
    bad[17, 1] = bad[35, 0] = math.nan
    with pytest.raises(ValueError, match="b must be finite, got NaN or Inf in row 17"):
        correlation_distance_weighted(a, bad, counts(2, 40), backend=backend)


def test_fake_tensors_carry_shape_and_dtype():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = correlation_distance_weighted(torch.empty(9, 4), torch.empty(9, 3).double(), torch.empty(5, 9))
        assert fake.shape == (5,)
        assert fake.dtype == torch.float64
