"""The tensor-core kernels of correlation_distance, their threads run as fibers on the processor (cuda_fibers/).

No GPU has run them yet; this shows that what they compute, where they read and write, and how they wait is right, as
far as the instructions do what the PTX ISA says.
"""

import ctypes

import numpy as np
import pytest
from support import definition
from support.emulated_tiles import KERNELS, Packed, i64, models, pointer
from support.tolerances import FLOAT32, PRECISION


def distances(library, source, suspects, metric="cosine", parts=2, sigma=definition.SIGMA):
    """Σ|C^a − C^b| / n² of one source and models (m, n, k) by the kernel, one launch."""
    a, b = Packed(library, source[None], metric, parts), Packed(library, suspects, metric, parts)
    return sums(library, (a, a), (b, b), True, len(suspects), metric, parts, sigma) / len(source) ** 2


def sums(library, source, suspects, square, count, metric, parts, sigma=definition.SIGMA):
    shape = (i64(source[0].n), i64(source[1].n), square, parts)
    bandwidth = ctypes.c_double(0.5 / sigma**2 if metric == "rbf" else 0.0)
    blocks = library.plan_blocks(*shape, bandwidth, 0, i64(count))
    partial = np.full((count, blocks), np.nan)
    sides = []
    for side in (source, suspects):
        arrays = [side[0].bytes, side[1].bytes, side[0].norms, side[1].norms]
        sides += [(ctypes.c_void_p * 4)(*(a.ctypes.data for a in arrays)), i64(side[0].k)]
    library.correlation_distances(*shape, bandwidth, 0, *sides, i64(count), pointer(partial))
    return partial.sum(axis=1)


@pytest.fixture(params=KERNELS)
def kernels(request, library):
    library.emulate(KERNELS[request.param], 4)
    library.kind = request.param
    return library


@pytest.mark.parametrize("metric", ["cosine", "pearson", "rbf"])
@pytest.mark.parametrize("parts", [2, 1])
@pytest.mark.parametrize(("n", "k_a", "k_b", "m"), [(2, 1, 3, 1), (129, 40, 7, 2), (300, 10, 90, 3), (128, 64, 64, 1)])
def test_distances_against_the_definition(kernels, n, k_a, k_b, m, parts, metric):
    source, suspects = models(1, n, k_a, n)[0], models(m, n, k_b, n + 1)
    source[1] = 0
    suspects[0, 0] = 0
    actual = distances(kernels, source, suspects, metric, parts)
    pair = kernels.kind == "warpgroup" and m == 1 and metric != "rbf"
    assert kernels.launched().decode() == f"correlation_distance{'' if pair else 's'}_{kernels.kind}_kernel"
    expected = [definition.distance(source, suspect, metric) for suspect in suspects]
    assert actual == pytest.approx(expected, abs=PRECISION["highest" if parts == 2 else "medium"])


WARPS_AHEAD = 100
ORDERS = {
    "late": (0, False),
    "early": (0, True),
    "mixed": (1, False),
    "mixed early": (2, True),
    "warps ahead": (WARPS_AHEAD, False),
    "warps ahead early": (WARPS_AHEAD, True),
}


# these two in every run, all with --slow
USUAL_ORDERS = ("late", "warps ahead early")


@pytest.fixture(params=[pytest.param(o, marks=[] if o in USUAL_ORDERS else pytest.mark.slow) for o in ORDERS])
def in_any_order(request, kernels):
    """Threads take turns in several orders; copies arrive as late, or as early, as they may."""
    turns, early = ORDERS[request.param]
    kernels.schedule(turns, early)
    yield kernels
    kernels.schedule(0, False)


@pytest.mark.parametrize(("n", "k_a", "k_b"), [(513, 20, 5), (260, 33, 200), (390, 10, 10)])
def test_one_pair_of_several_tiles(in_any_order, n, k_a, k_b):
    a, b = models(1, n, k_a, 1)[0], models(1, n, k_b, 2)[0]
    for processors in (2, 5):
        in_any_order.emulate(KERNELS[in_any_order.kind], processors)
        assert distances(in_any_order, a, b[None])[0] == pytest.approx(definition.distance(a, b), abs=FLOAT32)
    assert distances(in_any_order, a, a[None])[0] == 0.0


def test_many_suspects_of_several_tiles(in_any_order):
    source, suspects = models(1, 150, 90, 3)[0], models(7, 150, 40, 4)
    expected = [definition.distance(source, suspect, "pearson") for suspect in suspects]
    assert distances(in_any_order, source, suspects, "pearson") == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_long_rows_and_large_correlations_stay_accurate(kernels, shift):
    # all correlations near 0.9 with the shift: sums as long and as large as they can be, cut off by the tensor cores
    a, b = (x[0] + shift for x in (models(1, 70, 1000, 1), models(1, 70, 900, 2)))
    assert distances(kernels, a, b[None])[0] == pytest.approx(definition.distance(a, b), abs=FLOAT32)
    packed = Packed(kernels, a[None])
    arrays = (packed.bytes, packed.bytes, packed.norms, packed.norms)
    side = (ctypes.c_void_p * 4)(*(x.ctypes.data for x in arrays))
    matrix = np.empty((70, 70), np.float32)
    kernels.correlation_matrix(i64(70), ctypes.c_double(0), side, i64(1000), i64(1), False, pointer(matrix))
    assert matrix == pytest.approx(definition.matrix(a), abs=FLOAT32)


def test_a_rectangle_of_slabs(kernels):
    a, b = models(1, 700, 20, 1), models(1, 700, 40, 2)
    for metric, parts in (("cosine", 2), ("rbf", 2), ("cosine", 1)):
        pieces = [(Packed(kernels, x, metric, parts, 0, 300), Packed(kernels, x, metric, parts, 300)) for x in (a, b)]
        squares = [sums(kernels, (pieces[0][i],) * 2, (pieces[1][i],) * 2, True, 1, metric, parts) for i in (0, 1)]
        rectangle = sums(kernels, *pieces, False, 1, metric, parts)
        expected = definition.distance(a[0], b[0], metric)
        actual = float(sum(squares)[0] + rectangle[0]) / 700**2
        assert actual == pytest.approx(expected, abs=PRECISION["highest" if parts == 2 else "medium"])


@pytest.mark.parametrize("metric", ["cosine", "pearson", "rbf"])
@pytest.mark.parametrize(("n", "k", "m"), [(2, 1, 3), (130, 40, 2), (257, 5, 1)])
def test_matrix_and_vector_against_the_definition(kernels, n, k, m, metric):
    outputs = models(m, n, k, n)
    outputs[0, 1] = 0
    packed = Packed(kernels, outputs, metric)
    bandwidth = ctypes.c_double(1.0 if metric == "rbf" else 0.0)
    arrays = (packed.bytes, packed.bytes, packed.norms, packed.norms)
    side = (ctypes.c_void_p * 4)(*(a.ctypes.data for a in arrays))
    matrices = np.full((m, n, n), np.nan, np.float32)
    kernels.correlation_matrix(i64(n), bandwidth, side, i64(k), i64(m), False, pointer(matrices))
    vectors = np.full((m, n * (n - 1) // 2), np.nan, np.float32)
    kernels.correlation_matrix(i64(n), bandwidth, side, i64(k), i64(m), True, pointer(vectors))
    for model in range(m):
        expected = definition.matrix(outputs[model], metric)
        assert matrices[model] == pytest.approx(expected, abs=FLOAT32)
        assert np.array_equal(matrices[model], matrices[model].T)
        assert np.array_equal(vectors[model], matrices[model][np.triu_indices(n, 1)])
