"""The L1 sweep kernels, their threads run as fibers on the processor (cuda_fibers/), against float64.

No GPU has run them yet; this shows that what they compute, where they read and write, and how they wait is right.
"""

import ctypes
import itertools

import numpy as np
import pytest
import scipy.spatial.distance
from support import emulated_sweep
from support.tolerances import FLOAT64

FORMS = emulated_sweep.FORMS
# Of a sum. float16: each of its differences is rounded, and two sums of them, to 11 bits; they average out.
RELATIVE = {"uint8": 0.0, "float16": 5e-4, "float32": 5e-7, "float64": 1e-14}
NONE = np.iinfo(np.int64).max


@pytest.fixture(scope="module")
def library():
    return emulated_sweep.compiled()


@pytest.fixture
def module(library):
    return emulated_sweep.EmulatedSweep(library)


class Rows:
    """Vectors as the kernels take them: 16 bytes aligned, zeros up to 16 bytes, between guards of NaN."""

    def __init__(self, values, form):
        values = np.ascontiguousarray(values.astype(form))
        used = values.shape[1] * values.itemsize
        pitch = -(-used // 16) * 16
        self._buffer = np.full(len(values) * pitch + 8192, 0xFF, np.uint8)
        start = 4096 + -self._buffer.ctypes.data % 16
        rows = self._buffer[start : start + len(values) * pitch].reshape(len(values), pitch)
        rows[:] = 0
        rows[:, :used] = values.view(np.uint8).reshape(len(values), used)
        self.kernel = (rows.ctypes.data, len(values), pitch)


def entries(seed, m, p, form):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (m, p)) if form == "uint8" else rng.uniform(-1, 1, (m, p))
    return values.astype(form)


def cityblock(x, y):
    return scipy.spatial.distance.cdist(x.astype(np.float64), y.astype(np.float64), "cityblock")


def at(array):
    return 0 if array is None else array.ctypes.data


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("m", "p"), [(2, 1), (3, 45), (127, 33), (129, 300), (260, 33)])
def test_all_pairs(module, form, m, p):
    x = entries(m, m, p, form)
    x[-1] = x[0]
    distances = np.full((m, m), np.nan)
    rows = Rows(x, form)
    module.pairwise_correlation_distances_cuda(
        rows.kernel, rows.kernel, True, form, 0, False, at(distances), True, 0.5, 0
    )
    np.testing.assert_allclose(
        distances, 0.5 * cityblock(x, x), rtol=RELATIVE[form] * (10 if p < 9 else 1), atol=FLOAT64
    )
    assert (distances == distances.T).all()
    assert not distances.diagonal().any()
    assert distances[0, -1] == 0.0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("triangle", [False, True])
def test_slabs_of_entries_add_up(module, form, triangle):
    x, y = entries(1, 130, 250, form), entries(2, 150, 250, form)
    y = x if triangle else y
    sums = np.full((len(x), len(y)), np.nan)
    distances = np.full((len(x), len(y)), np.nan, np.float32)
    for slab, last in ((slice(0, 96), False), (slice(96, 97), False), (slice(97, 250), True)):
        left, right = Rows(x[:, slab], form), Rows(y[:, slab], form)
        out = at(distances) if last else 0
        module.pairwise_correlation_distances_cuda(
            left.kernel, right.kernel, triangle, form, at(sums), slab.start > 0, out, False, 2.0, 0
        )
    np.testing.assert_allclose(distances, 2.0 * cityblock(x, y), rtol=RELATIVE[form] + 1e-7, atol=FLOAT64)


def test_a_vector_with_nan_makes_its_own_distances_nan(module):
    x = entries(3, 140, 300, "float32")
    x[131, 299] = np.nan
    distances = np.zeros((140, 140), np.float32)
    rows = Rows(x, "float32")
    module.pairwise_correlation_distances_cuda(
        rows.kernel, rows.kernel, True, "float32", 0, False, at(distances), False, 1.0, 0
    )
    wrong = np.isnan(distances)
    assert wrong[131].all()
    assert wrong[:, 131].all()
    assert wrong.sum() == 2 * 140 - 1


@pytest.mark.parametrize("entries_count", [1 << 10, 1 << 17, 1 << 22])
@pytest.mark.parametrize("constant", [True, False])
def test_rounding_does_not_grow_with_the_number_of_entries(library, entries_count, constant):
    x = np.full(entries_count, 0.7, np.float32)
    y = np.full(entries_count, -0.1, np.float32)
    if not constant:
        rng = np.random.default_rng(entries_count)
        x, y = (rng.uniform(-1, 1, entries_count).astype(np.float32) for _ in range(2))
    sums = []
    for function, form in ((library.summed_float32, "float32"), (library.summed_float16, "float16")):
        left, right = x.astype(form), y.astype(form)
        sums.append(function(ctypes.c_void_p(at(left)), ctypes.c_void_p(at(right)), ctypes.c_int64(entries_count)))
    exact = np.abs(x.astype(np.float64) - y).sum()
    # 2⁻²⁴ for the last addition and the mean of what the 128 entries of a sum lose
    assert sums[0] == pytest.approx(exact, rel=3e-7 if constant else 1.2e-7)
    rounded = np.abs(x.astype(np.float16).astype(np.float64) - y.astype(np.float16)).sum()
    assert sums[1] == pytest.approx(rounded, rel=3e-4)


def expected_lists(x, y, top, first_query=None, first_model=0):
    """Indices by (distance, index), float64."""
    full = cityblock(x, y)
    if first_query is not None:
        for i in range(len(x)):
            if 0 <= first_query + i - first_model < len(y):
                full[i, first_query + i - first_model] = np.inf
    order = np.argsort(full, axis=1, kind="stable")[:, :top]
    return order, np.take_along_axis(full, order, 1)


def decoded(keys, form):
    bits = (keys >> 32).astype(np.uint32)
    return keys & 0xFFFFFFFF, bits.astype(np.float64) if form == "uint8" else bits.view(np.float32).astype(np.float64)


def relatives(seed, m, p, form):
    """Vectors of which some are alike, and some the same as others."""
    x = entries(seed, m, p, form)
    x[m // 2 :] = x[: m - m // 2]
    x[m // 2 :, : p // 3] = entries(seed + 1, m - m // 2, p // 3, form)
    x[-1] = x[m // 3]
    return x


@pytest.mark.parametrize("form", ["uint8", "float32", "float16"])
@pytest.mark.parametrize(
    ("q", "m", "top", "parts"), [(1, 5, 5, 1), (70, 300, 10, 2), (20, 290, 33, 3), (2, 400, 256, 1)]
)
def test_nearest_of_queries(module, form, q, m, top, parts):
    models = relatives(4, m, 91, form)
    queries = relatives(6, q, 91, form) if q > 5 else models[:q]
    keys = np.full((parts, q, top), NONE)
    left, right = Rows(queries, form), Rows(models, form)
    module.nearest_models_cuda(left.kernel, right.kernel, form, top, 0, 0, False, parts, at(keys), 0)
    tiles = -(-m // 128)
    for part in range(parts):  # blocks run at the same time: each has its own lists
        first, last = (
            128 * module.library.part_start(*map(ctypes.c_int64, (p, parts, tiles))) for p in (part, part + 1)
        )
        found = keys[part][keys[part] != NONE] & 0xFFFFFFFF
        assert ((found >= first) & (found < last)).all()
    merged = np.sort(np.concatenate(list(keys), axis=1), axis=1)[:, :top]
    indices, sums = decoded(merged, form)
    order, values = expected_lists(queries, models, top)
    np.testing.assert_allclose(sums, values, rtol=RELATIVE[form] * 4, atol=FLOAT64)
    if form != "float16":  # rounded: others may come first
        np.testing.assert_array_equal(indices, order)


@pytest.mark.parametrize("form", ["uint8", "float32"])
def test_lists_go_on_from_segment_to_segment(module, form):
    models = relatives(7, 400, 45, form)
    keys = np.full((1, 140, 12), NONE)
    queries = Rows(models[130:270], form)
    for first, last in ((0, 128), (128, 129), (129, 400)):
        segment = Rows(models[first:last], form)
        module.nearest_models_cuda(queries.kernel, segment.kernel, form, 12, 130, first, True, 1, at(keys), 0)
    indices, _ = decoded(keys[0], form)
    np.testing.assert_array_equal(indices, expected_lists(models[130:270], models, 12, 130)[0])


def test_lists_shorter_than_asked_end_with_nobody(module):
    models = entries(8, 4, 20, "uint8")
    keys = np.full((1, 4, 6), NONE)
    rows = Rows(models, "uint8")
    module.nearest_models_cuda(rows.kernel, rows.kernel, "uint8", 6, 0, 0, True, 1, at(keys), 0)
    assert (keys[0, :, 3:] == NONE).all()
    np.testing.assert_array_equal(decoded(keys[0, :, :3], "uint8")[0], expected_lists(models, models, 3, 0)[0])


@pytest.mark.parametrize("form", ["uint8", "float32"])
@pytest.mark.parametrize(("m", "top"), [(2, 1), (128, 9), (129, 9), (60, 33), (300, 3), (400, 3)])
def test_the_models_ask_for_their_own_neighbours(module, form, m, top):
    models = relatives(9, m, 37, form)
    keys = np.full((m, top), NONE)
    rows = Rows(models, form)
    module.nearest_models_cuda_symmetric(rows.kernel, form, top, at(keys), 0)
    order, values = expected_lists(models, models, top, 0)
    indices, sums = decoded(keys, form)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(sums, values, rtol=RELATIVE[form], atol=FLOAT64)


WARPS_AHEAD = 100  # each warp runs as far as it can


LONG = [pytest.param(order, marks=pytest.mark.slow) for order in ((0, True), (WARPS_AHEAD, False), (3, False))]


@pytest.fixture(params=[(WARPS_AHEAD, True), *LONG], ids=str)
def in_any_order(request, module):
    """Threads take turns in several orders; copies arrive as late, or as early, as they may."""
    turns, early = request.param
    module.library.schedule(turns, early)
    yield module
    module.library.schedule(0, False)


@pytest.mark.parametrize("form", ["uint8", "float32"])
def test_the_order_of_threads_does_not_matter(in_any_order, form):
    module, models = in_any_order, relatives(10, 140, 150, form)
    rows, queries = Rows(models, form), Rows(models[:40], form)
    distances = np.full((140, 140), np.nan)
    module.pairwise_correlation_distances_cuda(
        rows.kernel, rows.kernel, True, form, 0, False, at(distances), True, 1.0, 0
    )
    np.testing.assert_allclose(distances, cityblock(models, models), rtol=RELATIVE[form], atol=FLOAT64)
    lists, own = np.full((1, 40, 7), NONE), np.full((140, 7), NONE)
    module.nearest_models_cuda(queries.kernel, rows.kernel, form, 7, 0, 0, True, 1, at(lists), 0)
    module.nearest_models_cuda_symmetric(rows.kernel, form, 7, at(own), 0)
    order, _ = expected_lists(models, models, 7, 0)
    np.testing.assert_array_equal(decoded(lists[0], form)[0], order[:40])
    np.testing.assert_array_equal(decoded(own, form)[0], order)


def test_everybody_meets_everybody_once(library):
    def pair(round_, table, players):
        out = np.zeros(2, np.int64)
        library.pair_of(*map(ctypes.c_int64, (round_, table, players)), ctypes.c_void_p(at(out)))
        return tuple(out.tolist())

    for players in (2, 4, 6, 20, 62):
        met = []
        for r in range(players - 1):
            tables = [pair(r, t, players) for t in range(players // 2)]
            assert sorted(itertools.chain(*tables)) == list(range(players))  # nobody twice, nobody out
            met += tables
        assert sorted(met) == list(itertools.combinations(range(players), 2))
    many = 2**33
    assert pair(many - 2, many // 2 - 1, many) == (many // 2 - 2, many // 2 - 1)


def test_parts_cover_the_zoo(library):
    for tiles, parts in ((1, 1), (5, 8), (17, 3), (7813, 264), (2**40 + 5, 1000)):
        starts = [library.part_start(*map(ctypes.c_int64, (p, parts, tiles))) for p in range(parts + 1)]
        sizes = np.diff(starts)
        assert (starts[0], starts[-1]) == (0, tiles)
        assert sizes.max() - sizes.min() <= 1


def test_keys_order_by_distance_then_index(library):
    def key(distance, model):
        bits = int(np.float32(distance).view(np.uint32))
        return library.key(ctypes.c_uint32(bits), ctypes.c_int64(model))

    wanted = [(0.0, 0), (0.0, 2**32 - 2), (1e-30, 1), (0.5, 7), (0.5, 2**31), (3e4, 0), (np.inf, 0), (np.nan, 5)]
    keys = [key(*each) for each in wanted]
    assert keys == sorted(keys)
    assert keys[0] >= 0
    assert keys[-1] < NONE
    assert [k & 0xFFFFFFFF for k in keys] == [model for _, model in wanted]


def test_no_two_lanes_of_an_access_share_a_bank(library):
    row, col = ([f(t) for t in range(256)] for f in (library.thread_row, library.thread_col))
    assert sorted(zip(row, col, strict=True)) == list(itertools.product(range(16), range(16)))
    for warp in range(8):
        lanes = range(32 * warp, 32 * warp + 32)
        # 16 bytes a lane go eight lanes at a time: the same chunk of their own rows
        for chunk, part in itertools.product(range(8), range(4)):
            some = lanes[8 * part : 8 * part + 8]
            assert len({library.slab_offset(128 + col[t], chunk) % 128 // 16 for t in some}) == 8
            assert len({library.slab_offset(row[t], chunk) for t in some}) == 1
        for i, j in itertools.product(range(8), range(8)):
            assert len({library.matrix_word(row[t] + 16 * i, col[t] + 16 * j) % 32 for t in lanes}) == 32
    for line in range(128):
        for first in range(0, 128, 32):
            assert len({library.matrix_word(line, other) % 32 for other in range(first, first + 32)}) == 32
            assert len({library.matrix_word(other, line) % 32 for other in range(first, first + 32)}) == 32
    assert sorted(library.matrix_word(i, j) for i in range(128) for j in range(128)) == list(range(128 * 128))
    assert sorted(library.slab_offset(r, c) for r in range(256) for c in range(8)) == list(range(0, 32768, 16))
