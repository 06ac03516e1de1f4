"""The CUDA side of the ops on zoos, with the kernels run on the processor (emulated_sweep) and a GPU made up."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import definition, emulated_sweep, emulated_tiles
from support.model_outputs import defined, models_of
from support.tolerances import FLOAT32, FLOAT64, HIGHEST, MEDIUM_VECTORS

from sac_fast import _backend, correlation_vector
from sac_fast.ops import dispatch, reference
from sac_fast.ops.cuda import correlation_vector as cuda_vectors
from sac_fast.ops.cuda import nearest_models as cuda_nearest
from sac_fast.ops.cuda import pairwise_correlation_distances as cuda_pairwise

METRICS = ["cosine", "pearson", "spearman", "rbf"]
ops = torch.ops.sac_fast


class Module(emulated_sweep.EmulatedSweep):
    """Both kinds of kernels: those that form vectors, and those that sweep over them."""

    def __init__(self):
        super().__init__(emulated_sweep.compiled())
        self.tiles = emulated_tiles.Module()

    def __getattr__(self, name):
        return getattr(self.tiles, name)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of as much memory, and as many multiprocessors, as a test says; `called` tells what ran."""
    made = SimpleNamespace(total_memory=1 << 33, multi_processor_count=4)
    module = Module()
    module.tiles.library.emulate(80, 4)
    made.called = module.called
    monkeypatch.setattr(_backend, "compiled", lambda backend: module)
    monkeypatch.setattr(dispatch, "check_backend", lambda *arguments: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: made)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(cuda_vectors, "_BATCH_NUMBERS", 3000)
    monkeypatch.setattr(cuda_nearest, "current_device", lambda: torch.device("cpu"))
    return made


def test_a_long_model_changes_nothing_in_the_others(gpu, monkeypatch):
    monkeypatch.setattr(cuda_vectors.cuda_tiles, "MAX_COORDINATES", 16)
    models = models_of(4, 23, 5, 3)
    alone = ops.pairwise_correlation_distances(models, "cosine", 0.7, "cuda", "highest")
    long = models_of(1, 23, 40, 4)[0]
    mixed = [models[0], long, *models[1:], long.clone()]
    found = ops.pairwise_correlation_distances(mixed, "cosine", 0.7, "cuda", "highest")
    others = torch.tensor([0, 2, 3, 4])
    assert torch.equal(found[others][:, others], alone)
    assert found[1, 5] == 0.0
    assert found.numpy() == pytest.approx(defined(mixed, mixed), abs=FLOAT32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_pairwise_against_definition(gpu, metric, dtype):
    models = models_of(7, 23, 5, 1, dtype, spread=2)
    models[2][11] = 0.0  # a row without direction: its C_ii is 0, all others' is 1
    models[4] = models[3].clone()
    distances = ops.pairwise_correlation_distances(models, metric, 0.4, "cuda", "highest")
    assert distances.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = HIGHEST[distances.dtype]
    np.testing.assert_allclose(distances, defined(models, models, metric, 0.4), rtol=0, atol=tolerance)
    assert torch.equal(distances, distances.T)
    assert not distances.diagonal().any()
    assert distances[3, 4] == 0.0
    assert gpu.called == [("pairwise", 7, 7, False)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("total_memory", [1 << 33, 1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_stack_of_models_is_taken_as_a_whole(gpu, metric, total_memory, dtype):
    gpu.total_memory = total_memory
    whole = torch.stack(models_of(6, 21, 5, 11, dtype))
    whole[4, 3] = 0.0
    for stack in (whole, whole.repeat(2, 1, 2)[:6, :, :5], whole.transpose(1, 2).contiguous().transpose(1, 2)):
        distances = ops.pairwise_correlation_distances([stack], metric, definition.SIGMA, "cuda")
        assert torch.equal(distances, ops.pairwise_correlation_distances(list(stack), metric, definition.SIGMA, "cuda"))
        tolerance = HIGHEST[distances.dtype]
        np.testing.assert_allclose(distances, defined(stack, stack, metric), rtol=0, atol=tolerance)
    on_cpu = ops.pairwise_correlation_distances([whole], metric, definition.SIGMA, "reference")
    np.testing.assert_allclose(on_cpu, distances, rtol=0, atol=FLOAT32)
    whole[3, 17, 1] = torch.nan
    with pytest.raises(ValueError, match=r"models\[3\] must be finite, got NaN or Inf in row 17"):
        ops.pairwise_correlation_distances([whole], metric, definition.SIGMA, "cuda")


@pytest.mark.parametrize("metric", METRICS)
def test_pairwise_in_slabs(gpu, metric, monkeypatch):
    models = models_of(5, 40, 9, 2, spread=1)
    models[1][17] = 0.0
    gpu.total_memory = 4 * 5 * 4 * 200  # 200 of the 820 entries at a time
    monkeypatch.setattr(cuda_pairwise, "_FORMING_BYTES", 1)
    distances = ops.pairwise_correlation_distances(models, metric, definition.SIGMA, "cuda", "high")
    np.testing.assert_allclose(distances, defined(models, models, metric), rtol=0, atol=FLOAT32)
    assert [add for *_, add in gpu.called] == [False] + [True] * (len(gpu.called) - 1)
    assert 4 < len(gpu.called) < 9
    gpu.total_memory = 1
    again = ops.pairwise_correlation_distances(models, metric, definition.SIGMA, "cuda", "high")
    np.testing.assert_allclose(again, distances, rtol=0, atol=FLOAT32)


def test_medium_keeps_its_bound(gpu):
    models = models_of(6, 50, 8, 3)
    medium = ops.pairwise_correlation_distances(models, "cosine", 0.7, "cuda", "medium")
    expected = defined(models, models)
    assert 0 < np.abs(medium.numpy() - expected).max() < MEDIUM_VECTORS
    wide = ops.pairwise_correlation_distances([x.double() for x in models], "cosine", 0.7, "cuda", "medium")
    np.testing.assert_allclose(wide, expected, rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(gpu, metric):
    models = models_of(6, 20, 3, 4, spread=1)
    bad = [x.clone() for x in models]
    bad[3][17, 1] = torch.nan
    bad[5][2, 1] = torch.inf
    calls = [
        (lambda: ops.pairwise_correlation_distances(bad, metric, 0.7, "cuda", "highest"), "models"),
        (lambda: ops.nearest_models(bad, [], metric, 0.7, 2, 0, "cuda"), "models"),
        (lambda: ops.nearest_models(bad, [], metric, 0.7, 2, 5, "cuda"), "models"),
        (lambda: ops.nearest_models(models, bad, metric, 0.7, 2, 0, "cuda"), "queries"),
    ]
    for total_memory in (1 << 33, 1):
        gpu.total_memory = total_memory
        for call, name in calls:
            with pytest.raises(ValueError, match=rf"{name}\[3\] must be finite, got NaN or Inf in row 17"):
                call()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("candidates", [0, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_models(gpu, metric, candidates, dtype):
    models = models_of(40, 24, 6, 5, dtype, spread=2)
    for i in range(20):  # 20 + i is a noisy copy of i
        models[20 + i] = models[i] + 0.1 * torch.randn(models[i].shape, generator=torch.Generator().manual_seed(i)).to(
            dtype
        )
    models[7][3] = 0.0
    full = defined(models, models, metric) + np.diag([np.inf] * 40)
    values, indices = ops.nearest_models(models, [], metric, definition.SIGMA, 5, candidates, "cuda")
    assert (values.dtype, indices.dtype) == (dtype, torch.int64)
    tolerance = HIGHEST[dtype]
    np.testing.assert_allclose(values, np.sort(full)[:, :5], rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.take_along_axis(full, indices.numpy(), 1), values, rtol=0, atol=tolerance)
    few = ops.nearest_models(models, models[3:5], metric, definition.SIGMA, 40, candidates, "cuda")
    np.testing.assert_allclose(few[0], np.sort(defined(models[3:5], models, metric)), rtol=0, atol=tolerance)


def vectors_of(m, p, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.uint8:
        vectors = torch.randint(0, 256, (m, p), generator=generator).to(dtype)
    else:
        vectors = torch.rand(m, p, generator=generator, dtype=torch.float64).mul(2).sub(1).to(dtype)
    vectors[m // 2] = vectors[1]
    vectors[m - 1] = vectors[1]
    return vectors


# how much memory, how many multiprocessors: all resident; the models against itself by rounds; in segments
MACHINES = {"resident": (1 << 33, 4), "symmetric": (1 << 33, 0), "streamed": (50_000, 4)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("candidates", [0, 14])
def test_nearest_vectors(gpu, dtype, machine, candidates):
    gpu.total_memory, gpu.multi_processor_count = MACHINES[machine]
    vectors = vectors_of(300, 45, dtype, 6)
    for queries in (None, vectors[100:105].clone()):
        values, indices = ops.nearest_vectors(vectors, queries, 4, candidates, "cuda")
        expected, order = reference.nearest_vectors(vectors, queries, 4)
        torch.testing.assert_close(values, expected, rtol=0, atol=FLOAT32)
        assert torch.equal(indices, order)
    names = {name for name, *_ in gpu.called}
    assert names == ({"nearest", "symmetric"} if machine == "symmetric" else {"nearest"})
    segments = {call[2] for call in gpu.called if call[0] == "nearest"}
    assert max(segments) == (128 if machine == "streamed" else 300)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("total_memory", [1 << 33, 60_000])
def test_long_lists_and_large_sums_are_sorted(gpu, dtype, total_memory, monkeypatch):
    gpu.total_memory = total_memory
    vectors = vectors_of(290, 190, dtype, 7)
    queries = vectors[80:90].clone()
    for asked, top in ((None, 280), (queries, 290)):
        values, indices = ops.nearest_vectors(vectors, asked, top, 0, "cuda")
        expected, order = reference.nearest_vectors(vectors, asked, top)
        torch.testing.assert_close(values, expected, rtol=0, atol=FLOAT32)
        if dtype == torch.uint8:
            assert torch.equal(indices, order)
    monkeypatch.setattr(cuda_nearest, "_MAX_UINT8_BYTES", 128)
    gpu.called.clear()
    values, indices = ops.nearest_vectors(vectors, queries, 3, 0, "cuda")
    torch.testing.assert_close((values, indices), reference.nearest_vectors(vectors, queries, 3), rtol=0, atol=FLOAT32)
    assert {call[0] for call in gpu.called} == {"pairwise" if dtype == torch.uint8 else "nearest"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_vectors_with_nan_are_refused(gpu, dtype, value):
    vectors = vectors_of(9, 10, dtype, 8)
    wrong = vectors.clone()
    wrong[4, 7] = value
    for total_memory in (1 << 33, 1):
        gpu.total_memory = total_memory
        for models, queries in ((wrong, None), (vectors, wrong), (wrong, vectors)):
            with pytest.raises(ValueError, match="models and queries must be finite, got a vector with NaN or Inf"):
                ops.nearest_vectors(models, queries, 3, 0, "cuda")


def test_vectors_where_the_kernels_cannot_read_them(gpu):
    # rows of 45 bytes, and a first row that is not aligned: they are copied, 16 bytes aligned
    vectors = vectors_of(61, 45, torch.uint8, 9)
    for models in (vectors, torch.cat([vectors[:1], vectors])[1:], vectors.T.contiguous().T):
        values, indices = ops.nearest_vectors(models, None, 5, 0, "cuda")
        torch.testing.assert_close((values, indices), reference.nearest_vectors(vectors, None, 5), rtol=0, atol=FLOAT32)


def test_one_form_gives_the_distances_of_another(gpu):
    models = models_of(30, 25, 7, 10)
    vectors = torch.stack([correlation_vector(x, backend="reference") for x in models])
    of_vectors = ops.nearest_vectors(vectors, None, 3, 0, "cuda")
    of_outputs = ops.nearest_models(models, [], "cosine", 0.7, 3, 0, "cuda")
    torch.testing.assert_close(of_vectors, of_outputs, rtol=0, atol=FLOAT32)
