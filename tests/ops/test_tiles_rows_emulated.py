"""The rows that the tensor-core kernels read, as the packing kernel writes them."""

import itertools

import numpy as np
import pytest
import torch
from support import definition
from support.emulated_tiles import DTYPES, INT64_MAX, Packed, i64, models, pointer


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
