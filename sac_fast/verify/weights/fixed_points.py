"""The statistic of one layer, and its bound.

A layer has m units, each described by a row of numbers. N counts the units of a whose best match among b's units, the
largest |cosine|, is the unit of the same number. If the units of b could as well stand in any other order,
P(N ≥ k) ≤ 1/k!, for any numbers: docs/verdicts.md has the proof.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Cosines nearer than this are a tie, which is a miss: float32 products of equal rows differ in the last bits.
TIE = 1e-5
_MIN_NUMBERS = 24  # to describe a unit by the columns that are kept
_CHUNK_VALUES = 1 << 22  # of the matrix of cosines that exist at a time


@functools.lru_cache(maxsize=4096)
def log10_factorial(k: int) -> float:
    """log10(k!) from the exact integer."""
    return math.log10(math.factorial(k))


def log10_bound(matches: int, blocks: int = 1) -> float:
    """log10 of the bound of P(N ≥ k): 1/k!, with h blocks of units h! · h^(k − h) / k! from k = h on.

    Args:
        matches: k, number of units that are matched with themselves.
        blocks: h, equal blocks within which the units are exchangeable; matches are looked for in the block alone.

    Returns:
        At most 0.
    """
    if matches <= blocks:
        return 0.0
    return min(0.0, log10_factorial(blocks) + (matches - blocks) * math.log10(blocks) - log10_factorial(matches))


def unit_rows(rows: Array) -> Array:
    """Rows of length 1 as float32; rows of zeros stay zeros.

    Args:
        rows: (m, …) finite numbers of any scale.

    Returns:
        (m, d) float32.
    """
    flat = rows.reshape(len(rows), -1)
    largest = np.abs(flat).max(axis=1, keepdims=True, initial=0)
    # By the largest number first: squares of 1e30 and of 1e-30 do not fit.
    scaled = np.divide(flat, np.where(largest > 0, largest, 1), dtype=np.float64 if flat.dtype == np.float64 else None)
    scaled = scaled.astype(np.float32, copy=False)
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    scaled /= np.where(length > 0, length, 1)
    return scaled


def count_fixed_points(a: Array, b: Array, blocks: int = 1) -> int:
    """Count the units whose best match is the unit of the same number.

    ``N = #{i : |a_i · b_i| > |a_i · b_j| for all j ≠ i of i's block}``; a tie within `TIE` is a miss.

    Args:
        a, b: (m, d) from `unit_rows`.
        blocks: number of equal blocks of consecutive units; m is a multiple of it.

    Returns:
        N.
    """
    block = len(a) // blocks
    same = same_cosines(a, b)
    matches = 0
    step = max(1, _CHUNK_VALUES // block)
    for first in range(0, len(a), block):
        theirs = b[first : first + block].T
        for start in range(first, first + block, step):
            stop = min(start + step, first + block)
            cosines = np.abs(a[start:stop] @ theirs)
            cosines[np.arange(stop - start), np.arange(start - first, stop - first)] = 0
            matches += int((same[start:stop] > cosines.max(axis=1) + TIE).sum())
    return matches


def count_all_fixed_points(a: Array, b: Array, blocks: int = 1) -> Array:
    """`count_fixed_points` of every pair of a and b at once, for small layers.

    Args:
        a, b: (p, m, d) and (q, m, d), each row as from `unit_rows`.
        blocks: of the m units.

    Returns:
        (p, q) counts.
    """
    p, m, _ = a.shape
    block = m // blocks
    counts = np.zeros((p, len(b)), dtype=np.int64)
    places = np.arange(block)
    step = max(1, _CHUNK_VALUES // (len(b) * block * block))
    for first in range(0, m, block):
        theirs = b[None, :, first : first + block].swapaxes(2, 3)
        for start in range(0, p, step):
            cosines = np.abs(a[start : start + step, None, first : first + block] @ theirs)
            same = cosines[:, :, places, places]
            cosines[:, :, places, places] = 0
            counts[start : start + step] += (same > cosines.max(axis=3) + TIE).sum(axis=2)
    return counts


def same_cosines(a: Array, b: Array) -> Array:
    """|cosine| of units of the same number: (m,)."""
    cosines: Array = np.abs(np.einsum("ij,ij->i", a, b))
    return cosines


@functools.lru_cache(maxsize=4096)
def split_units(units: int, numbers: int) -> tuple[Array, Array]:
    """Two disjoint sets of units for an array whose rows and columns are the same units: rows tested, columns kept.

    The kept columns are a quarter to a half of the units, more of them where each gives few numbers.

    Args:
        units: m.
        numbers: how many numbers a row has for one column (places of a kernel, gates).

    Returns:
        Indices of the rows, and of the columns; evenly spread, the same for every model.
    """
    kept = min(max(-(-_MIN_NUMBERS // numbers), -(-units // 4)), units // 2)
    columns = np.linspace(0, units, kept, endpoint=False).astype(np.int64)
    return np.setdiff1d(np.arange(units), columns), columns
