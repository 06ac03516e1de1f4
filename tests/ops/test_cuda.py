import pytest
import torch
from support import definition
from support.model_outputs import outputs
from support.tolerances import FLOAT32, HIGHEST, PRECISION

from sac_fast import _backend
from sac_fast.errors import BackendError
from sac_fast.ops import correlation_distance, correlation_distances, correlation_matrix, correlation_vector
from sac_fast.ops.cuda import tiles as cuda_tiles

needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
@pytest.mark.parametrize("dtype", HIGHEST)
def test_cuda_against_definition(metric, dtype):
    for n in (2, 63, 64, 65, 129, 1001):
        for k_a, k_b in ((1, 1), (7, 10), (16, 16), (512, 1000)):
            a, b = outputs(n, k_a, 1, dtype), outputs(n, k_b, 2, dtype)
            actual = correlation_distance(a.cuda(), b.cuda(), metric=metric, backend="cuda")
            assert actual.is_cuda
            expected = definition.distance(a.double(), b.double(), metric)
            assert actual.item() == pytest.approx(expected, abs=HIGHEST[actual.dtype])


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
    assert actual.item() == pytest.approx(definition.distance(a, b, comparison=comparison), abs=FLOAT32)


@pytest.fixture(params=["warp", "warpgroup"])
def kernel(request, monkeypatch):
    """Both kinds of kernels, where the device has them."""
    if request.param == "warpgroup" and torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("needs a device of capability 9.0")
    monkeypatch.setattr(cuda_tiles, "KERNEL", request.param)
    return request.param


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
@pytest.mark.parametrize(("precision", "tolerance"), PRECISION.items())
def test_both_kernels_at_all_precisions(kernel, metric, precision, tolerance):
    for n in (2, 127, 128, 129, 257, 1001):
        for k_a, k_b in ((1, 3), (16, 32), (33, 65), (512, 100)):
            a, b = outputs(n, k_a, 1), outputs(n, k_b, 2)
            a[n // 2] = 0
            actual = correlation_distance(a.cuda(), b.cuda(), metric=metric, precision=precision, backend="cuda")
            assert actual.item() == pytest.approx(definition.distance(a, b, metric), abs=tolerance)


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
def test_many_suspects(kernel, metric, monkeypatch):
    models = [outputs(300, k, seed) for seed, k in enumerate([40] * 70 + [7, 7, 100, 40])]
    models[3] = models[0].clone()
    expected = [definition.distance(models[0], x, metric) for x in models]
    on_device = [x.cuda() for x in models]
    actual = correlation_distances(on_device[0], on_device, metric=metric, backend="cuda")
    assert actual.cpu().numpy() == pytest.approx(expected, abs=FLOAT32)
    assert actual[0] == actual[3] == 0.0
    assert torch.equal(actual, correlation_distances(on_device[0], on_device, metric=metric, backend="cuda"))
    monkeypatch.setattr(cuda_tiles, "SLAB_BYTES", 1)
    slabs = correlation_distances(on_device[0], on_device, metric=metric, backend="cuda")
    assert slabs.cpu().numpy() == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "pearson", "spearman", "rbf"])
@pytest.mark.parametrize("dtype", HIGHEST)
def test_matrix_and_vector(metric, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    for n, k in ((2, 1), (129, 40), (1000, 300)):
        x = outputs(n, k, n, dtype)
        matrix = correlation_matrix(x.cuda(), metric=metric, backend="cuda").cpu()
        expected = definition.matrix(x.double(), metric)
        assert matrix.numpy() == pytest.approx(expected, abs=HIGHEST[matrix.dtype])
        if dtype != torch.float64:  # that is torch's product
            assert torch.equal(matrix, matrix.T)
        vector = correlation_vector(x.cuda(), metric=metric, backend="cuda").cpu()
        rows, cols = torch.triu_indices(n, n, offset=1)
        assert vector.numpy() == pytest.approx(matrix[rows, cols].numpy(), abs=HIGHEST[matrix.dtype])


@pytest.mark.cuda
def test_bad_rows_are_named():
    a, b = outputs(700, 20, 1).cuda(), outputs(700, 20, 2).cuda()
    b[650, 3], b[413, 19] = torch.inf, torch.nan
    for metric in ("cosine", "spearman"):
        with pytest.raises(ValueError, match="b must be finite, got NaN or Inf in row 413"):
            correlation_distance(a, b, metric=metric, backend="cuda")
    with pytest.raises(ValueError, match=r"suspects\[1\] must be finite, got NaN or Inf in row 413"):
        correlation_distances(a, [a, b], backend="cuda")
    with pytest.raises(ValueError, match="outputs must be finite, got NaN or Inf in row 413"):
        correlation_matrix(b, backend="cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_captured_into_a_graph(kernel, metric):
    a, b = outputs(500, 40, 1).cuda(), outputs(500, 24, 2).cuda()
    expected = correlation_distance(a, b, metric=metric, backend="cuda").item()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = correlation_distance(a, b, metric=metric, backend="cuda")
    graph.replay()
    assert captured.item() == expected
    b.copy_(a[:, :24])
    graph.replay()
    assert captured.item() == correlation_distance(a, b, metric=metric, backend="cuda").item() != expected
    b[100, 1] = torch.nan
    graph.replay()
    assert torch.isnan(captured)


@pytest.mark.cuda
def test_compiled_and_on_another_stream():
    a, b = outputs(300, 40, 1).cuda(), outputs(300, 24, 2).cuda()
    expected = correlation_distance(a, b, backend="cuda")
    compiled = torch.compile(lambda x, y: correlation_distance(x, y, backend="cuda") * 2, fullgraph=True)
    assert compiled(a, b) == expected * 2
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        other = correlation_distance(a, b, backend="cuda")
    stream.synchronize()
    assert other == expected


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_callers_device_is_kept():
    a, b = (outputs(300, 40, seed).to("cuda:1") for seed in (1, 2))
    with torch.cuda.device(0):
        assert correlation_distance(a, b, backend="cuda").device == a.device
        assert torch.cuda.current_device() == 0


@pytest.mark.cuda
def test_strided_and_half_inputs_need_no_copy():
    wide = torch.randn(400, 200, device="cuda").to(torch.bfloat16)
    views = [wide[:, ::3], wide[::2, :70].repeat(2, 1), wide.T[:, :200].repeat(2, 1)]
    for x in views:
        plain, y = x.float().contiguous(), wide[: len(x), 5:40]
        assert correlation_distance(x, y, backend="cuda") == correlation_distance(plain, y.float(), backend="cuda")


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
