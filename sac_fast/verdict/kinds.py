"""Null pools by kind: a suspect of unknown kind is compared with the nulls of every kind; the largest p-value counts.

An independent suspect is of *some* kind κ. Exchangeable with the nulls of that kind, it has ``P(p_κ ≤ α) ≤ α``, and so
has ``max p ≥ p_κ``, whatever the nulls of other kinds are. One pool of mixed kinds has no such bound: the nearest kind
is accused more often than α.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .pool import NullPool, Verdict, VerdictName, largest_count, min_null_count

#: Share of the median distance between nulls of one kind below which two of them count once.
NEAR_DUPLICATE = 0.25
#: Correlation distances below it are rounding (float16 makes 2e-5), whatever the median: copies of one model may be all
#: that a kind has. Trained models of their own are at 0.05 and more.
SAME_OUTPUTS = 1e-4


@dataclass(frozen=True, eq=False)
class KindPool:
    """The nulls of one kind, with the suspect's distance under the same score.

    Attributes:
        kind: what the nulls have in common with the source.
        distance: of the suspect to the source. A score that depends on the whole pool gives another one in each pool.
        nulls: (m,) distances of the nulls, m ≥ 0.

    Example::

        >>> KindPool("same-data", 0.2, [0.4, 0.5]).kind
        'same-data'
    """

    kind: str
    distance: float
    nulls: ArrayLike


def judge_by_kind(pools: Sequence[KindPool], alpha: float = 0.05, *, required: Sequence[str] = ()) -> Verdict:
    """Judge a suspect by the largest of its conformal p-values over several pools.

    With p the largest p-value over the pools that are large enough for α (``1 / (1 + m) ≤ α``):

    * ``p > 2α``: *not distinguished* from that kind;
    * a pool that is too small for α, or a required kind without one: *inconclusive*, with the kinds that are missing;
    * ``p ≤ α``: *derived*; ``α < p ≤ 2α``: *inconclusive*.

    An independent suspect that is exchangeable with the nulls of one of the kinds is called derived with probability at
    most α.

    Args:
        pools: at least one; several of one kind all count, as where near-duplicates are counted once in a second one.
        alpha: α, strictly between 0 and 1.
        required: kinds without which no suspect is called derived.

    Returns:
        The verdict. Its distance is that of the first pool; ``null_count`` counts the smallest pool of each kind;
        ``realised_rate`` is the largest over kinds; ``threshold`` and ``upper_bound`` are the smallest over pools, and
        None where the suspect's distance is not the same in all pools.

    Raises:
        TypeError, ValueError: no pool, not numbers, NaN or infinite; α out of range.

    Example::

        >>> near, far = KindPool("same-data", 0.2, [0.1, 0.3, 0.4, 0.5]), KindPool("other-data", 0.2, [0.6] * 9)
        >>> verdict = judge_by_kind([near, far], alpha=0.2)
        >>> verdict.verdict, verdict.by_kind
        ('inconclusive', {'same-data': 0.4, 'other-data': 0.1})

    Source: `NullPool.judge` for each kind; the largest of p-values, one of which is valid, is valid.
    """
    if not pools:
        raise ValueError("pools must hold at least one pool, got none")
    rate = checks.check_rate("alpha", alpha)
    verdicts = [NullPool(pool.nulls, pool.kind).judge(pool.distance, rate) for pool in pools]  # type: ignore[arg-type]
    kinds = list(dict.fromkeys(pool.kind for pool in pools))
    of_kind = {
        kind: [verdict for pool, verdict in zip(pools, verdicts, strict=True) if pool.kind == kind] for kind in kinds
    }
    by_kind = {kind: max(verdict.p_value for verdict in found) for kind, found in of_kind.items()}
    counts = {kind: min(verdict.null_count for verdict in found) for kind, found in of_kind.items()}
    enough = [kind for kind in kinds if largest_count(rate, 1 + counts[kind]) >= 1]
    short = {kind: counts.get(kind, 0) for kind in (*kinds, *required) if kind not in enough}
    p_value = max((by_kind[kind] for kind in enough), default=None)
    name, reason = _decide(p_value, rate, {kind: by_kind[kind] for kind in enough}, counts, short)
    same_distance = len({verdict.distance for verdict in verdicts}) == 1
    return Verdict(
        verdict=name,
        distance=verdicts[0].distance,
        p_value=max(by_kind.values()),
        attainable_p_value=max(verdict.attainable_p_value for verdict in verdicts),
        alpha=rate,
        threshold=_smallest([verdict.threshold for verdict in verdicts]) if same_distance and not short else None,
        upper_bound=_smallest([verdict.upper_bound for verdict in verdicts]) if same_distance and not short else None,
        null_count=sum(counts.values()),
        realised_rate=max(largest_count(rate, 1 + count) / (1 + count) for count in counts.values()),
        reason=reason,
        by_kind=by_kind,
        null_counts=counts,
    )


def _decide(
    p_value: float | None, rate: float, by_kind: dict[str, float], counts: dict[str, int], short: dict[str, int]
) -> tuple[VerdictName, str]:
    """The verdict and its reason from the p-values of the kinds with enough nulls."""
    nearest = max(by_kind, key=by_kind.__getitem__, default="")
    pool = f"p = {p_value:.3g} against {counts[nearest]} nulls of the kind {nearest}" if p_value is not None else ""
    if p_value is not None and p_value > 2 * rate:
        return "not distinguished", f"Not distinguished from independents of a kind in the pool: {pool}."
    if short:
        missing = ", ".join(f"{kind} ({count})" for kind, count in short.items())
        return "inconclusive", (
            f"A false-accusation rate of {rate:.3g} needs at least {min_null_count(rate)} nulls of each kind; too few "
            f"of the kinds: {missing}."
        )
    assert p_value is not None
    if p_value <= rate:
        of = f"of the kind {nearest}" if len(by_kind) == 1 else f"of any of the {len(by_kind)} kinds in the pool"
        return "derived", (
            f"Nearer to the source than an independent model {of} is with probability at most {rate:.3g} ({pool}, the "
            "largest p-value)."
        )
    return "inconclusive", f"Between the bounds: {pool} lies above the rate {rate:.3g} and not above its double."


def _smallest(bounds: Sequence[float | None]) -> float | None:
    known = [bound for bound in bounds if bound is not None]
    return min(known, default=None)


def near_duplicates(distances: ArrayLike, kinds: Sequence[str]) -> list[list[int]]:
    """Groups of nulls that are one model in several guises: conversions, copies, slightly trained further.

    Two nulls of one kind belong together if their distance is below 1e-4, or below a quarter of the median distance
    between nulls of that kind; so do those that are joined by others.

    Args:
        distances: (m, m) symmetric distances between nulls.
        kinds: (m,) their kinds.

    Returns:
        Indices of each group of two or more, ascending.

    Raises:
        TypeError, ValueError: not numbers, or not (m, m).

    Example::

        >>> near_duplicates([[0, 0.1, 0.9], [0.1, 0, 0.8], [0.9, 0.8, 0]], ["same-data"] * 3)
        [[0, 1]]
    """
    from scipy.sparse.csgraph import connected_components

    values = checks.check_values("distances", distances, minimum=0, ndim=2)
    if values.shape != (len(kinds), len(kinds)):
        raise ValueError(f"distances must be ({len(kinds)}, {len(kinds)}) like kinds, got {values.shape}")
    joined = np.zeros(values.shape, dtype=bool)
    for kind in dict.fromkeys(kinds):
        rows = np.array([i for i, of in enumerate(kinds) if of == kind])
        between = values[np.ix_(rows, rows)]
        upper = between[np.triu_indices(len(rows), 1)]
        bound = NEAR_DUPLICATE * float(np.median(upper)) if upper.size else 0.0
        joined[np.ix_(rows, rows)] = between < max(bound, SAME_OUTPUTS)
    count, labels = connected_components(joined, directed=False)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(count)]
    return sorted(group for group in groups if len(group) > 1)
