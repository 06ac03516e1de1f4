"""No sum of jpeg_roundtrip overflows: the worst case of each, from the constants of sac/detail/jpeg_math.h alone.

In a plain sum Σ m_i x_i, |x_i| ≤ b_i, no partial sum in any order is larger than Σ |m_i| b_i.
"""

import pathlib
import re

import numpy as np
import pytest

INT16, INT32 = 2**15, 2**31
MAX_STEP = 255

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
LEVEL_TIMES_STEP = (COEFFICIENT.max() + 4 * MAX_STEP) // 8


def inverse_pass_1():
    """Quantising moves a coefficient by at most 4Q/8 and rounding by ½: what is left is the rows' DCT again."""
    gram = np.abs(M.T @ M)
    signal = gram.sum(1)[:, None] * PASS_1[None, :] / 2 ** (15 + 3 + 11)
    error = REACH[:, None] * (MAX_STEP / 2 + 0.5 / 8) / 2**11
    return signal + error + 0.5  # [x, k]


HEADER = next((pathlib.Path(__file__).parents[2] / "csrc").rglob("jpeg_math.h"), None)
needs_header = pytest.mark.skipif(HEADER is None, reason="needs the source tree")


def number(expression, names):
    """The value of a sum of named and literal constants as the header writes it."""
    terms = re.findall(r"([+-]?) *(\w+)", expression)
    return sum((-1 if sign == "-" else 1) * (names[term] if term in names else int(term)) for sign, term in terms)


def products(text, names):
    """What a sum of A::madd(x, y, factor of x, factor of y) multiplies each variable by."""
    factors = {}
    for x, y, of_x, of_y in re.findall(r"A::madd\(([^,]+), ([^,]+), ([^,]+), ([^,)]+)\)", text):
        for variable, factor in ((x, of_x), (y, of_y)):
            factors[variable] = factors.get(variable, 0) + number(factor, names)
    return factors


@needs_header
def test_constants_are_those_of_the_header():
    text = HEADER.read_text()
    names = {name: int(value) for name, value in re.findall(r"\b(k\d_\d{3}) = (\d+)", text)}
    assert len(names) == 12
    assert re.search(r"kCosineBits = 13, kPass1Bits = 2;", text)
    part = re.search(r": r0(\(.*?\)),\s+r1(\(.*?\)),\s+r2(\(.*?\)),\s+r3(\(.*?\)) \{", text, re.S)
    odd = [products(part[i], names) for i in (4, 3, 2, 1)]  # frequencies 1, 3, 5, 7 of x0 − x7 (d) … x3 − x4 (a)
    assert [[row[x] for x in "dcba"] for row in odd] == ODD
    forward = text[text.index("void forward_dct") : text.index("void inverse_dct")]
    even = [products(re.search(rf"x\[{k}\] = A::template descale<shift>\((.*)", forward)[1], names) for k in (2, 6)]
    for row, found in zip((EVEN[1], EVEN[3]), even, strict=True):
        assert row == [found["d0"], found["d1"], -found["d1"], -found["d0"]]
    inverse = text[text.index("void inverse_dct") :]
    back = [products(re.search(rf"{name} = (A::madd.*?)[,;]\n|{name} = (A::madd.*?);", inverse)[0], names)
            for name in ("low", "high")]  # fmt: skip
    assert back == [{"x[2]": EVEN[1][0], "x[6]": EVEN[3][0]}, {"x[2]": EVEN[1][1], "x[6]": EVEN[3][1]}]


def colour_factors():
    """By function of the header, what it multiplies each colour by."""
    text = HEADER.read_text()
    bodies = re.findall(r"inline W (luma|chroma_blue|chroma_red|red|green|blue)\(.*?\) \{(.*?)\n\}", text, re.S)
    return {name: products(body, {}) for name, body in bodies}


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
    n = COEFFICIENT.max() + 4 * MAX_STEP
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


@needs_header
def test_colours_and_chroma():
    factors = colour_factors()
    assert factors["luma"] == {"r": 19595, "g": 22086 + 16384, "b": 7471}
    assert factors["chroma_blue"] == {"r": -11059, "g": -21709, "b": 2 * 16384}
    assert factors["chroma_red"] == {"g": -27439, "b": -5329, "r": 2 * 16384}
    assert factors["red"] == {"cr": 26345, "cb": 0}
    assert factors["green"] == {"cr": 18734, "cb": -22554}
    assert factors["blue"] == {"cr": 0, "cb": -14942}
    largest = max(sum(map(abs, factors[name].values())) for name in ("luma", "chroma_blue", "chroma_red"))
    assert largest * 255 + (128 << 16) + 32767 < INT32
    correction = max(sum(map(abs, factors[name].values())) for name in ("red", "green", "blue"))
    assert 255 + 2 * 128 + (correction * 128 >> 16) + 1 < INT16
    assert INT16 > 16 * 255 + 8
