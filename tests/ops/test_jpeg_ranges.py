"""No sum of jpeg_roundtrip overflows: the worst case of each, from the constants of sac/detail/jpeg_math.h alone.

In a plain sum Σ m_i x_i, |x_i| ≤ b_i, no partial sum in any order is larger than Σ |m_i| b_i.
"""

import numpy as np
import pytest

INT16, INT32 = 2**15, 2**31
MOST_STEP = 255

# the 8 × 8 DCT · √8 · 2^13 as the fast algorithm's rounded constants add up
EVEN = [[8192] * 4, [10703, 4433, -4433, -10703], [8192, -8192, -8192, 8192], [4433, -10704, 10704, -4433]]
ODD = [[11363, 9633, 6437, 2260], [9633, -2259, -11362, -6436], [6437, -11362, 2261, 9633], [2260, -6436, 9633, -11363]]
M = np.array([(row + row[::-1] if k % 2 == 0 else row + [-v for v in row[::-1]])
              for k, row in enumerate(r for pair in zip(EVEN, ODD, strict=True) for r in pair)])  # fmt: skip
LENGTH = np.abs(M).sum(1)  # of each frequency over samples
REACH = np.abs(M).sum(0)  # of each sample over frequencies

# Forward, rows: bound of each frequency. All but the first add up to 0, so −128 … 127 is as good as ±127.5.
PASS_1 = (np.array([128] + [127.5] * 7) * LENGTH + 2**10).astype(int) >> 11
COEFFICIENT = (np.outer(LENGTH, PASS_1) + 2**14) >> 15  # [u, k]
LEVEL_TIMES_STEP = (COEFFICIENT.max() + 4 * MOST_STEP) // 8


def inverse_pass_1():
    """Quantising moves a coefficient by at most 4Q/8 and rounding by ½: what is left is the rows' DCT again."""
    gram = np.abs(M.T @ M)
    signal = gram.sum(1)[:, None] * PASS_1[None, :] / 2 ** (15 + 3 + 11)
    error = REACH[:, None] * (MOST_STEP / 2 + 0.5 / 8) / 2**11
    return signal + error + 0.5  # [x, k]


def test_constants_are_the_dct():
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    exact = 8192 * np.where(k == 0, 1, np.sqrt(2)) * np.cos((2 * n + 1) * k * np.pi / 16)
    assert np.abs(M - exact).max() < 2


def test_constants_are_those_of_the_reference():
    from sac_fast.ops.reference.jpeg_roundtrip import _dct_matrix

    assert np.array_equal(M, _dct_matrix().numpy())


def test_forward_dct():
    assert LENGTH.max() * 128 < INT32
    assert (LENGTH[:, None] * PASS_1).max() < 2**29
    # 16-bit sums: pixels −128 … 127, so pass 1 starts with −4096 … 4064
    assert -INT16 <= -8 * 4096
    assert INT16 > 4 * 4064 + 4 * 4096 + 2
    assert 8 * PASS_1[1:].max() + 2 < INT16
    assert COEFFICIENT.max() == 8192


def test_quantisation():
    n = COEFFICIENT.max() + 4 * MOST_STEP
    assert n < 2**14
    assert 4 * n < 2**16  # unsigned 16 bits
    assert LEVEL_TIMES_STEP == 1151


@pytest.mark.parametrize("step", range(1, 256))
def test_division_by_multiplication(step):
    x = np.arange(8193 + 1)
    n, d = x + 4 * step, 8 * step
    s = d.bit_length() - 1
    reciprocal = -(-(2 ** (15 + s)) // d)
    assert reciprocal <= 2**15
    assert np.array_equal((((4 * n * reciprocal) >> 16) * 2 ** (15 - s)) >> 16, n // d)


def test_inverse_dct():
    assert REACH.max() * (LEVEL_TIMES_STEP + 1) < 2**29
    pass_1 = inverse_pass_1()
    assert 7900 < pass_1.max() < 7920
    wide = (np.abs(M)[None] * pass_1[:, :, None]).sum(1)
    assert wide.max() < 2**29
    assert 128 + wide.max() / 2**18 < 1980 < INT16


def test_colours_and_chroma():
    largest = max(19595 + 22086 + 7471 + 16384, 11059 + 21709 + 2 * 16384, 27439 + 5329 + 2 * 16384)
    assert largest * 255 + (128 << 16) + 32767 < INT32
    assert INT16 > 255 + 2 * 128 + ((22554 + 26345) * 128 >> 16) + 1
    assert INT16 > 16 * 255 + 8
