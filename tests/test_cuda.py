import definition
import pytest
import torch

from sac_fast import _backend
from sac_fast.errors import BackendError
from sac_fast.ops import correlation_distance

needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def outputs(n, k, seed, dtype=torch.float32):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
@pytest.mark.parametrize("dtype", definition.TOLERANCE)
def test_cuda_against_definition(metric, dtype):
    for n in (2, 63, 64, 65, 129, 1001):
        for k_a, k_b in ((1, 1), (7, 10), (16, 16), (512, 1000)):
            a, b = outputs(n, k_a, 1, dtype), outputs(n, k_b, 2, dtype)
            actual = correlation_distance(a.cuda(), b.cuda(), metric=metric, backend="cuda")
            assert actual.is_cuda
            expected = definition.distance(a.double(), b.double(), metric)
            assert actual.item() == pytest.approx(expected, abs=definition.TOLERANCE[actual.dtype])


@pytest.mark.cuda
def test_cuda_twice_gives_the_same_bits_and_identical_gives_zero():
    a, b = outputs(5000, 33, 3).cuda(), outputs(5000, 33, 4).cuda()
    assert correlation_distance(a, b, backend="cuda") == correlation_distance(a, b, backend="cuda")
    assert correlation_distance(a, a.clone(), backend="cuda") == 0.0


@pytest.mark.cuda
@pytest.mark.parametrize("comparison", ["l1", "l2", "rsa", "cka"])
def test_auto_on_a_cuda_device(comparison):
    a, b = outputs(90, 12, 5), outputs(90, 7, 6)
    actual = correlation_distance(a.cuda(), b.cuda(), comparison=comparison)
    assert actual.is_cuda
    assert actual.item() == pytest.approx(definition.distance(a, b, comparison=comparison), abs=1e-6)


@needs_kernels
def test_symmetric_schedule_visits_each_tile_once():
    triangle_tile = _backend.compiled().triangle_tile
    for tiles in (1, 2, 3, 7, 40):
        expected = [(i, j) for i in range(tiles) for j in range(i, tiles)]
        assert [triangle_tile(t, tiles) for t in range(len(expected))] == expected


@needs_kernels
@pytest.mark.parametrize("tiles", [65_535, 65_536, 1_000_003, 2**31 - 1])
def test_symmetric_schedule_beyond_32_bits(tiles):
    triangle_tile = _backend.compiled().triangle_tile
    for row in (0, 1, tiles // 3, tiles // 2, tiles - 3, tiles - 2, tiles - 1):
        start = row * tiles - row * (row - 1) // 2
        assert triangle_tile(start, tiles) == (row, row)
        assert triangle_tile(start + tiles - 1 - row, tiles) == (row, tiles - 1)


def test_cuda_by_name_where_it_cannot_run(monkeypatch):
    cpu = outputs(4, 2, 7)
    with pytest.raises(BackendError, match="backend 'cuda' needs tensors on a cuda device, got cpu"):
        correlation_distance(cpu, cpu, backend="cuda")
    monkeypatch.setattr(_backend, "_module", None)
    with pytest.raises(BackendError, match="backend 'cuda' needs the compiled module"):
        _backend.compiled("cuda")


@needs_kernels
def test_cuda_kernels_missing_from_the_build(monkeypatch):
    monkeypatch.setattr(_backend, "_cuda_architectures", [])
    with pytest.raises(BackendError, match="backend 'cuda' needs a build with CUDA"):
        _backend.compiled("cuda")
