"""correlation_distances, pairwise_correlation_distances, nearest_models, correlation_vector."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from support import definition
from support.tolerances import FLOAT32, FLOAT64, HIGHEST, STORED

import sac_fast
from sac_fast import (
    BackendError,
    correlation_distance,
    correlation_distances,
    correlation_vector,
    nearest_models,
    pairwise_correlation_distances,
)

METRICS = ["cosine", "pearson", "spearman", "rbf"]


def zoo_of(m, n, k, seed=0, dtype=torch.float32, spread=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, k + i % (spread + 1), generator=generator, dtype=torch.float64).to(dtype) for i in range(m)]


def defined(left, right, metric="cosine"):
    matrices = [[definition.matrix(x.double(), metric) for x in zoo] for zoo in (left, right)]
    return np.array([[np.abs(a - b).mean() for b in matrices[1]] for a in matrices[0]])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 2, 1), (2, 33, 7), (5, 70, 100), (11, 31, 10), (3, 129, 300)])
def test_against_definition(backend, metric, m, n, k):
    zoo = zoo_of(m, n, k, spread=3)
    zoo[-1][n // 2] = 0.0  # a row without direction: its C_ii is 0, all others' is 1
    expected = defined(zoo, zoo, metric)
    pairwise = pairwise_correlation_distances(zoo, metric=metric, backend=backend)
    assert (pairwise.shape, pairwise.dtype) == ((m, m), torch.float32)
    np.testing.assert_allclose(pairwise, expected, rtol=0, atol=FLOAT32)
    assert torch.equal(pairwise, pairwise.T)
    assert not pairwise.diagonal().any()
    one = correlation_distances(zoo[-1], zoo, metric=metric, backend=backend)
    assert (one.shape, one.dtype) == ((m,), torch.float32)
    np.testing.assert_allclose(one, expected[-1], rtol=0, atol=FLOAT32)
    assert one[-1] == 0.0


@pytest.mark.parametrize("dtype", HIGHEST)
def test_dtypes(backend, dtype):
    zoo = zoo_of(6, 40, 12, 1, dtype)
    zoo[2] = zoo[2].float()
    tolerance = HIGHEST[dtype]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = defined(zoo, zoo)
    for actual, wanted in [
        (pairwise_correlation_distances(zoo, backend=backend), expected),
        (correlation_distances(zoo[0], zoo, backend=backend), expected[0]),
        (nearest_models(zoo, zoo[:1], top=6, backend=backend).values, np.sort(expected[:1])),
    ]:
        assert actual.dtype == wide
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance)


def test_long_rows_of_one_sign(backend):
    # products that are all summed up to 1 before they are compared: float32's rounding adds up
    zoo = [1 + 1e-3 * x for x in zoo_of(4, 40, 700, 2)] + [torch.ones(40, 50)]
    expected = defined(zoo, zoo)
    np.testing.assert_allclose(pairwise_correlation_distances(zoo, backend=backend), expected, rtol=0, atol=FLOAT32)
    np.testing.assert_allclose(correlation_distances(zoo[0], zoo, backend=backend), expected[0], rtol=0, atol=FLOAT32)


def test_stacked_and_strided_zoos(backend):
    stacked = torch.stack(zoo_of(7, 30, 6, 3))
    expected = defined(stacked, stacked)
    for zoo in (stacked, stacked.numpy(), stacked.transpose(1, 2).contiguous().transpose(1, 2), list(stacked.numpy())):
        np.testing.assert_allclose(pairwise_correlation_distances(zoo, backend=backend), expected, rtol=0, atol=FLOAT32)
    np.testing.assert_allclose(
        correlation_distances(stacked[0, ::2], stacked[:, ::2], backend=backend),
        defined(stacked[:1, ::2], stacked[:, ::2])[0],
        rtol=0,
        atol=FLOAT32,
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("first_pass", ["none", "uint8"])
def test_nearest_models(backend, metric, first_pass):
    half = 6 if backend == "reference" else 30
    zoo = zoo_of(2 * half, 40, 8, 4)
    for i in range(half):  # relatives: half + i is a noisy copy of i
        zoo[half + i] = zoo[i] + 0.05 * zoo[half + i]
    full = defined(zoo, zoo, metric)
    np.fill_diagonal(full, np.inf)
    found = nearest_models(zoo, top=5, metric=metric, first_pass=first_pass, backend=backend)
    assert (found.values.dtype, found.indices.dtype) == (torch.float32, torch.int64)
    np.testing.assert_allclose(found.values, np.sort(full)[:, :5], rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(found.indices[:, 0], [*range(half, 2 * half), *range(half)])
    np.testing.assert_allclose(
        np.take_along_axis(full, found.indices.numpy(), 1), np.sort(full)[:, :5], rtol=0, atol=FLOAT32
    )


def test_nearest_models_of_queries(backend):
    zoo, queries = zoo_of(25, 30, 5, 5), zoo_of(4, 30, 9, 6)
    expected = defined(queries, zoo)
    values, indices = nearest_models(zoo, queries, top=25, backend=backend)
    np.testing.assert_allclose(values, np.sort(expected), rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(np.sort(indices), np.tile(np.arange(25), (4, 1)))


def test_ties_go_by_index(backend):
    one = zoo_of(1, 20, 4, 7)[0]
    values, indices = nearest_models([one] * 6, top=5, backend=backend)
    assert not values.any()
    assert indices.tolist() == [[j for j in range(6) if j != i] for i in range(6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_nearest_models_of_vectors(backend, dtype):
    zoo = zoo_of(40, 30, 6, 8)
    vectors = torch.stack([correlation_vector(x, dtype=dtype) for x in zoo])
    assert vectors.dtype == dtype
    full = scipy.spatial.distance.cdist(vectors.double(), vectors.double(), "cityblock") * 2 / 30**2
    if dtype == torch.uint8:
        full /= 127.5
    expected = np.sort(full + np.diag([np.inf] * 40))[:, :7]
    for given in (vectors, vectors.numpy()):
        found = nearest_models(given, top=7, backend=backend)
        np.testing.assert_allclose(found.values, expected, rtol=0, atol=FLOAT32)
    asked = nearest_models(vectors, vectors[3:5], top=40, backend=backend)
    np.testing.assert_allclose(asked.values, np.sort(full[3:5]), rtol=0, atol=FLOAT32)
    if dtype != torch.uint8:
        rough = nearest_models(vectors, top=7, first_pass="uint8", backend=backend)
        np.testing.assert_allclose(rough.values, expected, rtol=0, atol=FLOAT32)


def test_sweep_over_several_blocks(instruction_set):
    # more models than one block holds, so that blocks meet each other in both directions
    vectors = torch.randint(0, 256, (2500, 10), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    full = torch.cdist(vectors.double(), vectors.double(), p=1).fill_diagonal_(torch.inf)
    values, indices = nearest_models(vectors, top=3)
    expected, order = torch.sort(full, stable=True)
    torch.testing.assert_close(values.double(), expected[:, :3] * 2 / 25 / 127.5, rtol=0, atol=FLOAT32)
    assert torch.equal(indices, order[:, :3])


def test_memory_map_larger_than_what_is_read(tmp_path):
    vectors = torch.stack([correlation_vector(x) for x in zoo_of(50, 20, 6, 10)]).numpy()
    path = tmp_path / "vectors.npy"
    np.save(path, vectors)
    mapped = np.load(path, mmap_mode="r")
    found = nearest_models(mapped, top=4)
    torch.testing.assert_close(found, nearest_models(vectors, top=4))


@pytest.mark.parametrize("metric", METRICS)
def test_correlation_vector_is_the_upper_triangle(backend, metric):
    for n in (2, 33, 70):
        outputs = zoo_of(1, n, 11, n)[0]
        vector = correlation_vector(outputs, metric=metric, backend=backend)
        expected = definition.matrix(outputs.double(), metric)[np.triu_indices(n, 1)]
        np.testing.assert_allclose(vector, expected, rtol=0, atol=FLOAT32)
    wide = correlation_vector(outputs.double(), metric=metric, backend=backend)
    np.testing.assert_allclose(wide, expected, rtol=0, atol=FLOAT64)


def test_storage_forms_keep_their_error_bounds():
    a, b = zoo_of(2, 60, 10, 11)
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


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    zoo = zoo_of(90, 65, 9, 12, spread=2)
    seen = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        results = [
            pairwise_correlation_distances(zoo, metric=metric),
            correlation_distances(zoo[0], zoo, metric=metric),
            nearest_models(zoo, top=4, metric=metric, first_pass="uint8").values,
            nearest_models(zoo, top=4, metric=metric).values,
        ]
        seen.add(tuple(result.numpy().tobytes() for result in results))
    assert len(seen) == 1


def test_identical_models_are_exactly_zero(backend):
    one = zoo_of(1, 50, 10, 13)[0]
    assert not correlation_distances(one, [one.clone(), one], backend=backend).any()
    assert not pairwise_correlation_distances([one, one.clone(), one], backend=backend).any()


ZOO = torch.ones(3, 5, 2)
BAD_CALLS = [
    (lambda: correlation_distances(ZOO[0], []), ValueError, "suspects must hold at least 1 model, got 0"),
    (lambda: correlation_distances(ZOO[0], ZOO[0]), ValueError, r"suspects must have shape \(m, n, k\), got \(5, 2\)"),
    (lambda: correlation_distances(ZOO[0], 7), TypeError, "suspects must be a tensor, .* got int"),
    (
        lambda: correlation_distances(ZOO[0], [ZOO[0], ZOO[0, :4]]),
        ValueError,
        r"suspects\[1\] must have 5 rows like the first argument, got 4",
    ),
    (lambda: pairwise_correlation_distances([ZOO[0], ZOO[0].long()]), TypeError, r"models\[1\] must be floating point"),
    (lambda: pairwise_correlation_distances(ZOO, metric="l7"), ValueError, "metric must be one of"),
    (
        lambda: pairwise_correlation_distances(ZOO, precision="low"),
        ValueError,
        "precision must be one of highest, high",
    ),
    (lambda: pairwise_correlation_distances(ZOO[:, :1]), ValueError, "models must have at least 2 rows"),
    (lambda: pairwise_correlation_distances(ZOO[:0]), ValueError, "models must hold at least 1 model"),
    (lambda: nearest_models(ZOO, top=3), ValueError, r"top must be within 1 … 2 .*got 3"),
    (lambda: nearest_models(ZOO, ZOO, top=0), ValueError, r"top must be within 1 … 3 .*got 0"),
    (lambda: nearest_models(ZOO, top=1.5), TypeError, "top must be an integer, got float"),
    (lambda: nearest_models(ZOO, top=1, first_pass="int4"), ValueError, "first_pass must be one of none, uint8"),
    (lambda: nearest_models(torch.ones(4, 5), top=1), ValueError, r"models must have shape \(m, n\(n-1\)/2\)"),
    (lambda: nearest_models(torch.ones(4, 6).long(), top=1), TypeError, "models must be vectors of uint8, .*int64"),
    (lambda: nearest_models(np.ones((4, 6)), top=1), TypeError, "models must be vectors of uint8, .*float64"),
    (
        lambda: nearest_models(torch.ones(4, 6), torch.ones(4, 10), top=1),
        ValueError,
        r"queries must be \(q, 6\) torch.float32 like models, got \(4, 10\)",
    ),
    (
        lambda: pairwise_correlation_distances(ZOO[:, :, :0]),
        ValueError,
        r"models must have at least 1 column \(output\)",
    ),
    (lambda: pairwise_correlation_distances(ZOO.to_sparse()), TypeError, "models must be a dense tensor, got layout"),
    (lambda: correlation_distances(ZOO[0], np.ma.array(ZOO)), TypeError, "suspects must be a plain NumPy array"),
    (
        lambda: nearest_models(torch.ones(4, 6), torch.ones(6), top=1),
        ValueError,
        r"queries must have shape \(m, n\(n-1\)/2\), m at least 1, got \(6,\)",
    ),
    (lambda: nearest_models(torch.ones(4, 6), torch.ones(1, 4, 6), top=1), ValueError, r"queries .* got \(1, 4, 6\)"),
    (
        lambda: nearest_models(torch.ones(4, 6).to_sparse(), top=1),
        TypeError,
        "models must be a dense tensor, got layout",
    ),
    (
        lambda: nearest_models(np.ma.array(np.ones((4, 6), np.float32)), top=1),
        TypeError,
        "models must be a plain NumPy array, got a masked one",
    ),
    (lambda: correlation_vector(ZOO[0], dtype=torch.int8), ValueError, "dtype must be one of torch.uint8, .*int8"),
    (lambda: pairwise_correlation_distances(ZOO, backend="cuda"), BackendError, "needs tensors on a cuda device"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS, ids=[m[:40] for *_, m in BAD_CALLS])
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(instruction_set, metric):
    zoo = zoo_of(5, 40, 3, 14)
    bad = [*zoo[:3], zoo[3].clone(), zoo[4].clone()]
    bad[3][17, 1] = float("nan")
    bad[4][2, 1] = float("inf")
    calls = [
        (lambda: pairwise_correlation_distances(bad, metric=metric), r"models\[3\]"),
        (lambda: correlation_distances(zoo[0], bad, metric=metric), r"suspects\[3\]"),
        (lambda: correlation_distances(bad[3], zoo, metric=metric), "source"),
        (lambda: nearest_models(bad, top=1, metric=metric), r"models\[3\]"),
        (lambda: nearest_models(zoo, bad, top=1, metric=metric), r"queries\[3\]"),
        (lambda: correlation_vector(bad[3], metric=metric), "outputs"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"{name} must be finite, got NaN or Inf in row 17"):
            call()


@pytest.mark.parametrize("first_pass", ["none", "uint8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_with_nan_are_refused(instruction_set, first_pass, value):
    vectors = torch.zeros(6, 10)
    vectors[4, 7] = value
    with pytest.raises(ValueError, match="must be finite"):
        nearest_models(vectors, top=5, first_pass=first_pass)


def test_registered_ops():
    zoo = zoo_of(3, 9, 4, 15)
    ops = torch.ops.sac_fast
    vectors = torch.stack([correlation_vector(x) for x in zoo])
    torch.library.opcheck(ops.correlation_distances.default, (zoo[0], zoo, "cosine", 0.7, "auto"))
    torch.library.opcheck(ops.pairwise_correlation_distances.default, (zoo, "rbf", 0.7, "auto"))
    torch.library.opcheck(ops.nearest_models.default, (zoo, [], "cosine", 0.7, 2, 0, "auto"))
    torch.library.opcheck(ops.nearest_vectors.default, (vectors, None, 2, 0, "auto"))
    torch.library.opcheck(ops.correlation_vector.default, (zoo[0], "pearson", 0.7, "auto"))


def test_public_names():
    assert {"correlation_distances", "nearest_models"} <= set(sac_fast.__all__)


@pytest.mark.parametrize("first_pass", ["none", "uint8"])
def test_a_vector_with_nan_is_refused_whoever_sweeps(backend, first_pass):
    vectors = torch.rand(40, 10)
    vectors[39, 3] = torch.nan
    with pytest.raises(ValueError, match="must be finite, got a vector with NaN or Inf"):
        nearest_models(vectors, vectors[:2], top=1, first_pass=first_pass, backend=backend)
