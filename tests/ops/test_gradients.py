"""Gradients of `correlation_distance` and its weighted form: gradcheck, autograd on plain PyTorch, memory, bits."""

import pathlib
import subprocess
import sys

import pytest
import torch

from sac_fast import _backend
from sac_fast.ops import correlation_distance, correlation_distance_weighted

SIGMA = 0.8
METRICS = ("cosine", "pearson", "rbf")
needs_kernels = pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")


def random(n, k, seed, dtype=torch.float64):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_matrix(x, metric):
    """C in plain PyTorch that autograd goes through; rows must have a direction."""
    x = x.double()
    if metric == "pearson":
        x = x - x.mean(dim=1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    if metric == "rbf":
        return torch.exp(-(x[:, None] - x[None]).square().sum(dim=2) / (2 * SIGMA**2))
    return x @ x.T


def plain_distance(a, b, metric, comparison, weights=None):
    apart = plain_matrix(a, metric) - plain_matrix(b, metric)
    if comparison == "l2":
        return apart.square().mean().sqrt()
    if weights is None:
        return apart.abs().mean()
    return ((weights @ apart.abs()) * weights).sum(dim=1) / weights.sum(dim=1) ** 2


def gradients(distance, a, b):
    a, b = (x.detach().clone().requires_grad_() for x in (a, b))
    distance(a, b).backward()
    return a.grad, b.grad


def assert_near(found, expected, relative):
    largest = max(float(other.abs().max()) for other in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=relative * largest)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("comparison", ["l1", "l2"])
def test_gradcheck(backend, metric, comparison):
    def call(a, b):
        return correlation_distance(a, b, metric=metric, comparison=comparison, sigma=SIGMA, backend=backend)

    a, b = random(6, 3, 1).requires_grad_(), random(6, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(call, (a, b))
    assert torch.autograd.gradcheck(call, (a.detach(), b))


@pytest.mark.parametrize("metric", METRICS)
def test_gradcheck_weighted(backend, metric):
    weights = torch.randint(0, 4, (3, 6), generator=torch.Generator().manual_seed(3)).double() + 0.25
    a, b = random(6, 4, 1).requires_grad_(), random(6, 3, 2).requires_grad_()

    def call(a, b):
        return correlation_distance_weighted(a, b, weights, metric=metric, sigma=SIGMA, backend=backend)

    assert torch.autograd.gradcheck(call, (a, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_those_of_plain_pytorch(backend, metric, dtype):
    options = {"metric": metric, "sigma": SIGMA, "backend": backend}
    for n, k_a, k_b in ((2, 3, 2), (31, 7, 7), (33, 3, 40), (129, 30, 12), (300, 5, 5)):
        a, b = random(n, k_a, n, dtype), random(n, k_b, n + 1, dtype)
        expected = gradients(lambda x, y: plain_distance(x, y, metric, "l1"), a, b)
        found = gradients(lambda x, y: correlation_distance(x, y, **options), a, b)
        assert found[0].dtype == dtype
        assert_near(found, expected, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_weighted_gradients_are_those_of_plain_pytorch(backend, metric):
    a, b = random(140, 6, 1), random(140, 9, 2)
    weights = torch.randint(0, 3, (7, 140), generator=torch.Generator().manual_seed(3)).double()
    upstream = torch.tensor([1.0, -2.0, 0.0, 0.5, -0.1, 3.0, -1e-3], dtype=torch.float64)
    scaled = weights * torch.logspace(-150, 150, 7, dtype=torch.float64)[:, None]

    def call(x, y):
        found = correlation_distance_weighted(x, y, scaled, metric=metric, sigma=SIGMA, backend=backend)
        return (found * upstream).sum()

    def plain(x, y):
        return (plain_distance(x, y, metric, "l1", weights) * upstream).sum()

    for dtype, relative in ((torch.float32, 2e-5), (torch.float64, 1e-10)):
        rounded = a.to(dtype), b.to(dtype)
        assert_near(gradients(call, *rounded), gradients(plain, *rounded), relative)


def test_l2_gradients_by_definition_and_by_moments_agree(backend):
    for n, k in ((60, 5), (12, 30)):  # with more outputs than probes the moments do not serve
        a, b = random(n, k, 1), random(n, k + 1, 2)
        expected = gradients(lambda x, y: plain_distance(x, y, "pearson", "l2"), a, b)
        options = {"metric": "pearson", "comparison": "l2", "backend": backend}
        assert_near(gradients(lambda x, y, o=options: correlation_distance(x, y, **o), a, b), expected, 1e-10)


@needs_kernels
def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    weights = torch.rand(3, 700, generator=torch.Generator().manual_seed(5))
    for dtype, metric in ((torch.float32, "cosine"), (torch.float32, "rbf"), (torch.float64, "pearson")):
        a, b = random(700, 30, 1, dtype), random(700, 9, 2, dtype)
        found = []
        for threads in (1, 2, 3, 5):
            monkeypatch.setenv("SAC_FAST_NUM_THREADS", str(threads))
            plain = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m), a, b)
            weighted = gradients(
                lambda x, y, m=metric: correlation_distance_weighted(x, y, weights, metric=m).sum(), a, b
            )
            found.append((*plain, *weighted))
        for other in found[1:]:
            assert all(map(torch.equal, found[0], other))


@needs_kernels
def test_gradients_of_so_many_rows_that_a_task_has_several_groups(monkeypatch):
    n, k = 8_500, 3
    a, b = random(n, k, 1, torch.float32), random(n, k, 2, torch.float32)
    found = []
    for threads in (1, 2, 7):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", str(threads))
        found.append(gradients(correlation_distance, a, b))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
    some = torch.tensor([0, 1, 127, 128, 255, 256, 4_000, 8_191, 8_192, 8_499])
    rows_a, rows_b = (x.double() / x.double().norm(dim=1, keepdim=True) for x in (a, b))
    apart = rows_a[some] @ rows_a.T - rows_b[some] @ rows_b.T
    apart[range(len(some)), some] = 0  # 1 in both
    assert apart[apart != 0].abs().min() > 2**-21  # rounding decides no sign
    signs = apart.sign()
    for x, rows, of, side in ((a, rows_a, found[0][0], 1), (b, rows_b, found[0][1], -1)):
        upstream = side * 2 / n**2 * signs @ rows
        along = (upstream * rows[some]).sum(dim=1, keepdim=True) * rows[some]
        expected = (upstream - along) / x[some].double().norm(dim=1, keepdim=True)
        assert_near([of[some]], [expected], 1e-5)


@needs_kernels
def test_one_gradient_is_that_of_both():
    for metric in METRICS:
        a, b = random(300, 9, 1, torch.float32), random(300, 20, 2, torch.float32)
        both = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m), a, b)
        one = gradients(lambda x, y, b=b, m=metric: correlation_distance(x, b, metric=m) + 0 * y.sum(), a, b)
        assert torch.equal(one[0], both[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_correlations_and_rows_without_direction_have_no_gradient(backend, dtype):
    a, b = random(40, 6, 1, dtype), random(40, 6, 2, dtype)
    a[3], b[5] = 0, 0
    b[10:30] = a[10:30]  # the correlations among these rows are equal
    for metric in METRICS:
        found = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m, backend=backend), a, b)
        assert found[0].dtype == dtype
        assert not found[0][3].any()
        assert not found[1][5].any()
        assert found[0][12].any()  # by the other rows
        inner = gradients(
            lambda x, y, m=metric: correlation_distance_weighted(
                x, y, (torch.arange(40) // 10 % 3 > 0)[None].double(), metric=m, backend=backend
            ).sum(),
            a,
            b,
        )
        assert not inner[0].any()
        same = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m, backend=backend), a, a)
        assert not same[0].any()
        l2 = {"metric": metric, "comparison": "l2", "backend": backend}
        assert not gradients(lambda x, y, o=l2: correlation_distance(x, y, **o), a, a)[1].any()


def test_rows_of_any_scale_have_gradients_of_the_inverse_scale(backend):
    a, b = random(20, 5, 1), random(20, 5, 2)
    scales = torch.logspace(-140, 140, 20, dtype=torch.float64)[:, None]
    for metric in METRICS:
        plain = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m, backend=backend), a, b)
        scaled = gradients(lambda x, y, m=metric: correlation_distance(x, y, metric=m, backend=backend), a * scales, b)
        torch.testing.assert_close(scaled[0] * scales, plain[0], rtol=1e-9, atol=1e-15)


def test_what_has_no_gradient_is_refused(backend):
    a, b = random(9, 4, 1).requires_grad_(), random(9, 4, 2)
    for options, words in (
        ({"metric": "spearman"}, "metric must be cosine, pearson or rbf where gradients are recorded, got 'spearman'"),
        ({"comparison": "rsa"}, "comparison must be l1 or l2 where gradients are recorded, got 'rsa'"),
        ({"comparison": "cka"}, "comparison must be l1 or l2 where gradients are recorded, got 'cka'"),
    ):
        with pytest.raises(ValueError, match=words):
            correlation_distance(a, b, **options, backend=backend)
        with torch.no_grad():
            assert not correlation_distance(a, b, **options, backend=backend).requires_grad
    with pytest.raises(ValueError, match=r"weights must not require grad .*expected weights\.detach\(\)"):
        correlation_distance_weighted(a, b, torch.ones(1, 9, requires_grad=True), backend=backend)
    distance = correlation_distance(a, b, backend=backend)
    with pytest.raises(ValueError, match="must not require grad"):
        torch.autograd.grad(distance, a, create_graph=True)


@pytest.mark.parametrize("name", ["correlation_distance", "correlation_distance_weighted"])
def test_registered_ops_keep_the_rules_of_torch_with_gradients(name, backend):
    a, b = random(9, 4, 1).requires_grad_(), random(9, 3, 2).requires_grad_()
    arguments = {
        "correlation_distance": (a, b, "pearson", "l1", SIGMA, backend, "highest"),
        "correlation_distance_weighted": (a, b, torch.ones(2, 9), "cosine", SIGMA, backend),
    }[name]
    torch.library.opcheck(getattr(torch.ops.sac_fast, name).default, arguments)


MEMORY = """
import resource, torch
from sac_fast.io.process import status_bytes
from sac_fast.ops import correlation_distance
a, b = (torch.randn(8_000, 4).requires_grad_() for _ in range(2))
correlation_distance(a[:300], b[:300]).backward()
limit = status_bytes("VmSize") + 200_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
correlation_distance(a, b).backward()
try:
    torch.zeros(len(a), len(b))
except RuntimeError:
    print("no room for a matrix")
"""


@needs_kernels
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="the process's size is read from /proc")
def test_memory_grows_with_n_times_k():
    """One matrix of 8,000² float32 numbers has 256 MB; 200 MB are allowed."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "no room for a matrix\n"), run.stderr[-2000:]
