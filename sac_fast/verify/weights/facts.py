"""What two arrays have in common that needs no statistic."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .fixed_points import Array

#: Relations of two arrays, the first that holds is counted.
EQUAL = "equal"
DTYPE = "equal after a change of dtype"
SCALED = "equal up to sign or scale"
QUANTISED = "equal after dequantisation"
PRUNED = "equal where not pruned"
RELATIONS = (EQUAL, DTYPE, SCALED, QUANTISED, PRUNED)

_SAMPLE = 4096  # values looked at before a whole array is
_MAX_LEVELS = 256  # of a quantised row
_MIN_ZEROS = 0.05  # share from which zeros are a pruning mask
_SHORT_FLOATS, _SMALLEST_HALF = 2.0**-7, 2.0**-24  # more than bfloat16 rounds, and what float16 has below its range
_ROUNDING = 1e-5  # of float32 products, relative to the largest value


class Facts:
    """Counts relations over pairs of arrays."""

    def __init__(self) -> None:
        self.pairs = 0
        self.values = 0
        self.counts: Counter[str] = Counter()
        self.counted_values: Counter[str] = Counter()
        self.coarser: Counter[str] = Counter()
        self.zeros = np.zeros(2, dtype=np.int64)

    def add(self, a: Array, b: Array, dtypes: tuple[str, str]) -> None:
        """Count one pair of arrays of one shape.

        Args:
            a, b: values.
            dtypes: how each is stored.
        """
        relation = find_relation(a, b, dtypes)
        self.pairs += 1
        self.values += a.size
        self.zeros += (a.size - np.count_nonzero(a), b.size - np.count_nonzero(b))
        if relation is not None:
            self.counts[relation] += 1
            self.counted_values[relation] += a.size
            self.coarser.update(find_coarser(a, b, relation) or ())

    def to_dict(self) -> dict[str, Any]:
        """Counts as JSON values.

        Arrays and share of the values for each relation, arrays in which a side is the coarser one, zeros on both
        sides.
        """
        relations = {
            relation: {"arrays": self.counts[relation], "values": self.counted_values[relation] / max(1, self.values)}
            for relation in RELATIONS
        }
        zeros = [int(count) / max(1, self.values) for count in self.zeros]
        return {
            "pairs_of_arrays": self.pairs,
            **relations,
            "coarser": {"a": self.coarser["a"], "b": self.coarser["b"]},
            "zeros": {"a": zeros[0], "b": zeros[1]},
        }


def find_relation(a: Array, b: Array, dtypes: tuple[str, str] = ("", "")) -> str | None:
    """The strongest relation of two arrays that holds for every value.

    Args:
        a, b: of one shape.
        dtypes: how each is stored; equal values of two dtypes are equal after a change of dtype.

    Returns:
        One of `RELATIONS`; None: none holds.
    """
    if a.shape != b.shape or a.size == 0 or "c" in (a.dtype.kind, b.dtype.kind):
        return None
    if _same(a, b):
        return EQUAL if dtypes[0] == dtypes[1] else DTYPE
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    step = max(1, a.size // _SAMPLE)
    sample = a.reshape(-1)[::step], b.reshape(-1)[::step]
    if _is_near(*sample) and any(_same(_cast(x, low), y) and _same(_cast(whole, low), other)
           for low in ("float16", "bfloat16")
           for x, y, whole, other in ((*sample, a, b), (*sample[::-1], b, a))):  # fmt: skip
        return DTYPE
    if a.ndim < 2 or not (a.any() and b.any()):
        return None
    rows = a.reshape(len(a), -1), b.reshape(len(b), -1)
    for relation, holds in ((SCALED, _is_scaled), (QUANTISED, _is_quantised), (PRUNED, _is_pruned)):
        if all(holds(rows[0][:count], rows[1][:count]) for count in (1, 16, len(a))):
            return relation
    return None


def find_coarser(a: Array, b: Array, relation: str) -> str | None:
    """The side that lost values which the other one has, by rounding, quantisation or pruning.

    Args:
        a, b: of one shape.
        relation: theirs, see `find_relation`.

    Returns:
        ``"a"`` or ``"b"``; None: neither, or it cannot be told.
    """
    if relation == DTYPE and not _same(a, b):
        return "b" if any(_same(_cast(a, low), b) for low in ("float16", "bfloat16")) else "a"
    if relation == PRUNED:
        zeros = np.count_nonzero(a == 0), np.count_nonzero(b == 0)
        return None if zeros[0] == zeros[1] else "a" if zeros[0] > zeros[1] else "b"
    if relation == QUANTISED:
        rows = a.reshape(len(a), -1), b.reshape(len(b), -1)
        found = _is_rounding_of(*rows), _is_rounding_of(*rows[::-1])
        return None if all(found) else "a" if found[0] else "b"
    return None


def _same(a: Array, b: Array) -> bool:
    """Equal values, or equal bits where some are NaN."""
    if np.array_equal(a, b):
        return True
    if a.dtype != b.dtype or a.dtype.kind != "f" or a.shape != b.shape:
        return False
    bits = f"u{a.dtype.itemsize}"
    return bool(np.array_equal(a.view(bits), b.view(bits)))


def _is_near(a: Array, b: Array) -> bool:
    """Whether the first values could be roundings of each other, at the cost of a few."""
    a, b = a[:8].astype(np.float64), b[:8].astype(np.float64)
    return bool((np.abs(a - b) <= _SHORT_FLOATS * np.abs(a) + _SMALLEST_HALF).all())


def _cast(values: Array, low: str) -> Array:
    """The values rounded to a shorter float, to nearest even."""
    if low == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(values.dtype)
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(values.dtype)


def _is_scaled(a: Array, b: Array) -> bool:
    """Whether each row of b is a number times the row of a."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squares = np.einsum("ij,ij->i", a, a)
    scale = np.einsum("ij,ij->i", a, b) / np.where(squares > 0, squares, 1)
    error = np.abs(b - scale[:, None] * a).max(axis=1)
    return bool((error <= _ROUNDING * np.abs(b).max(axis=1)).all() and scale.any() and a.shape[1] > 1)


def _is_quantised(a: Array, b: Array) -> bool:
    """Whether one side's rows have few levels, evenly spaced, and lie within half a step of the other's."""
    return _is_rounding_of(b, a) or _is_rounding_of(a, b)


def _is_rounding_of(low: Array, full: Array) -> bool:
    if low.shape[1] < 8:
        return False
    low, full = low.astype(np.float64), full.astype(np.float64)
    for x, y in zip(low, full, strict=True):
        levels = np.unique(x)
        if len(levels) > min(_MAX_LEVELS, len(x) - 1):
            return False
        steps = np.diff(levels)
        if not len(steps):
            if y.any() and np.abs(y).max() > np.abs(x).max():
                return False
            continue
        step = steps[steps > 1e-4 * steps.max()].min()
        if np.abs(x - y).max() > 0.501 * step:
            return False
    return True


def _is_pruned(a: Array, b: Array) -> bool:
    """Whether both are equal where neither is zero, and one has many zeros more."""
    both = (a != 0) & (b != 0)
    return bool(both.any() and (a[both] == b[both]).all() and 1 - both.mean() >= _MIN_ZEROS)
