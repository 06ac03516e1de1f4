"""The order in which the tensor-core kernels visit tiles and steps, and the grids that they launch."""

import itertools

import numpy as np
import pytest
from support.emulated_tiles import i64, pointer


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
