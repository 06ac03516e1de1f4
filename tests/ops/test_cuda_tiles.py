"""How sac_fast.ops.cuda.tiles packs, cuts into slabs and batches, on kernels that run on the processor."""

import contextlib

import numpy as np
import pytest
import torch
from support import definition, emulated_tiles
from support.tolerances import FLOAT32, HIGHEST, PRECISION

from sac_fast.ops import correlation_distance, correlation_distances, dispatch
from sac_fast.ops.cuda import correlation_distances as cuda_distances
from sac_fast.ops.cuda import correlation_matrix as cuda_matrix
from sac_fast.ops.cuda import tiles as cuda_tiles

ops = torch.ops.sac_fast


@pytest.fixture(params=emulated_tiles.KERNELS)
def tiles(request, monkeypatch):
    module = emulated_tiles.Module()
    module.library.emulate(emulated_tiles.KERNELS[request.param], 4)
    monkeypatch.setattr(cuda_tiles._backend, "compiled", lambda backend: module)
    monkeypatch.setattr(dispatch, "check_backend", lambda *arguments: None)
    monkeypatch.setattr(cuda_tiles, "on_device", lambda device: contextlib.nullcontext(0))
    return cuda_tiles


def models(m, n, k, seed, dtype=torch.float32):
    return torch.randn(m, n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def distances(tiles, source, suspects, metric="cosine", precision="highest", sigma=definition.SIGMA):
    names = ["source", *(f"suspects[{i}]" for i in range(len(suspects)))]
    return cuda_distances.tile_distances(source, suspects, metric, sigma, precision, names)


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
def test_slabs_and_batches_change_nothing_that_matters(tiles, metric, monkeypatch):
    source, *others = models(4, 290, 20, 1)
    suspects = [*others, models(1, 290, 33, 2)[0].to(torch.float16), models(1, 290, 20, 3)[0].T.contiguous().T]
    expected = [definition.distance(source, x, metric) for x in suspects]
    whole = distances(tiles, source, suspects, metric)
    assert whole.numpy() == pytest.approx(expected, abs=FLOAT32)
    monkeypatch.setattr(tiles, "SLAB_BYTES", 1)
    monkeypatch.setattr(tiles, "BATCH_BYTES", 80_000)
    assert distances(tiles, source, suspects, metric).numpy() == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_levels(tiles, precision):
    a, b = models(2, 200, 100, 4)
    expected = definition.distance(a, b)
    error = abs(distances(tiles, a, [b], precision=precision).item() - expected)
    assert error <= PRECISION[precision]
    if precision == "medium":
        assert error > 1e-8  # it is another computation


def test_many_suspects_are_one_launch_of_pack_and_one_of_distances(tiles, monkeypatch):
    batch = models(9, 40, 20, 5)
    calls = []
    module = tiles._backend.compiled("cuda")
    for name in ("pack_rows_cuda", "correlation_distances_tiles"):
        function = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, name=name, function=function: calls.append(name) or function(*args)
        )
    actual = distances(tiles, batch[0], list(batch[1:]))
    assert calls == ["pack_rows_cuda", "pack_rows_cuda", "correlation_distances_tiles"]
    assert actual.numpy() == pytest.approx([definition.distance(batch[0], x) for x in batch[1:]], abs=FLOAT32)


def test_identical_models_give_zero_whatever_their_neighbours(tiles):
    batch = models(3, 140, 50, 6)
    batch[1] = batch[0]
    for metric in ("cosine", "pearson", "spearman", "rbf"):
        assert distances(tiles, batch[0], list(batch), metric)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("metric", ["cosine", "spearman"])
def test_the_first_bad_row_is_named(tiles, metric, monkeypatch):
    batch = models(4, 300, 20, 7)
    batch[2, 270, 3] = torch.inf
    batch[2, 201, 3] = torch.nan
    batch[3, 5, 0] = torch.nan
    for size in (tiles.SLAB_BYTES, 1):
        monkeypatch.setattr(tiles, "SLAB_BYTES", size)
        with pytest.raises(ValueError, match=r"suspects\[1\] must be finite, got NaN or Inf in row 201"):
            distances(tiles, batch[0], list(batch[1:]), metric)
    monkeypatch.setattr(tiles, "capturing", lambda device: True)
    found = distances(tiles, batch[0], list(batch[1:]), metric)
    assert torch.isfinite(found).tolist() == [True, False, False]


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
def test_matrices_and_vectors(tiles, metric):
    batch = models(2, 131, 40, 8, torch.bfloat16)
    found = cuda_matrix.matrices(list(batch), metric, definition.SIGMA, False, ["models[0]", "models[1]"])
    vectors = cuda_matrix.matrices(list(batch), metric, definition.SIGMA, True, ["models[0]", "models[1]"])
    for model in range(2):
        expected = definition.matrix(batch[model].double(), metric)
        assert found[model].numpy() == pytest.approx(expected, abs=FLOAT32)
        assert np.array_equal(vectors[model], found[model].numpy()[np.triu_indices(131, 1)])


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
@pytest.mark.parametrize("dtype", HIGHEST)
def test_the_ops_choose_the_kernel_that_serves(tiles, metric, dtype):
    a, b = models(1, 130, 20, 9, dtype)[0], models(1, 130, 7, 10, dtype)[0]
    for sigma in (0.05, definition.SIGMA) if metric == "rbf" else (definition.SIGMA,):
        one = ops.correlation_distance(a, b, metric, "l1", sigma, "cuda")
        expected = definition.distance(a.double(), b.double(), metric, sigma=sigma)
        assert one.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert one.item() == pytest.approx(expected, abs=HIGHEST[one.dtype])
        launched = tiles._backend.compiled("cuda").library.launched().decode()
        assert ("_warp" in launched) == (dtype != torch.float64 and (metric != "rbf" or sigma > 0.5))
        many = ops.correlation_distances(a, [a, b], metric, sigma, "cuda")
        assert many.tolist() == pytest.approx([0.0, expected], abs=HIGHEST[one.dtype])
        assert many[0] == 0.0
    bad = b.clone()
    bad[17, 3] = torch.nan
    with pytest.raises(ValueError, match="b must be finite, got NaN or Inf in row 17"):
        ops.correlation_distance(a, bad, metric, "l1", 0.7, "cuda")
    with pytest.raises(ValueError, match=r"suspects\[1\] must be finite, got NaN or Inf in row 17"):
        ops.correlation_distances(a, [b, bad], metric, 0.7, "cuda")


def test_rows_too_long_for_float32_sums_go_to_float64(tiles):
    for k, served in ((tiles.MAX_COORDINATES, True), (tiles.MAX_COORDINATES + 1, False)):
        hard = torch.full((20, k), 0.01)
        hard[torch.arange(20), torch.arange(20)] = 1.0
        a, b = hard.softmax(1), models(1, 20, 3, 12)[0]
        found = ops.correlation_distance(a, b, "cosine", "l1", 0.7, "cuda").item()
        assert found == pytest.approx(definition.distance(a.double(), b.double()), abs=FLOAT32)
        assert ("_warp" in tiles._backend.compiled("cuda").library.launched().decode()) == served
        assert tiles.serves(torch.float32, "cosine", 0.7, k, "medium")


def test_precision_is_one_of_three_and_the_same_on_the_cpu():
    a, b = models(2, 50, 8, 11)
    values = {float(correlation_distance(a, b, precision=level)) for level in ("highest", "high", "medium")}
    assert len(values) == 1
    many = [correlation_distances(a, [b], precision=level) for level in ("highest", "high", "medium")]
    assert torch.equal(many[0], many[1])
    assert torch.equal(many[0], many[2])
    for op, suspects in ((correlation_distance, b), (correlation_distances, [b])):
        with pytest.raises(ValueError, match="precision must be one of highest, high, medium, got 'tf32'"):
            op(a, suspects, precision="tf32")
