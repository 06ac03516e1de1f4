"""The null pool: what a distance means beside the distances of models known to be independent.

Only the order of the numbers counts, so any finite score that is smaller where models are more alike does as well as
a distance.

The p-value is the conformal one, ``p = (1 + #{null ≤ d}) / (1 + #null)``: for an independent suspect,
exchangeable with the pool, ``P(p ≤ α) ≤ α`` whatever the distribution (Vovk, Gammerman, Shafer,
*Algorithmic Learning in a Random World*, 2005).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks

VerdictName = Literal["derived", "independent", "inconclusive"]


def _sorted(name: str, given: ArrayLike, least: int = 1) -> NDArray[np.float64]:
    return np.sort(checks.values(name, given, least))


def _p_value(distance: float, null: NDArray[np.float64]) -> float:
    return (1 + int(np.searchsorted(null, distance, side="right"))) / (1 + null.size)


def largest_count(rate: float, size: int) -> int:
    """The largest integer r with ``r / size <= rate``."""
    # The division of two integers is rounded correctly, so r / size equals the double `rate` wherever both
    # stand for the same fraction (1 / 10 == 0.1): comparing quotients needs no tolerance, floor(rate · size)
    # would (0.29 · 100 is 28.999…). That product is only the first guess.
    r = math.floor(rate * size)
    if (r + 1) / size <= rate:
        return r + 1
    return r - 1 if r / size > rate else r


def _bound(null: NDArray[np.float64], rate: float) -> float | None:
    """The t with ``d < t`` exactly where ``p(d) <= rate``; None where p is never so small. null is sorted.

    ``p(d) <= rate`` says ``1 + #{null <= d} <= r`` for the largest integer r with ``r / (1 + m) <= rate``;
    and ``#{null <= d} <= r - 1`` says that d lies below the r-th smallest null.
    """
    r = largest_count(rate, 1 + null.size)
    if r < 1:
        return None
    return float(null[r - 1]) if r <= null.size else math.inf


def conformal_p_value(distance: float, null: ArrayLike) -> float:
    """How unusually near a suspect is among independents: ``(1 + #{null ≤ distance}) / (1 + #null)``.

    Args:
        distance: of the suspect to the source, finite.
        null: (m,) distances of independent models to the source, m ≥ 1.

    Returns:
        The p-value, between ``1 / (1 + m)`` and 1.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Source: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005.
    """
    return _p_value(checks.number("distance", distance), _sorted("null", null))


def attainable_p_value(null_count: int) -> float:
    """The smallest p-value that so many nulls can give: ``1 / (1 + null_count)``.

    Args:
        null_count: number of null distances, ≥ 0.

    Returns:
        The p-value of a suspect nearer than every null.

    Raises:
        TypeError, ValueError: not an integer, or negative.
    """
    return 1 / (1 + checks.count("null_count", null_count))


def calibrated_threshold(null: ArrayLike, alpha: float) -> float | None:
    """The largest t such that ``distance < t`` is exactly ``conformal_p_value(distance, null) <= rate``.

    It is the ``floor(rate · (1 + m))``-th smallest null. A distance equal to it is not below it.

    Args:
        null: (m,) distances of independent models to the source, m ≥ 1.
        alpha: α, strictly between 0 and 1.

    Returns:
        The threshold; None where m nulls are too few for α, that is ``1 / (1 + m) > α``.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.
    """
    return _bound(_sorted("null", null), checks.rate("alpha", alpha))


def smallest_null_count(rate: float) -> int:
    """The smallest m with ``1 / (1 + m) <= rate``; `rate` is one of `checks.rate`."""
    # Correctly rounded quotients once more.
    needed = max(1, math.floor(1 / rate) - 2)
    while 1 / (1 + needed) > rate:
        needed += 1
    return needed


@dataclass(frozen=True)
class Verdict:
    """What one distance says, and on what ground.

    Attributes:
        verdict: ``"derived"``, ``"independent"`` (not distinguishable from the independents in the pool)
            or ``"inconclusive"``.
        distance: of the suspect to the source.
        p_value: the conformal p-value.
        attainable_p_value: the smallest one that the pool can give.
        alpha: α.
        threshold: below it a suspect is derived; None where the nulls are too few for α.
        upper_bound: from it on a suspect is independent; None where the nulls are too few for α, or no
            distance is (2α ≥ 1).
        null_count: size of the pool.
        reason: one plain sentence.
    """

    verdict: VerdictName
    distance: float
    p_value: float
    attainable_p_value: float
    alpha: float
    threshold: float | None
    upper_bound: float | None
    null_count: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, all of them values that JSON knows."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class NullPool:
    """Distances of models known to be independent of the source, and of what kind these are.

    Attributes:
        distances: (m,) sorted float64, finite; any sequence of numbers is accepted. Where there are none,
            every verdict is inconclusive.
        kind: which independents served, in words, for the report. A verdict holds for suspects that would
            be exchangeable with them if they were independent, and for no others.

    Raises:
        TypeError, ValueError: not numbers; NaN or infinite.
    """

    distances: NDArray[np.float64] | Sequence[float]
    kind: str = "independently trained models"

    def __post_init__(self) -> None:
        values = _sorted("distances", self.distances, least=0)
        values.flags.writeable = False
        object.__setattr__(self, "distances", values)

    def __len__(self) -> int:
        return len(self.distances)

    def judge(self, distance: float, alpha: float = 0.05) -> Verdict:
        """Judge a suspect by its conformal p-value p.

        * too few nulls, ``1 / (1 + m) > α``: *inconclusive*, whatever the distance;
        * ``p ≤ α``: *derived*. An independent suspect is so accused with probability at most α;
        * ``α < p ≤ 2α``: *inconclusive*, between the bounds;
        * ``p > 2α``: *independent*, which says no more than that the suspect is not distinguishable from
          the independents in the pool.

        Args:
            distance: of the suspect to the source, finite; under the same metric, comparison and
                probes as the pool.
            alpha: α, strictly between 0 and 1, at least 1e-12.

        Returns:
            The verdict.

        Raises:
            TypeError, ValueError: a distance or a rate that is none.
        """
        value = checks.number("distance", distance)
        rate = checks.rate("alpha", alpha)
        null = np.asarray(self.distances)
        p, least = _p_value(value, null), attainable_p_value(null.size)
        threshold = _bound(null, rate)
        upper = _bound(null, 2 * rate) if threshold is not None else None
        if upper == math.inf:
            upper = None
        verdict: VerdictName
        if threshold is None:
            verdict = "inconclusive"
            needed = smallest_null_count(rate)
            reason = (
                f"{null.size} nulls cannot give a p-value below {least:.3g}; a false-accusation rate of "
                f"{rate:.3g} needs at least {needed}."
            )
        elif p <= rate:
            verdict = "derived"
            reason = (
                f"Nearer to the source than {threshold:.6g}, which an independent model is with probability "
                f"at most {rate:.3g} (p = {p:.3g}, {null.size} nulls: {self.kind})."
            )
        elif p <= 2 * rate:
            verdict = "inconclusive"
            reason = (
                f"Between the bounds: p = {p:.3g} lies above the rate {rate:.3g} and not above its double "
                f"({null.size} nulls: {self.kind})."
            )
        else:
            verdict = "independent"
            reason = (
                f"Not distinguishable from the independents in the pool: p = {p:.3g} ({null.size} nulls: {self.kind})."
            )
        return Verdict(verdict, value, p, least, rate, threshold, upper, null.size, reason)
