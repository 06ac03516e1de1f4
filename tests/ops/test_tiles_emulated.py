"""The tensor-core kernels of correlation_distance, their threads run as fibers on the processor (cuda_fibers/).

No GPU has run them yet; this shows that what they compute, where they read and write, and how they wait is right, as
far as the instructions do what the PTX ISA says.
"""

import ctypes
import itertools

import numpy as np
import pytest
import torch
from support import definition, emulated_tiles
from support.emulated_tiles import DTYPES, KERNELS, aligned, i64, pointer
from support.tolerances import FLOAT32, PRECISION

INT64_MAX = np.iinfo(np.int64).max


@pytest.fixture(scope="module")
def library():
    return emulated_tiles.library()


class Packed:
    """Models (m, n, k), packed by the kernel: rows first … last of each."""

    def __init__(self, library, models, metric="cosine", parts=2, first=0, last=None):
        models = models[:, first:last]
        m, self.n, self.k = models.shape
        padded = -(-self.n // 128) * 128
        self.bytes = aligned(m * library.packed_bytes(i64(self.n), i64(self.k), parts), np.uint8)
        self.bytes[:] = 0xA5  # whatever is not written shows
        self.norms = np.full(m * padded, np.nan, np.float32)
        self.bad = np.full(m, INT64_MAX)
        library.pack_rows(
            ctypes.c_void_p(models.data_ptr()),
            DTYPES.index(models.dtype),
            *map(i64, (m, models.stride(0), self.n, self.k, models.stride(1), models.stride(2))),
            metric == "pearson",
            parts,
            pointer(self.bytes),
            pointer(self.norms),
            i64(first),
            pointer(self.bad),
        )

    def place(self, library, row, coordinate, part, parts):
        return library.model_offset(i64(row), i64(coordinate), part, i64(self.k), parts)


def models(m, n, k, seed, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((m, n, k))).to(dtype)


def test_half_conversions_equal_numpy(library):
    every = np.arange(1 << 16, dtype=np.uint16)
    values = np.empty(1 << 16, np.float32)
    library.half_values(pointer(every), i64(len(every)), pointer(values))
    expected = every.view(np.float16).astype(np.float32)
    assert np.array_equal(values, expected, equal_nan=True)
    rng = np.random.default_rng(0)
    finite = expected[np.isfinite(expected)]
    floats = [
        rng.integers(0, 1 << 32, 1 << 20, dtype=np.uint32).view(np.float32),
        expected,
        np.nextafter(finite, np.float32(0)),
        (finite[:-1] + finite[1:]) / 2,  # ties
    ]
    floats = np.concatenate(floats).astype(np.float32)
    bits = np.empty(len(floats), np.uint16)
    library.half_bits(pointer(floats), i64(len(floats)), pointer(bits))
    with np.errstate(over="ignore"):
        assert np.array_equal(bits.view(np.float16), floats.astype(np.float16), equal_nan=True)


def test_split_numbers_are_right_to_23_bits(library):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-1, 1, 100_000), 2.0 ** -rng.uniform(0, 60, 100_000), [0, 1, -1, 2**-12]])
    hi, lo = (np.empty(len(x), np.uint16) for _ in range(2))
    library.split_numbers(pointer(x), i64(len(x)), pointer(hi), pointer(lo))
    hi, lo = (part.view(np.float16).astype(np.float64) / 4096 for part in (hi, lo))
    # relative 2⁻¹¹ twice, or half of fp16's smallest number, 2⁻²⁵, scaled
    assert np.all(np.abs(hi + lo - x) <= np.maximum(np.abs(x) * 2.0**-22, 2.0**-37))
    assert np.all(np.abs(hi - x) <= np.maximum(np.abs(x) * 2.0**-11, 2.0**-37))


@pytest.mark.parametrize("stride", [1, 3, 132])
def test_walk_visits_each_step_once(library, stride):
    for rows, cols, triangle in [(r, r, True) for r in (1, 2, 3, 7, 8, 9, 16, 17, 31, 40)] + [
        (1, 1, False),
        (5, 3, False),
        (17, 20, False),
        (9, 1, False),
    ]:
        met = {}
        steps = library.walk_steps(rows, cols, triangle)
        for first in range(stride):
            out = np.empty((1000, 3), np.int64)
            found = library.walk(rows, cols, triangle, i64(first), i64(stride), i64(len(out)), pointer(out))
            assert found == max(0, -(-(steps - first) // stride))
            for row, col, weight in out[:found].tolist():
                assert (row, col) not in met
                met[row, col] = weight
        expected = {(i, j): 2 for i, j in itertools.product(range(rows), range(cols))}
        if triangle:
            expected = {(i, j): 1 if i == j else 2 for i, j in expected if i <= j}
        assert met == expected


def test_tiles_that_nobody_wants_weigh_nothing(library):
    assert [library.tile_weight(5, 5, True, *tile) for tile in ((4, 3), (5, 5), (4, 5), (4, 4), (3, 4))] == [
        0,
        0,
        0,
        1,
        2,
    ]
    assert [library.tile_weight(5, 3, False, *tile) for tile in ((4, 2), (5, 2), (4, 3), (2, 2))] == [2, 0, 0, 2]


def test_walk_beyond_32_bits(library):
    side = (1 << 24) + 3  # 2³¹ probes
    steps = library.walk_steps(side, side, True)
    assert steps == side * (side + 1) // 2
    out = np.empty((2, 3), np.int64)
    assert library.walk(side, side, True, i64(steps - 1), i64(1), i64(2), pointer(out)) == 1
    assert out[0].tolist() == [side - 1, side - 1, 1]
    # the last column of the first band
    assert library.walk(side, side, True, i64(8 * side - 29), i64(1), i64(2), pointer(out)) == 2
    assert out.tolist() == [[7, side - 1, 2], [8, 8, 1]]


def test_grids_leave_few_processors_idle(library):
    for tiles, suspects, processors, least in [
        (36, 130, 132, 0.8),  # 36 blocks alone would be a quarter of an H100
        (36, 1000, 132, 0.9),
        (136, 100, 132, 0.9),
        (10, 1000, 108, 0.9),
        (131_328, 1, 132, 0.99),
        (1, 3, 132, 3 / 132),
        (50_000, 40, 132, 0.9),
    ]:
        out = np.empty(2, np.int64)
        library.tile_grid(*map(i64, (tiles, suspects, processors)), pointer(out))
        blocks, per_group = out.tolist()
        assert 1 <= blocks <= tiles
        assert 1 <= per_group <= 32
        groups = -(-suspects // per_group)
        time = -(-blocks * groups // processors) * -(-tiles // blocks) * per_group
        assert tiles * suspects / processors / time >= least * 0.999


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["cosine", "pearson"])
def test_packed_rows_are_the_normalised_rows(library, metric, dtype):
    for n, k, parts in ((2, 1, 2), (131, 17, 2), (9, 300, 1), (128, 16, 2)):
        x = models(3, n, k, n, dtype)
        x[1, 1] = 0
        x[2, 0] = 0.75
        packed = Packed(library, x, metric, parts)
        assert np.all(packed.bad == INT64_MAX)
        size = library.packed_bytes(i64(n), i64(k), parts)
        seen = np.zeros(len(packed.bytes), bool)
        halves = packed.bytes.view(np.float16)
        for model in range(3):
            expected = definition.rows(x[model].double().numpy(), metric)
            for row, c in itertools.product(range(n), range(k)):
                places = [model * size + packed.place(library, row, c, part, parts) for part in range(parts)]
                seen[places] = seen[[p + 1 for p in places]] = True
                value = sum(float(halves[p // 2]) for p in places) / 4096
                bound = 2.0 ** (-22 if parts == 2 else -11)
                assert abs(value - expected[row, c]) <= bound * abs(expected[row, c]) + 2.0**-37
            norms = packed.norms.reshape(3, -1)[model]
            assert np.array_equal(norms[:n], np.round((expected**2).sum(axis=1)))
            assert np.all(norms[n:] == 0)
        assert np.all(packed.bytes[~seen] == 0)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e37])
def test_rows_of_any_scale(library, scale):
    x = models(1, 5, 40, 3) * scale
    x[0, 2] += 5 * x[0, 2].abs().max()
    for metric in ("cosine", "pearson"):
        packed = Packed(library, x, metric)
        expected = definition.rows(x[0].double().numpy(), metric)
        halves = packed.bytes.view(np.float16)
        for row, c in itertools.product(range(5), range(40)):
            value = sum(float(halves[packed.place(library, row, c, part, 2) // 2]) for part in range(2)) / 4096
            assert value == pytest.approx(expected[row, c], abs=2.0**-22)


def test_strided_rows_and_the_first_bad_row(library):
    wide = models(4, 70, 33, 5)
    bad = wide.clone()
    bad[1, 50, 7] = torch.nan
    bad[1, 20, 32] = torch.inf
    bad[3, 69, 0] = -torch.inf
    assert Packed(library, bad, "pearson", first=10).bad.tolist() == [INT64_MAX, 20, INT64_MAX, 69]
    plain = Packed(library, wide[::2, ::2, ::3].contiguous())
    strided = Packed(library, wide.transpose(1, 2).contiguous().transpose(1, 2)[::2, ::2, ::3])
    assert np.array_equal(plain.bytes, strided.bytes)


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
