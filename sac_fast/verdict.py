"""Verdict: what a distance means beside the distances of models known to be independent.

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

VerdictName = Literal["derived", "independent", "inconclusive"]


def _check_distance(distance: float, name: str = "distance") -> float:
    try:
        value = float(distance)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {distance!r}") from error
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return value


def _check_distances(distances: ArrayLike, name: str, least: int = 1) -> NDArray[np.float64]:
    """A sorted float64 copy; refuses what is too short, not one-dimensional, negative, NaN or infinite."""
    try:
        values = np.sort(np.asarray(distances, dtype=np.float64), axis=None)
        ndim = np.ndim(distances)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a sequence of numbers, got {distances!r}") from error
    if ndim != 1:
        raise ValueError(f"{name} must have one dimension, got {ndim}")
    if values.size < least:
        raise ValueError(f"{name} must hold at least one distance, got none")
    bad = values[~np.isfinite(values) | (values < 0)]
    if bad.size:
        raise ValueError(f"{name} must be finite and not negative, got {bad[0]}")
    return values


def _check_rate(rate: float) -> float:
    try:
        value = float(rate)
    except (TypeError, ValueError) as error:
        raise TypeError(f"false_accusation_rate must be a number, got {rate!r}") from error
    if not 0 < value < 1:
        raise ValueError(f"false_accusation_rate must lie strictly between 0 and 1, got {value}")
    return value


def _p_value(distance: float, null: NDArray[np.float64]) -> float:
    return (1 + int(np.searchsorted(null, distance, side="right"))) / (1 + null.size)


def _bound(null: NDArray[np.float64], rate: float) -> float | None:
    """The t with ``d < t`` exactly where ``p(d) <= rate``; None where p is never so small. null is sorted.

    ``p(d) <= rate`` says ``1 + #{null <= d} <= r`` for the largest integer r with ``r / (1 + m) <= rate``;
    and ``#{null <= d} <= r - 1`` says that d lies below the r-th smallest null.
    """
    size = 1 + null.size
    # The division of two integers is rounded correctly, so r / size equals the double `rate` wherever both
    # stand for the same fraction (1 / 10 == 0.1): comparing quotients needs no tolerance, floor(rate · size)
    # would (0.29 · 100 is 28.999…). That product is only the first guess.
    r = math.floor(rate * size)
    if (r + 1) / size <= rate:
        r += 1
    elif r / size > rate:
        r -= 1
    if r < 1:
        return None
    return float(null[r - 1]) if r <= null.size else math.inf


def conformal_p_value(distance: float, null: ArrayLike) -> float:
    """How unusually near a suspect is among independents: ``(1 + #{null ≤ distance}) / (1 + #null)``.

    Args:
        distance: of the suspect to the source, finite, ≥ 0.
        null: (m,) distances of independent models to the source, m ≥ 1.

    Returns:
        The p-value, between ``1 / (1 + m)`` and 1.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN, infinite or negative.

    Source: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005.
    """
    return _p_value(_check_distance(distance), _check_distances(null, "null"))


def attainable_p_value(null_count: int) -> float:
    """The smallest p-value that so many nulls can give: ``1 / (1 + null_count)``.

    Args:
        null_count: number of null distances, ≥ 0.

    Returns:
        The p-value of a suspect nearer than every null.

    Raises:
        TypeError, ValueError: not an integer, or negative.
    """
    if isinstance(null_count, bool) or not isinstance(null_count, int | np.integer):
        raise TypeError(f"null_count must be an integer, got {null_count!r}")
    if null_count < 0:
        raise ValueError(f"null_count must not be negative, got {null_count}")
    return 1 / (1 + int(null_count))


def calibrated_threshold(null: ArrayLike, false_accusation_rate: float) -> float | None:
    """The largest t such that ``distance < t`` is exactly ``conformal_p_value(distance, null) <= rate``.

    It is the ``floor(rate · (1 + m))``-th smallest null. A distance equal to it is not below it.

    Args:
        null: (m,) distances of independent models to the source, m ≥ 1.
        false_accusation_rate: α, strictly between 0 and 1.

    Returns:
        The threshold; None where m nulls are too few for α, that is ``1 / (1 + m) > α``.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN, infinite or negative; α out of range.
    """
    return _bound(_check_distances(null, "null"), _check_rate(false_accusation_rate))


@dataclass(frozen=True)
class Verdict:
    """What one distance says, and on what ground.

    Attributes:
        verdict: ``"derived"``, ``"independent"`` (not distinguishable from the independents in the pool)
            or ``"inconclusive"``.
        distance: of the suspect to the source.
        p_value: the conformal p-value.
        attainable_p_value: the smallest one that the pool can give.
        false_accusation_rate: α.
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
    false_accusation_rate: float
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
        distances: (m,) sorted float64, finite, ≥ 0; any sequence of numbers is accepted. Where there are none,
            every verdict is inconclusive.
        kind: which independents served, in words, for the report. A verdict holds for suspects that would
            be exchangeable with them if they were independent, and for no others.

    Raises:
        TypeError, ValueError: not numbers; NaN, infinite or negative.
    """

    distances: NDArray[np.float64] | Sequence[float]
    kind: str = "independently trained models"

    def __post_init__(self) -> None:
        values = _check_distances(self.distances, "distances", least=0)
        values.flags.writeable = False
        object.__setattr__(self, "distances", values)

    def __len__(self) -> int:
        return len(self.distances)

    def judge(self, distance: float, false_accusation_rate: float = 0.05) -> Verdict:
        """Judge a suspect by its conformal p-value p.

        * too few nulls, ``1 / (1 + m) > α``: *inconclusive*, whatever the distance;
        * ``p ≤ α``: *derived*. An independent suspect is so accused with probability at most α;
        * ``α < p ≤ 2α``: *inconclusive*, between the bounds;
        * ``p > 2α``: *independent*, which says no more than that the suspect is not distinguishable from
          the independents in the pool.

        Args:
            distance: of the suspect to the source, finite, ≥ 0; under the same metric, comparison and
                probes as the pool.
            false_accusation_rate: α, strictly between 0 and 1.

        Returns:
            The verdict.

        Raises:
            TypeError, ValueError: a distance or a rate that is none.
        """
        value, rate = _check_distance(distance), _check_rate(false_accusation_rate)
        null = np.asarray(self.distances)
        p, least = _p_value(value, null), attainable_p_value(null.size)
        threshold = _bound(null, rate)
        upper = _bound(null, 2 * rate) if threshold is not None else None
        if upper == math.inf:
            upper = None
        verdict: VerdictName
        if threshold is None:
            verdict = "inconclusive"
            # The smallest m with 1 / (1 + m) <= α, by the same correctly rounded quotients as above.
            needed = max(1, math.floor(1 / rate) - 2)
            while 1 / (1 + needed) > rate:
                needed += 1
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


def auc(derived: ArrayLike, independent: ArrayLike) -> float:
    """Area under the ROC curve: ``P(d_derived < d_independent) + ½ P(d_derived = d_independent)``.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        1.0 where every derived model is nearer than every independent one, 0.5 at chance.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN, infinite or negative.
    """
    from sklearn.metrics import roc_auc_score  # not at import time: it takes a second

    near = _check_distances(derived, "derived")
    far = _check_distances(independent, "independent")
    truth = np.concatenate([np.ones(near.size), np.zeros(far.size)])
    return float(roc_auc_score(truth, -np.concatenate([near, far])))
