"""How sac_fast.ops.cuda_tiles packs, cuts into slabs and batches, on kernels that run on the processor."""

import contextlib

import definition
import emulated_tiles
import numpy as np
import pytest
import torch

from sac_fast.ops import cuda_tiles


@pytest.fixture(params=emulated_tiles.KERNELS)
def tiles(request, monkeypatch):
    module = emulated_tiles.Module()
    module.library.emulate(emulated_tiles.KERNELS[request.param], 4)
    monkeypatch.setattr(cuda_tiles._backend, "compiled", lambda backend: module)
    monkeypatch.setattr(cuda_tiles, "on_device", lambda device: contextlib.nullcontext(0))
    return cuda_tiles


def models(m, n, k, seed, dtype=torch.float32):
    return torch.randn(m, n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def distances(tiles, source, suspects, metric="cosine", precision="highest", sigma=definition.SIGMA):
    names = ["source", *(f"suspects[{i}]" for i in range(len(suspects)))]
    return tiles.distances(source, suspects, metric, sigma, precision, names)


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
def test_slabs_and_batches_change_nothing_that_matters(tiles, metric, monkeypatch):
    source, *others = models(4, 290, 20, 1)
    suspects = [*others, models(1, 290, 33, 2)[0].to(torch.float16), models(1, 290, 20, 3)[0].T.contiguous().T]
    expected = [definition.distance(source, x, metric) for x in suspects]
    whole = distances(tiles, source, suspects, metric)
    assert whole.numpy() == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr(tiles, "SLAB_BYTES", 1)
    monkeypatch.setattr(tiles, "BATCH_BYTES", 80_000)
    assert distances(tiles, source, suspects, metric).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_levels(tiles, precision):
    a, b = models(2, 200, 100, 4)
    expected = definition.distance(a, b)
    error = abs(distances(tiles, a, [b], precision=precision).item() - expected)
    assert error <= {"highest": 1e-6, "high": 2e-5, "medium": 2e-3}[precision]
    if precision == "medium":
        assert error > 1e-8  # it is another computation


def test_many_suspects_are_one_launch_of_pack_and_one_of_distances(tiles, monkeypatch):
    zoo = models(9, 40, 20, 5)
    calls = []
    module = tiles._backend.compiled("cuda")
    for name in ("pack_rows_cuda", "correlation_distances_tiles"):
        function = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, name=name, function=function: calls.append(name) or function(*args)
        )
    actual = distances(tiles, zoo[0], list(zoo[1:]))
    assert calls == ["pack_rows_cuda", "pack_rows_cuda", "correlation_distances_tiles"]
    assert actual.numpy() == pytest.approx([definition.distance(zoo[0], x) for x in zoo[1:]], abs=1e-6)


def test_identical_models_give_zero_whatever_their_neighbours(tiles):
    zoo = models(3, 140, 50, 6)
    zoo[1] = zoo[0]
    for metric in ("cosine", "pearson", "spearman", "rbf"):
        assert distances(tiles, zoo[0], list(zoo), metric)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("metric", ["cosine", "spearman"])
def test_the_first_bad_row_is_named(tiles, metric, monkeypatch):
    zoo = models(4, 300, 20, 7)
    zoo[2, 270, 3] = torch.inf
    zoo[2, 201, 3] = torch.nan
    zoo[3, 5, 0] = torch.nan
    for size in (tiles.SLAB_BYTES, 1):
        monkeypatch.setattr(tiles, "SLAB_BYTES", size)
        with pytest.raises(ValueError, match=r"suspects\[1\] must be finite, got NaN or Inf in row 201"):
            distances(tiles, zoo[0], list(zoo[1:]), metric)
    monkeypatch.setattr(tiles, "capturing", lambda device: True)
    found = distances(tiles, zoo[0], list(zoo[1:]), metric)
    assert torch.isfinite(found).tolist() == [True, False, False]


@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
def test_matrices_and_vectors(tiles, metric):
    zoo = models(2, 131, 40, 8, torch.bfloat16)
    found = tiles.matrices(list(zoo), metric, definition.SIGMA, False, ["zoo[0]", "zoo[1]"])
    vectors = tiles.matrices(list(zoo), metric, definition.SIGMA, True, ["zoo[0]", "zoo[1]"])
    for model in range(2):
        expected = definition.matrix(zoo[model].double(), metric)
        assert found[model].numpy() == pytest.approx(expected, abs=1e-6)
        assert np.array_equal(vectors[model], found[model].numpy()[np.triu_indices(131, 1)])
