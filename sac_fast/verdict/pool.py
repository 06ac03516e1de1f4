"""The null pool: a suspect's distance compared with the distances of models known to be independent.

Only the order of the numbers matters. Any finite score that is smaller for more similar models can be used as distance.

The p-value is the conformal one, ``p = (1 + #{null ≤ d}) / (1 + #null)``: for an independent suspect,
exchangeable with the pool, ``P(p ≤ α) ≤ α`` whatever the distribution (Vovk, Gammerman, Shafer,
*Algorithmic Learning in a Random World*, 2005).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks

VerdictName = Literal["derived", "not distinguished", "inconclusive"]


def _sorted(name: str, given: ArrayLike, minimum: int = 1) -> checks.Values:
    return np.sort(checks.check_values(name, given, minimum))


def _p_values(distances: ArrayLike, null: checks.Values) -> Any:
    """p-values of one or many distances; null is sorted."""
    return (1 + np.searchsorted(null, distances, side="right")) / (1 + null.size)


def largest_count(rate: float, size: int) -> int:
    """The largest integer r with ``r / size <= rate``."""
    # The quotient of two integers is correctly rounded, so r / size equals the double `rate` wherever both stand for
    # the same fraction (1 / 10 == 0.1). Comparing quotients needs no tolerance; floor(rate · size) would
    # (0.29 · 100 is 28.999…) and is only the first guess.
    r = math.floor(rate * size)
    if (r + 1) / size <= rate:
        return r + 1
    return r - 1 if r / size > rate else r


def _bound(null: checks.Values, rate: float) -> float | None:
    """The t with ``d < t`` exactly where ``p(d) <= rate``; None if no distance has such a p-value. null is sorted.

    ``p(d) <= rate`` means ``1 + #{null <= d} <= r`` for the largest integer r with ``r / (1 + m) <= rate``, that is,
    d lies below the r-th smallest null.
    """
    r = largest_count(rate, 1 + null.size)
    if r < 1:
        return None
    return float(null[r - 1]) if r <= null.size else math.inf


@overload
def conformal_p_value(distance: float, null: ArrayLike) -> float: ...
@overload
def conformal_p_value(distance: checks.Values | Sequence[float], null: ArrayLike) -> checks.Values: ...


def conformal_p_value(distance: ArrayLike, null: ArrayLike) -> float | checks.Values:
    """Conformal p-value of a distance among null distances: ``p = (1 + #{null ≤ distance}) / (1 + m)``.

    Args:
        distance: of the suspect to the source, finite; or (s,) distances of s ≥ 1 suspects.
        null: (m,) distances of independent models to the source, m ≥ 1.

    Returns:
        The p-value, between ``1 / (1 + m)`` and 1; or (s,) float64, one p-value for each suspect.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Example::

        >>> conformal_p_value(0.25, [0.9, 0.1, 0.5, 0.3])
        0.4
        >>> conformal_p_value([0.0, 0.25, 1.0], [0.9, 0.1, 0.5, 0.3]).tolist()
        [0.2, 0.4, 1.0]

    Source: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005.
    """
    if np.ndim(distance) == 0:
        return float(_p_values(checks.check_number("distance", distance), _sorted("null", null)))  # type: ignore[arg-type]
    p_values: checks.Values = _p_values(checks.check_values("distance", distance), _sorted("null", null))
    return p_values


def attainable_p_value(null_count: int) -> float:
    """The smallest attainable conformal p-value: ``1 / (1 + null_count)``.

    Args:
        null_count: number of null distances, ≥ 0.

    Returns:
        The p-value of a suspect whose distance is below every null.

    Raises:
        TypeError, ValueError: not an integer, or negative.

    Example::

        >>> attainable_p_value(19)
        0.05
    """
    return 1 / (1 + checks.check_count("null_count", null_count))


def calibrated_threshold(null: ArrayLike, alpha: float) -> float | None:
    """The largest t for which ``distance < t`` is equivalent to ``conformal_p_value(distance, null) <= alpha``.

    It is the ``⌊α (1 + m)⌋``-th smallest null. A distance equal to it is not below it.

    Args:
        null: (m,) distances of independent models to the source, m ≥ 1.
        alpha: α, strictly between 0 and 1.

    Returns:
        The threshold; None if m nulls are too few for α, that is ``1 / (1 + m) > α``.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.

    Example::

        >>> null = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        >>> calibrated_threshold(null, alpha=0.2)
        0.2
    """
    return _bound(_sorted("null", null), checks.check_rate("alpha", alpha))


def min_null_count(rate: float, rank: int = 1) -> int:
    """The smallest m with ``rank / (1 + m) <= rate``; `rate` is one of `checks.check_rate`."""
    # Correctly rounded quotients, as in `largest_count`.
    needed = max(rank, math.floor(rank / rate) - 2)
    while rank / (1 + needed) > rate:
        needed += 1
    return needed


@dataclass(frozen=True)
class Verdict:
    """Verdict on one suspect, with the numbers behind it.

    Attributes:
        verdict: ``"derived"``, ``"not distinguished"`` (from the independents in the pool) or ``"inconclusive"``.
        distance: of the suspect to the source.
        p_value: the conformal p-value.
        attainable_p_value: the smallest p-value that the pool can give.
        alpha: the stated error rate α.
        threshold: a suspect with a distance below it is derived; None if the nulls are too few for α.
        upper_bound: a suspect with a distance of at least this is not distinguished; None if the nulls are too few
            for α, or if no distance is so judged (2α ≥ 1).
        null_count: size of the pool.
        realised_rate: ⌊α(1 + m)⌋ / (1 + m): how often pools of this size call an independent derived, on average; at
            most α, and 0 where the nulls are too few for α.
        reason: one sentence that explains the verdict.
        by_kind, null_counts: p-value against each kind of nulls, and their number, where kinds were told apart
            (`judge_by_kind`).

    Example::

        >>> verdict = sac_fast.NullPool([0.4, 0.5, 0.6, 0.7]).judge(0.1, alpha=0.2)
        >>> verdict.to_dict()["verdict"], verdict.p_value, verdict.threshold
        ('derived', 0.2, 0.4)
    """

    verdict: VerdictName
    distance: float
    p_value: float
    attainable_p_value: float
    alpha: float
    threshold: float | None
    upper_bound: float | None
    null_count: int
    realised_rate: float
    reason: str
    by_kind: dict[str, float] = field(default_factory=dict)
    null_counts: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, all of them JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class NullPool:
    """Distances of models known to be independent of the source.

    Attributes:
        distances: (m,) sorted float64, finite; any sequence of numbers is accepted. With an empty pool every verdict is
            inconclusive.
        kind: description of the independents, for the report. A verdict holds only for suspects that would be
            exchangeable with them if they were independent.

    Raises:
        TypeError, ValueError: not numbers; NaN or infinite.

    Example::

        >>> pool = NullPool([0.5, 0.4, 0.7, 0.6], kind="same data, other seeds")
        >>> len(pool), pool.judge(0.65, alpha=0.2).verdict
        (4, 'not distinguished')
    """

    distances: NDArray[np.float64] | Sequence[float]
    kind: str = "independently trained models"

    def __post_init__(self) -> None:
        values = _sorted("distances", self.distances, minimum=0)
        values.flags.writeable = False
        object.__setattr__(self, "distances", values)

    def __len__(self) -> int:
        return len(self.distances)

    def judge(self, distance: float, alpha: float = 0.05) -> Verdict:
        """Judge a suspect by its conformal p-value p.

        * too few nulls, ``1 / (1 + m) > α``: *inconclusive*, whatever the distance;
        * ``p ≤ α``: *derived*. An independent suspect gets this verdict with probability at most α;
        * ``α < p ≤ 2α``: *inconclusive*, between the bounds;
        * ``p > 2α``: *not distinguished* from the independents in the pool.

        Args:
            distance: of the suspect to the source, finite; under the same metric, comparison and
                probes as the pool.
            alpha: α, strictly between 0 and 1, at least 1e-12.

        Returns:
            The verdict.

        Raises:
            TypeError, ValueError: not a number, NaN or infinite; α out of range.
        """
        value = checks.check_number("distance", distance)
        rate = checks.check_rate("alpha", alpha)
        null = np.asarray(self.distances)
        p, attainable = float(_p_values(value, null)), attainable_p_value(null.size)
        threshold = _bound(null, rate)
        upper = _bound(null, 2 * rate) if threshold is not None else None
        if upper == math.inf:
            upper = None
        realised = max(0, largest_count(rate, 1 + null.size)) / (1 + null.size)
        pool = f"{null.size} nulls: {self.kind}"
        verdict: VerdictName = "inconclusive"
        if threshold is None:
            reason = (
                f"{null.size} nulls cannot give a p-value below {attainable:.3g}; a false-accusation rate of "
                f"{rate:.3g} needs at least {min_null_count(rate)}."
            )
        elif p <= rate:
            verdict = "derived"
            reason = (
                f"Nearer to the source than {threshold:.6g}, which an independent model is with probability "
                f"at most {rate:.3g} (p = {p:.3g}, {pool})."
            )
        elif p <= 2 * rate:
            reason = (
                f"Between the bounds: p = {p:.3g} lies above the rate {rate:.3g} and not above its double ({pool})."
            )
        else:
            verdict = "not distinguished"
            reason = f"Not distinguished from the independents in the pool: p = {p:.3g} ({pool})."
        return Verdict(verdict, value, p, attainable, rate, threshold, upper, null.size, realised, reason)
