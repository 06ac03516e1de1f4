"""What gpu_check.py compares: every op with a CUDA kernel, metric × dtype × precision × awkward size, with float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sac_fast
from sac_fast.ops import reference
from sac_fast.ops.cuda import tiles

Row = dict[str, Any]
METRICS = ("cosine", "pearson", "spearman", "rbf")
# The largest |error| of a distance: the stated precision of the levels, and float64's own.
PRECISIONS = {"highest": 1e-6, "high": 2e-5, "medium": 2e-3}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FLOAT64 = 1e-12
SIZES = ((2, 1), (3, 7), (31, 10), (63, 16), (65, 17), (127, 512), (128, 32), (129, 1000), (257, 33), (1001, 65))
# Kinds of tile kernels to check; none: all that the device has
KERNELS: tuple[str, ...] = ()


def outputs(n: int, k: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def row(case: str, error: float, tolerance: float, also: bool = True) -> Row:
    return {"case": case, "error": error, "tolerance": tolerance, "ok": error <= tolerance and also}


def kernels(device: str) -> Iterator[str]:
    """The kinds of tile kernels that are to be checked; the one that is chosen last stays chosen."""
    hopper = device == "cuda" and torch.cuda.get_device_capability() == (9, 0)
    for tiles.KERNEL in KERNELS or (("warp", "warpgroup", "automatic") if hopper else ("automatic",)):
        yield tiles.KERNEL


def check_pairs(device: str, backend: str) -> Iterator[Row]:
    """correlation_distance: right, the same bits twice, d(a, a) = 0."""
    for n, k in SIZES:
        for metric in METRICS:
            for dtype in DTYPES:
                a, b = outputs(n, k, n + k, dtype), outputs(n, max(1, k - 3), n, dtype)
                a[n // 2] = 0
                expected = float(reference.correlation_distance(a.double(), b.double(), metric=metric))
                x, y = a.to(device), b.to(device)
                for kernel in kernels(device):
                    for precision, tolerance in PRECISIONS.items():
                        options = {"metric": metric, "precision": precision, "backend": backend}
                        got = [sac_fast.correlation_distance(x, y, **options) for _ in range(2)]
                        itself = sac_fast.correlation_distance(x, x.clone(), **options)
                        name = f"correlation_distance n={n} k={k} {metric} {name_of(dtype)} {precision} {kernel}"
                        tolerance = FLOAT64 if dtype == torch.float64 else tolerance
                        also = bool(got[0] == got[1]) and float(itself) == 0.0
                        yield row(name, abs(float(got[0]) - expected), tolerance, also)


def check_scales(device: str, backend: str) -> Iterator[Row]:
    """Rows of any scale, a narrow rbf kernel, strided inputs."""
    a, b = outputs(200, 40, 1), outputs(200, 40, 2)
    for scale in (1e-42, 1e-30, 1e30, 1e37):
        x, y = (a.double() * scale).float(), b
        expected = float(reference.correlation_distance(x.double(), y.double()))
        got = sac_fast.correlation_distance(x.to(device), y.to(device), backend=backend)
        yield row(f"correlation_distance of rows × {scale:g}", abs(float(got) - expected), 1e-6)
    for sigma in (0.01, 0.1, 10.0):
        expected = float(reference.correlation_distance(a.double(), b.double(), metric="rbf", sigma=sigma))
        got = sac_fast.correlation_distance(a.to(device), b.to(device), metric="rbf", sigma=sigma, backend=backend)
        yield row(f"correlation_distance rbf σ={sigma:g}", abs(float(got) - expected), 1e-6)
    for k in (1000, 2048, 2049):  # hard labels: equal products round the same way
        hard = torch.full((200, k), 0.01).scatter_(1, torch.arange(200)[:, None], 1.0).softmax(dim=1)
        for kernel in kernels(device):
            expected = float(reference.correlation_distance(hard.double(), b.double()))
            got = sac_fast.correlation_distance(hard.to(device), b.to(device), backend=backend)
            yield row(f"correlation_distance of hard labels k={k} {kernel}", abs(float(got) - expected), 1e-6)
    wide = outputs(400, 90, 3)
    expected = float(reference.correlation_distance(wide[::2, ::3].double(), wide.T[:90].T[::2, 1::2].double()))
    on_device = wide.to(device)
    got = sac_fast.correlation_distance(on_device[::2, ::3], on_device.T[:90].T[::2, 1::2], backend=backend)
    yield row("correlation_distance of strided views", abs(float(got) - expected), 1e-6)


def check_many(device: str, backend: str) -> Iterator[Row]:
    """correlation_distances, slabs included, and pairwise_correlation_distances."""
    for n, k, m in ((2, 1, 3), (129, 40, 70), (300, 17, 9)):
        for metric in METRICS:
            for dtype in (torch.float32, torch.bfloat16, torch.float64):
                models = [outputs(n, k + (i == 2) * 30, i, dtype) for i in range(m)]
                wide, there = [x.double() for x in models], [x.to(device) for x in models]
                expected = reference.correlation_distances(wide[0], wide, metric=metric)
                tolerance = FLOAT64 if dtype == torch.float64 else 1e-6
                name = f"n={n} k={k} m={m} {metric} {name_of(dtype)}"
                for kernel in kernels(device):
                    got = sac_fast.correlation_distances(there[0], there, metric=metric, backend=backend)
                    error = float((got.cpu().double() - expected).abs().max())
                    yield row(f"correlation_distances {name} {kernel}", error, tolerance, float(got[0]) == 0.0)
                slab, tiles.SLAB_BYTES = tiles.SLAB_BYTES, 1
                got = sac_fast.correlation_distances(there[0], there, metric=metric, backend=backend)
                tiles.SLAB_BYTES = slab
                error = float((got.cpu().double() - expected).abs().max())
                yield row(f"correlation_distances {name} slabs", error, tolerance)
                few = slice(0, 9)
                got = sac_fast.pairwise_correlation_distances(there[few], metric=metric, backend=backend).cpu()
                all_pairs = reference.pairwise_correlation_distances(wide[few], metric=metric)
                symmetric = torch.equal(got, got.T) and float(got.diagonal().abs().max()) == 0.0
                error = float((got.double() - all_pairs).abs().max())
                yield row(f"pairwise_correlation_distances {name}", error, tolerance, symmetric)


def check_matrices(device: str, backend: str) -> Iterator[Row]:
    """correlation_matrix and correlation_vector, with TF32 allowed elsewhere."""
    torch.backends.cuda.matmul.allow_tf32 = True
    for n, k in SIZES:
        for metric in METRICS:
            for dtype in DTYPES:
                x = outputs(n, k, n, dtype)
                expected = reference.correlation_matrix(x.double(), metric=metric)
                name = f"n={n} k={k} {metric} {name_of(dtype)}"
                matrix = sac_fast.correlation_matrix(x.to(device), metric=metric, backend=backend).cpu().double()
                tolerance = FLOAT64 if dtype == torch.float64 else 2e-6  # of single entries
                yield row(f"correlation_matrix {name}", float((matrix - expected).abs().max()), tolerance)
                vector = sac_fast.correlation_vector(x.to(device), metric=metric, backend=backend).cpu().double()
                i, j = torch.triu_indices(n, n, offset=1)
                yield row(f"correlation_vector {name}", float((vector - expected[i, j]).abs().max()), tolerance)
    torch.backends.cuda.matmul.allow_tf32 = False


def check_nearest(device: str, backend: str) -> Iterator[Row]:
    """nearest_models on vectors of each form: the distances, and the indices where distances are not equal."""
    for m, n, top in ((12, 5, 11), (300, 20, 10), (1000, 33, 128)):
        for dtype in (torch.uint8, torch.float16, torch.float32):
            generator = torch.Generator().manual_seed(m)
            vectors = torch.rand(m, n * (n - 1) // 2, generator=generator)
            vectors = (vectors * 255).round().to(torch.uint8) if dtype == torch.uint8 else vectors.to(dtype)
            for asked in (None, vectors[: m // 3] * 1):
                expected = reference.nearest_vectors(vectors, asked, top)
                queries = None if asked is None else asked.to(device)
                got = sac_fast.nearest_models(vectors.to(device), queries, top, backend=backend)
                error = float((got.values.cpu().double() - expected[0].double()).abs().max())
                same = (got.indices.cpu() == expected[1]) | _close(expected[0])
                name = (
                    f"nearest_models m={m} n={n} top={top} {name_of(dtype)} {'itself' if asked is None else 'queries'}"
                )
                yield row(name, error, 1e-6, bool(same.all()))


def _close(values: Tensor) -> Tensor:
    """Which of the ascending values have a neighbour that rounding may change places with."""
    near = torch.zeros(values.shape, dtype=torch.bool)
    steps = values[:, 1:] - values[:, :-1] < 2e-6
    near[:, 1:] |= steps
    near[:, :-1] |= steps
    near[:, -1] = True
    return near


def check_jpeg(device: str, backend: str) -> Iterator[Row]:
    """jpeg_roundtrip against the reference, which the CPU kernels are tested to equal, as they are to equal Pillow."""
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 9), (16, 16), (17, 31), (112, 112), (223, 225)):
        for sampling in ("4:4:4", "4:2:2", "4:2:0"):
            for quality in (1, 25, 50, 75, 95, 100):
                images = torch.from_numpy(rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8))
                expected = sac_fast.jpeg_roundtrip(images, quality, subsampling=sampling, backend="reference")
                got = sac_fast.jpeg_roundtrip(images.to(device), quality, subsampling=sampling, backend=backend).cpu()
                name = f"jpeg_roundtrip {height}×{width} q={quality} {sampling}"
                yield row(name, int((got != expected).sum()), 0)


CHECKS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    "pairs": check_pairs,
    "scales": check_scales,
    "many": check_many,
    "matrices": check_matrices,
    "nearest": check_nearest,
    "jpeg": check_jpeg,
}


def small_case() -> None:
    """A little of everything, for compute-sanitizer."""
    models = [outputs(n, k, n).cuda() for n, k in ((260, 33), (260, 10), (260, 70), (260, 70))]
    for kernel in kernels("cuda"):
        for metric in METRICS:
            for precision in ("highest", "medium"):
                sac_fast.correlation_distance(models[0], models[1], metric=metric, precision=precision, backend="cuda")
            sac_fast.correlation_distances(models[0], models, metric=metric, backend="cuda")
        print(kernel)
    sac_fast.correlation_distance(models[0].double(), models[1], backend="cuda")
    sac_fast.correlation_matrix(models[0], backend="cuda")
    vectors = torch.stack([sac_fast.correlation_vector(x, dtype=torch.uint8, backend="cuda") for x in models])
    sac_fast.pairwise_correlation_distances(models, backend="cuda")
    sac_fast.nearest_models(vectors, top=2, backend="cuda")
    images = torch.randint(0, 256, (2, 33, 47, 3), dtype=torch.uint8, device="cuda")
    sac_fast.jpeg_roundtrip(images, 25, backend="cuda")
    torch.cuda.synchronize()
