"""Corrections of p-values for many suspects.

The smallest conformal p-value is ``1 / (1 + m)`` with m nulls. With s suspects, Holm's correction can therefore reject
only if ``s / (1 + m) <= α``: many suspects need many nulls. Benjamini and Hochberg's correction is less strict where
many suspects are derived.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import checks


def holm(p_values: ArrayLike, *, tests: int | None = None) -> checks.Values:
    """Holm's step-down adjusted p-values, which bound the family-wise error rate.

    With the s p-values in ascending order, ``adjusted_(i) = max_{j ≤ i} min(1, (s − j + 1) p_(j))``. Rejecting where
    ``adjusted <= α`` rejects any true hypothesis with probability at most α, whatever the dependence of the p-values.

    Args:
        p_values: (r,) in 0 … 1, r ≥ 1.
        tests: s ≥ r, the number of all tests, where `p_values` are the r smallest of them. Default: r.

    Returns:
        (r,) float64, in the order of `p_values`.

    Raises:
        TypeError, ValueError: not numbers, empty, outside 0 … 1, or fewer tests than p-values.

    Example::

        >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
        [0.03, 0.06, 0.06]
        >>> holm([0.001], tests=20).tolist()
        [0.02]

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    p = _check_p_values(p_values)
    count = len(p) if tests is None else checks.check_count("tests", tests, len(p))
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate((count - np.arange(len(p))) * p[order]), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> checks.Values:
    """Benjamini and Hochberg's adjusted p-values, which bound the false discovery rate.

    With the s p-values in ascending order, ``adjusted_(i) = min_{j ≥ i} min(1, (s / j) p_(j))``. Of those rejected at
    ``adjusted <= α``, an expected share of at most α is rejected wrongly. Valid for conformal p-values of independent
    suspects that share one null pool, since these are positively dependent (Bates et al.).

    Args:
        p_values: (s,) in 0 … 1, s ≥ 1.

    Returns:
        (s,) float64, in the order of `p_values`.

    Raises:
        TypeError, ValueError: not numbers, empty, or outside 0 … 1.

    Example::

        >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(6).tolist()
        [0.03, 0.04, 0.04]

    Source: Benjamini, Hochberg, J. R. Statist. Soc. B 1995, by `scipy.stats.false_discovery_control`; Bates, Candès,
    Lei, Romano, Sesia, "Testing for outliers with conformal p-values", Ann. Statist. 2023 (arXiv 2104.08279).
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(_check_p_values(p_values), method="bh"), dtype=np.float64)


def _check_p_values(given: ArrayLike) -> checks.Values:
    p = checks.check_values("p_values", given, minimum=0)
    if not p.size:
        raise ValueError("p_values must hold at least one p-value, got none")
    bad = p[(p < 0) | (p > 1)]
    if bad.size:
        raise ValueError(f"p_values must lie within 0 … 1, got {bad[0]}")
    return p
