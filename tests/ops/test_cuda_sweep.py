"""All pairs and nearest neighbours on a CUDA device."""

import numpy as np
import pytest
import torch
from support import model_outputs
from support.model_outputs import defined
from support.tolerances import FLOAT32, HIGHEST, MEDIUM_VECTORS, PRECISION

from sac_fast import correlation_vector, nearest_models, pairwise_correlation_distances
from sac_fast.ops import reference
from sac_fast.ops.cuda import nearest_models as cuda_nearest
from sac_fast.ops.cuda import sweep

METRICS = ["cosine", "pearson", "spearman", "rbf"]
pytestmark = pytest.mark.cuda


def models_of(*arguments, **options):
    return [x.cuda() for x in model_outputs.models_of(*arguments, **options)]


def vectors_of(m, n, dtype, seed):
    generator = torch.Generator("cuda").manual_seed(seed)
    shape = (m, n * (n - 1) // 2)
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, generator=generator, dtype=dtype, device="cuda")
    return torch.rand(shape, generator=generator, device="cuda").mul_(2).sub_(1).to(dtype)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", HIGHEST)
@pytest.mark.parametrize(("m", "n", "k"), [(2, 2, 1), (5, 63, 7), (131, 20, 33), (3, 300, 100)])
def test_pairwise_against_definition(metric, dtype, m, n, k):
    models = models_of(m, n, k, 1, dtype, spread=2)
    models[-1][n // 2] = 0.0
    models[0] = models[-1].clone()
    distances = pairwise_correlation_distances(models, metric=metric, backend="cuda")
    assert distances.is_cuda
    tolerance = HIGHEST[distances.dtype]
    np.testing.assert_allclose(distances.cpu(), defined(models, models, metric), rtol=0, atol=tolerance)
    assert torch.equal(distances, distances.T)
    assert not distances.diagonal().any()
    assert distances[0, -1] == 0.0
    assert torch.equal(distances, pairwise_correlation_distances(models, metric=metric, backend="cuda"))


@pytest.mark.parametrize("k", [3, 7, 129, 1000])
def test_identical_models_are_at_distance_zero_wherever_they_stand(k):
    models = models_of(700, 65, k, 2)
    for place in (0, 1, 137, 251, 699):
        models[place] = models[137].clone()
    distances = pairwise_correlation_distances(torch.stack(models), backend="cuda")
    alike = distances[137] == 0.0
    assert torch.nonzero(alike)[:, 0].tolist() == [0, 1, 137, 251, 699]
    near = nearest_models(models, models[251:252], 5, backend="cuda")
    assert not near.values.any()
    assert near.indices.tolist() == [[0, 1, 137, 251, 699]]


@pytest.mark.parametrize(("precision", "tolerance"), {**PRECISION, "medium": MEDIUM_VECTORS}.items())
def test_precision_on_many_models(precision, tolerance):
    models = torch.stack(models_of(400, 100, 20, 3))
    distances = pairwise_correlation_distances(models, precision=precision, backend="cuda")
    vectors = torch.stack([reference.correlation_vector(x.double()) for x in models])
    expected = torch.cdist(vectors, vectors, p=1) * 2 / 100**2
    assert (distances.double() - expected).abs().max() <= tolerance


@pytest.mark.parametrize("metric", METRICS)
def test_slabs_of_entries(metric, monkeypatch):
    models = models_of(150, 90, 12, 4)
    whole = pairwise_correlation_distances(models, metric=metric, backend="cuda")
    monkeypatch.setattr(sweep, "memory_of", lambda device: 1 << 21)
    slabs = pairwise_correlation_distances(models, metric=metric, backend="cuda")
    torch.testing.assert_close(slabs, whole, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize(("m", "n", "top"), [(3, 2, 2), (500, 24, 10), (1000, 65, 40), (700, 33, 300)])
def test_nearest_vectors(dtype, m, n, top, monkeypatch):
    vectors = vectors_of(m, n, dtype, m)
    vectors[m // 2] = vectors[0]
    queries = vectors[m // 3 : m // 3 + 7].clone()
    for asked in (None, queries):
        expected, order = reference.nearest_vectors(vectors.cpu(), None if asked is None else asked.cpu(), top)
        found = nearest_models(vectors, asked, top, backend="cuda")
        torch.testing.assert_close(found.values.cpu(), expected, rtol=0, atol=FLOAT32)
        if dtype == torch.uint8:
            assert torch.equal(found.indices.cpu(), order)
        again = nearest_models(vectors, asked, top, backend="cuda")
        assert torch.equal(found.values, again.values)
        assert torch.equal(found.indices, again.indices)
        # the models against itself in rounds; then in segments
        for name, value in (("multiprocessors", 0), ("memory_of", 1 << 19)):
            with monkeypatch.context() as patch:
                patch.setattr(cuda_nearest, name, lambda device, value=value: value)
                other = nearest_models(vectors, asked, top, backend="cuda")
            torch.testing.assert_close(other.values, found.values, rtol=0, atol=FLOAT32)
            if dtype == torch.uint8:
                assert torch.equal(other.indices, found.indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_vectors_of_the_host_pass_through_the_device(dtype, monkeypatch):
    vectors = vectors_of(900, 41, dtype, 5)
    expected = nearest_models(vectors, None, 6, backend="cuda")
    monkeypatch.setattr(cuda_nearest, "memory_of", lambda device: 1 << 20)
    found = nearest_models(vectors.cpu().numpy(), None, 6, backend="cuda")
    assert not found.values.is_cuda
    torch.testing.assert_close(found.values, expected.values.cpu(), rtol=0, atol=FLOAT32)
    few = nearest_models(vectors.cpu(), vectors[:9], 6, backend="cuda")
    assert few.values.is_cuda
    assert few.indices[:, 0].tolist() == list(range(9))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("first_pass", ["none", "uint8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_models(metric, first_pass, dtype):
    models = models_of(60, 40, 8, 6, dtype)
    for i in range(30):
        models[30 + i] = models[i] + 0.05 * models[30 + i]
    full = defined(models, models, metric)
    np.fill_diagonal(full, np.inf)
    found = nearest_models(models, None, 5, metric=metric, first_pass=first_pass, backend="cuda")
    tolerance = HIGHEST[dtype]
    np.testing.assert_allclose(found.values.cpu(), np.sort(full)[:, :5], rtol=0, atol=tolerance)
    assert found.indices[:, 0].tolist() == [*range(30, 60), *range(30)]


def test_rows_beyond_two_gibibytes():
    vectors = vectors_of(40_000, 347, torch.uint8, 7)  # 2.4 GB, rows that are no multiple of 16 bytes
    found = nearest_models(vectors, vectors[-300:], 2, backend="cuda")
    assert not found.values[:, 0].any()
    assert found.indices[:, 0].tolist() == list(range(39_700, 40_000))
    second = vectors[found.indices[:, 1]].int() - vectors[-300:].int()
    expected = second.abs().sum(dim=1).double() * 2 / 347**2 / 127.5
    torch.testing.assert_close(found.values[:, 1].double(), expected, rtol=1e-6, atol=0)


def test_nan_names_model_and_row():
    models = models_of(9, 30, 4, 8)
    models[3][17, 1] = torch.nan
    for call in (
        lambda: pairwise_correlation_distances(models, backend="cuda"),
        lambda: nearest_models(models, None, 2, backend="cuda"),
        lambda: nearest_models(models, None, 2, first_pass="uint8", backend="cuda"),
    ):
        with pytest.raises(ValueError, match=r"models\[3\] must be finite, got NaN or Inf in row 17"):
            call()


def test_a_graph_replays_what_was_captured():
    models = torch.stack(models_of(140, 33, 9, 9))
    vectors = torch.stack([correlation_vector(x, dtype=torch.uint8, backend="reference") for x in models])
    expected = pairwise_correlation_distances(models, backend="cuda"), nearest_models(vectors, None, 4, backend="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        distances = pairwise_correlation_distances(models, backend="cuda")
        near = nearest_models(vectors, None, 4, backend="cuda")
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(distances, expected[0])
    assert torch.equal(near.values, expected[1].values)
    assert torch.equal(near.indices, expected[1].indices)


def test_runs_on_the_callers_stream():
    models = torch.stack(models_of(300, 40, 9, 10))
    expected = pairwise_correlation_distances(models, backend="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = models * 1.0
        distances = pairwise_correlation_distances(late, backend="cuda")
    stream.synchronize()
    assert torch.equal(distances, expected)


def test_registered_ops():
    models = models_of(3, 9, 4, 11)
    vectors = vectors_of(5, 9, torch.float32, 12)
    ops = torch.ops.sac_fast
    torch.library.opcheck(ops.pairwise_correlation_distances.default, (models, "rbf", 0.7, "cuda", "highest"))
    torch.library.opcheck(ops.nearest_models.default, (models, [], "cosine", 0.7, 2, 0, "cuda"))
    torch.library.opcheck(ops.nearest_vectors.default, (vectors, None, 2, 0, "cuda"))
