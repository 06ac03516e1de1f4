import functools
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from support import definition
from support.model_outputs import outputs
from support.tolerances import FLOAT32, FLOAT64, HIGHEST, LITERAL

from sac_fast import _backend
from sac_fast.ops import correlation_distance

METRICS = ["cosine", "pearson", "spearman", "rbf"]
COMPARISONS = ["l1", "l2", "rsa", "cka"]
needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def test_literals(backend):
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # C = [[1, 0], [0, 1]]
    b = torch.tensor([[2.0, 0.0], [3.0, 0.0]])  # C = [[1, 1], [1, 1]]
    assert correlation_distance(a, b, backend=backend).item() == 0.5
    assert correlation_distance(a, b, comparison="l2", backend=backend).item() == pytest.approx(
        math.sqrt(0.5), abs=LITERAL
    )
    # rbf, 2σ² = 1: off the diagonal exp(-2) against exp(0)
    rbf = correlation_distance(a, b, metric="rbf", backend=backend).item()
    assert rbf == pytest.approx((1 - math.exp(-2)) / 2, abs=LITERAL)
    # three rows: above the diagonal a has (0, 0, 1), b has (1, 0, 0): Pearson correlation -1/2
    a = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    b = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert correlation_distance(a, b, comparison="rsa", backend=backend).item() == pytest.approx(1.5, abs=LITERAL)
    # the same two groupings, centred: <HC^aH, HC^bH> / (|…| |…|) = (4/9) / (16/9)
    assert correlation_distance(a, b, comparison="cka", backend=backend).item() == pytest.approx(0.75, abs=LITERAL)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("k", [(10, 10), (7, 33), (300, 2)])
def test_metric_and_comparison(backend, metric, comparison, k):
    a, b = outputs(67, k[0], 1), outputs(67, k[1], 2)
    actual = correlation_distance(a, b, metric=metric, comparison=comparison, backend=backend)
    assert actual.shape == ()
    assert actual.dtype == torch.float32
    expected = definition.distance(a.double(), b.double(), metric, comparison)
    assert actual.item() == pytest.approx(expected, abs=HIGHEST[torch.float32])


@functools.cache
def case_of(metric, n, k):
    """Two models and their distance by definition, which all backends share."""
    a, b = outputs(n, k, n), outputs(n, k, n + 1)
    return a, b, definition.distance(a.double(), b.double(), metric)


@pytest.mark.parametrize("metric", ["cosine", "pearson", "rbf"])
@pytest.mark.parametrize("n", [2, 3, 31, 32, 33, 127, 128, 129, 1001])
@pytest.mark.parametrize("k", [1, 7, 10, 512, 1000])
def test_sizes(backend, metric, n, k):
    a, b, expected = case_of(metric, n, k)
    assert correlation_distance(a, b, metric=metric, backend=backend).item() == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("dtype_a", HIGHEST)
@pytest.mark.parametrize("dtype_b", HIGHEST)
@pytest.mark.parametrize("metric", METRICS)
def test_dtypes(backend, dtype_a, dtype_b, metric):
    a, b = outputs(70, 13, 3, dtype_a), outputs(70, 13, 4, dtype_b)
    actual = correlation_distance(a, b, metric=metric, backend=backend)
    wide = torch.float64 in (dtype_a, dtype_b)
    assert actual.dtype == (torch.float64 if wide else torch.float32)
    expected = definition.distance(a.double(), b.double(), metric)
    assert actual.item() == pytest.approx(expected, abs=HIGHEST[actual.dtype])


def test_half_precision_extremes(backend):
    # subnormal, smallest normal, largest, negative zero: the widening must be exact
    a = torch.tensor([[6e-8, 6.1e-5, 65504.0], [-0.0, -6e-8, 1e-7], [1, 2, 3]], dtype=torch.float16)
    b = torch.tensor([[1e-40, 1, 3e38], [1e-40, -1e-40, 0], [1, 2, 3]], dtype=torch.bfloat16)
    actual = correlation_distance(a, b, backend=backend).item()
    assert actual == pytest.approx(definition.distance(a.double(), b.double()), abs=FLOAT32)


def test_strides(backend):
    wide_a, wide_b = outputs(90, 40, 5), outputs(80, 90, 6)
    views = [
        (wide_a[::2, ::3], wide_b.T[::2, :14]),
        (wide_a.T[:40, 1:8], wide_b[3:43, 5:12]),
        (wide_a[:1].expand(45, 40), wide_a[:45]),
    ]
    for a, b in views:
        actual = correlation_distance(a, b, backend=backend).item()
        assert actual == pytest.approx(definition.distance(a.double(), b.double()), abs=FLOAT32)


@needs_kernels
@pytest.mark.parametrize("k", [10, 512])
def test_ten_thousand_probes_against_float64(k):
    a = outputs(10_000, k, 7)
    b = a + 0.3 * outputs(10_000, k, 8)
    actual = correlation_distance(a, b, backend="cpu").item()
    x = torch.nn.functional.normalize(a.double(), eps=0)
    y = torch.nn.functional.normalize(b.double(), eps=0)
    expected = (x @ x.T).sub_(y @ y.T).abs_().mean().item()
    assert actual == pytest.approx(expected, abs=FLOAT32)


PEAK_MEMORY = """
import resource, torch
from sac_fast.ops import correlation_distance
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
generator = torch.Generator().manual_seed(0)
a = torch.randn({n}, {k}, generator=generator); b = torch.randn({n}, {k}, generator=generator)
correlation_distance(a[:200], b[:200], backend="cpu")
before = peak()
print(correlation_distance(a, b, backend="cpu").item(), peak() - before)
"""


@needs_kernels
@pytest.mark.parametrize("n", [30_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_stays_flat(tmp_path, n):
    script = PEAK_MEMORY.format(n=n, k=64)
    # away from the source tree, which has no compiled module
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    distance, extra = run.stdout.split()
    assert int(extra) < 200e6  # C alone would be 3.6 GB, or 40, twice
    # independent Gaussian rows: <x̂_i, x̂_j> has variance 1/k, the difference of two of them 2/k
    assert float(distance) == pytest.approx(math.sqrt(2 / math.pi * 2 / 64), rel=0.01)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_identical_models_are_exactly_zero(backend, metric, comparison):
    for n, k in [(2, 1), (50, 10), (40, 90)]:
        a = outputs(n, k, 9)
        assert correlation_distance(a, a.clone(), metric=metric, comparison=comparison, backend=backend) == 0.0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_invariants(backend, metric, comparison):
    a, b = outputs(60, 12, 10), outputs(60, 8, 11)

    def distance(x, y):
        return correlation_distance(x, y, metric=metric, comparison=comparison, backend=backend).item()

    d = distance(a, b)
    assert d > 0.05
    assert distance(b, a) == pytest.approx(d, abs=FLOAT32)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    assert distance(a[order], b[order]) == pytest.approx(d, abs=FLOAT32)
    scale = 10.0 ** torch.linspace(-20, 20, 60)[:, None]
    assert distance(a * scale, b) == pytest.approx(d, abs=FLOAT32)
    if metric in ("pearson", "spearman"):
        shift = torch.linspace(-3, 3, 60)[:, None]
        assert distance(a.double() + shift, b) == pytest.approx(d, abs=FLOAT32)
    if metric == "spearman":
        assert distance(a.exp(), b) == pytest.approx(d, abs=FLOAT32)
    if comparison in ("l1", "l2"):
        c = outputs(60, 5, 12)
        assert distance(a, c) <= d + distance(b, c) + FLOAT32


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_any_scale(backend, metric):
    a, b = outputs(40, 6, 13, torch.float64), outputs(40, 6, 14, torch.float64)
    expected = definition.distance(a, b, metric)
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        actual = correlation_distance(a * scale, b, metric=metric, backend=backend).item()
        assert actual == pytest.approx(expected, abs=FLOAT64)
    single = correlation_distance(a.float() * 1e-37, b.float() * 1e37, metric=metric, backend=backend).item()
    assert single == pytest.approx(expected, abs=FLOAT32)
    subnormal = torch.tensor([[5e-324, 0.0], [0.0, 5e-324]], dtype=torch.float64)
    plain = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert correlation_distance(subnormal, plain, metric=metric, backend=backend).item() == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_zero_and_constant_rows(backend, metric):
    a, b = outputs(30, 5, 15), outputs(30, 5, 16)
    a[3], b[7], a[9], b[9] = 0.0, 0.0, 0.3, 0.7
    actual = correlation_distance(a, b, metric=metric, backend=backend).item()
    # 0.3 in float32 is constant: no direction once centred (the definition's mean of 5 equal numbers is exact)
    assert actual == pytest.approx(definition.distance(a.double(), b.double(), metric), abs=FLOAT32)


def test_constant_float64_rows_have_no_pearson_direction(backend):
    # the mean of seven 0.1s is not 0.1 in floating point; what is left must not become a direction
    a = torch.full((5, 7), 0.1, dtype=torch.float64)
    b = outputs(5, 7, 17, torch.float64)
    actual = correlation_distance(a, b, metric="pearson", backend=backend).item()
    assert actual == pytest.approx(np.abs(definition.matrix(b, "pearson")).mean(), abs=FLOAT64)


def test_all_zero_against_all_zero(backend):
    zeros = torch.zeros(4, 3)
    for metric in METRICS:
        assert correlation_distance(zeros, zeros, metric=metric, backend=backend).item() == 0.0
    # C^a = 0 against C^b = 1
    assert correlation_distance(zeros, torch.ones(4, 3), backend=backend).item() == pytest.approx(1.0, abs=FLOAT32)
    # no variation at all correlates 0 with anything
    for comparison in ("rsa", "cka"):
        got = correlation_distance(zeros, outputs(4, 3), comparison=comparison, backend=backend).item()
        assert got == 1.0


@pytest.mark.parametrize("k", [500, 4096])
@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_long_rows_of_one_sign(backend, k, metric):
    # rows of nearly equal numbers: every product is added to a sum near 1, so float32's rounding adds up
    a = 1 + 1e-3 * outputs(64, k, 18)
    b = 1 + 1e-3 * outputs(64, k, 19)
    for left, right in [(a, b), (torch.ones(64, k), b), (a[:, : k // 2], b)]:
        actual = correlation_distance(left, right, metric=metric, backend=backend).item()
        assert actual == pytest.approx(definition.distance(left.double(), right.double(), metric), abs=FLOAT32)


@pytest.mark.parametrize("comparison", ["rsa", "cka"])
def test_little_variation_keeps_its_digits(backend, comparison):
    # all correlations within 1e-6 of 1: moments alone would lose everything to cancellation
    a = 1 + 1e-3 * outputs(40, 8, 20, torch.float64)
    b = 1 + 1e-3 * outputs(40, 8, 21, torch.float64)
    actual = correlation_distance(a, b, comparison=comparison, backend=backend).item()
    assert actual == pytest.approx(definition.distance(a, b, comparison=comparison), abs=FLOAT32)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_sigma(backend, sigma):
    a = outputs(80, 20, 22)
    b = a + 0.05 * outputs(80, 20, 23)
    actual = correlation_distance(a, b, metric="rbf", sigma=sigma, backend=backend).item()
    assert actual == pytest.approx(definition.distance(a.double(), b.double(), "rbf", "l1", sigma), abs=FLOAT32)


@needs_kernels
@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    a, b = outputs(3001, 17, 24), outputs(3001, 11, 25)
    values = []
    for threads in ("1", "2", "3", "8", "2"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        values.append(correlation_distance(a, b, metric=metric, backend="cpu").item())
    assert len(set(values)) == 1


def test_numpy_arrays():
    a, b = outputs(20, 4, 26).numpy(), outputs(20, 4, 27).numpy()
    expected = definition.distance(a, b)
    frozen = a.copy()
    frozen.flags.writeable = False
    for left in (a, np.asfortranarray(a), frozen, a.astype(">f4"), a[::-1][::-1], a.astype(np.float64)):
        actual = correlation_distance(left, b)
        assert isinstance(actual, torch.Tensor)
        assert actual.item() == pytest.approx(expected, abs=FLOAT32)
    record = np.zeros(20, dtype=[("tag", "u1"), ("outputs", "f4", 4)])  # odd, unaligned steps between rows
    record["outputs"] = a
    assert correlation_distance(record["outputs"], b).item() == pytest.approx(expected, abs=FLOAT32)
    reverse = correlation_distance(a[::-1], b[::-1]).item()
    assert reverse == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("comparison", ["l1", "rsa"])
def test_nan_and_inf_name_the_row(backend, metric, comparison):
    for dtype, value in itertools.product(HIGHEST, (float("nan"), float("inf"), -float("inf"))):
        a, b = outputs(40, 3, 28, dtype), outputs(40, 3, 29, dtype)
        bad = b.clone()
        bad[35, 1] = bad[17, 2] = value
        with pytest.raises(ValueError, match="b must be finite, got NaN or Inf in row 17"):
            correlation_distance(a, bad, metric=metric, comparison=comparison, backend=backend)
        with pytest.raises(ValueError, match="a must be finite, got NaN or Inf in row 17"):
            correlation_distance(bad, b, metric=metric, comparison=comparison, backend=backend)


def test_fake_tensors_carry_shape_and_dtype():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = correlation_distance(torch.empty(9, 4), torch.empty(9, 3, dtype=torch.float64))
        assert fake.shape == ()
        assert fake.dtype == torch.float64


def test_outputs_that_require_grad_are_refused_where_gradients_are_recorded():
    a, b = outputs(9, 4, 32).requires_grad_(), outputs(9, 4, 33)
    with pytest.raises(ValueError, match=r"a must not require grad .*: expected a\.detach\(\)"):
        correlation_distance(a, b)
    with torch.no_grad():
        assert correlation_distance(a, b) == correlation_distance(a.detach(), b)
