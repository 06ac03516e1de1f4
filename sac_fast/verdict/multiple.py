"""Many suspects at once: p-values corrected so that the false accusations stay bounded over all of them.

The smallest conformal p-value is ``1 / (1 + m)`` with m nulls, so with s suspects Holm's correction can accuse somebody
only if ``s / (1 + m) <= α``: many suspects need many nulls. Benjamini and Hochberg's is milder where many are guilty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import checks


def holm(p_values: ArrayLike) -> checks.Values:
    """Holm's step-down adjusted p-values: accusing where they are ≤ α accuses *anybody* wrongly with P ≤ α.

    With the s p-values in rising order, ``adjusted_(i) = max_{j ≤ i} min(1, (s − j + 1) p_(j))``. Valid however the
    p-values depend on each other.

    Args:
        p_values: (s,) in 0 … 1, s ≥ 1.

    Returns:
        (s,) float64, in the order given.

    Raises:
        TypeError, ValueError: not numbers, empty, or out of 0 … 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> checks.Values:
    """Benjamini and Hochberg's adjusted p-values: of those accused where they are ≤ α, a share of at most α is
    expected to be accused wrongly.

    With the s p-values in rising order, ``adjusted_(i) = min_{j ≥ i} min(1, (s / j) p_(j))``. Valid for conformal
    p-values of independent suspects that share one null pool: these depend positively on each other (Bates et al.).

    Args:
        p_values: (s,) in 0 … 1, s ≥ 1.

    Returns:
        (s,) float64, in the order given.

    Raises:
        TypeError, ValueError: not numbers, empty, or out of 0 … 1.

    Source: Benjamini, Hochberg, J. R. Statist. Soc. B 1995, by `scipy.stats.false_discovery_control`; Bates, Candès,
    Lei, Romano, Sesia, "Testing for outliers with conformal p-values", Ann. Statist. 2023 (arXiv 2104.08279).
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(_p_values(p_values), method="bh"), dtype=np.float64)


def _p_values(given: ArrayLike) -> checks.Values:
    p = checks.values("p_values", given, least=0)
    if not p.size:
        raise ValueError("p_values must hold at least one p-value, got none")
    bad = p[(p < 0) | (p > 1)]
    if bad.size:
        raise ValueError(f"p_values must lie within 0 … 1, got {bad[0]}")
    return p
