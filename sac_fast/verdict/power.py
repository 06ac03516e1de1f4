"""Planning: numbers of nulls and of probes for a stated false-accusation rate.

Nulls bound false accusations: p-values reach α only with ``1 / (1 + m) <= α``, and the realised rate of one pool varies
around α. Probes do not affect this, since their noise is in the nulls too; they determine the power of the test.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass

from . import checks
from .pool import largest_count, min_null_count


@dataclass(frozen=True)
class RealisedRate:
    """Distribution of the realised false-accusation rate over pools of one size.

    Attributes:
        null_count: m.
        nominal: α, an upper bound of `mean`.
        mean: mean over pools: ⌊α(1 + m)⌋ / (1 + m).
        low, high: the rate of one pool lies in this range with probability `confidence`.
        confidence: as passed to `realised_rate`.

    Example::

        >>> realised_rate(19, alpha=0.05).mean
        0.05
    """

    null_count: int
    nominal: float
    mean: float
    low: float
    high: float
    confidence: float


def realised_rate(null_count: int, alpha: float, confidence: float = 0.95) -> RealisedRate:
    """Realised false-accusation rate of one pool of m nulls: mean and range over pools.

    The threshold is the r-th smallest null, r = ⌊α(1 + m)⌋. Given the pool, an independent suspect lies below it with a
    probability that is distributed over pools as Beta(r, m + 1 − r), for any continuous distribution of distances.

    Args:
        null_count: m, ≥ 0.
        alpha: α, strictly between 0 and 1.
        confidence: probability of the range.

    Returns:
        Mean and range; all 0 if the nulls are too few for α, so that no model can be accused.

    Raises:
        TypeError, ValueError: not a number, or out of range.

    Example::

        >>> rate = realised_rate(99, alpha=0.05)
        >>> rate.mean, round(rate.low, 3), round(rate.high, 3)
        (0.05, 0.017, 0.1)

    Source: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012 (arXiv 1209.2673).
    """
    from scipy.stats import beta

    size = checks.check_count("null_count", null_count)
    rate = checks.check_rate("alpha", alpha)
    share = checks.check_rate("confidence", confidence)
    rank = largest_count(rate, 1 + size)
    if rank < 1:
        return RealisedRate(size, rate, 0.0, 0.0, 0.0, share)
    spread = beta(rank, size + 1 - rank)
    low, high = spread.ppf([(1 - share) / 2, (1 + share) / 2])
    return RealisedRate(size, rate, rank / (1 + size), float(low), float(high), share)


def nulls_needed(
    alpha: float, *, ceiling: float | None = None, confidence: float = 0.95, max_nulls: int = 10_000_000
) -> int:
    """Smallest number of nulls for a stated false-accusation rate.

    Without `ceiling`: the smallest m with ``1 / (1 + m) <= α``; α then holds on average over pools. With `ceiling`: the
    smallest m for which one pool has a rate of at most `ceiling` with probability `confidence`,
    ``P(Beta(r, m + 1 − r) <= ceiling) >= confidence``, r = ⌊α(1 + m)⌋. A slightly larger m can miss the ceiling again,
    where r increases; `realised_rate` gives the range for any m.

    Args:
        alpha: α, strictly between 0 and 1, at least 1e-12.
        ceiling: bound on the realised rate of one pool, above α and below 1. Default: no bound.
        confidence: probability that one pool stays below the ceiling.
        max_nulls: largest number of nulls to try, with a ceiling.

    Returns:
        m, at least 1.

    Raises:
        TypeError, ValueError: not a number or out of range, or no m up to `max_nulls` suffices.

    Example::

        >>> nulls_needed(0.05), nulls_needed(0.05, ceiling=0.1)
        (19, 29)
    """
    rate = checks.check_rate("alpha", alpha)
    if ceiling is None:
        return min_null_count(rate)
    from scipy.stats import beta

    highest, share = checks.check_rate("ceiling", ceiling), checks.check_rate("confidence", confidence)
    if highest <= rate:
        raise ValueError(f"ceiling must lie above the false-accusation rate {rate:g}, got {highest:g}")

    for rank in itertools.count(1):
        # These sizes have the same r, and the r-th smallest null decreases with their size.
        first, last = min_null_count(rate, rank), min(min_null_count(rate, rank + 1) - 1, max_nulls)
        if first > max_nulls:
            break

        def kept(size: int, rank: int = rank) -> bool:
            return bool(beta.cdf(highest, rank, size + 1 - rank) >= share)

        if last >= first and kept(last):
            return first + bisect.bisect_left(range(first, last), True, key=kept)
    raise ValueError(f"ceiling must be reachable with {max_nulls:,} nulls, got {highest:g} for the rate {rate:g}")


def probes_needed(
    margin: float, standard_error: float, probes: int, *, power: float = 0.95, max_probes: int = 1_000_000_000
) -> int:
    """Number of probes at which a derived model falls below the threshold with probability `power`.

    With n₀ probes its distance lies `margin` below the threshold on average, with a standard error s over probes that
    decreases as 1/√n: ``n = n₀ (z s / margin)²``, z the `power` quantile of the normal distribution. Nulls and
    threshold depend on the probes too, so use the error of the *difference*, from replicates under the same resamples::

        replicates = threshold_replicates - bootstrap.replicates_of([name])[0]
        probes_needed(threshold - distance, replicates.std(ddof=1), n)

    Args:
        margin: threshold − distance, > 0; independent of the number of probes.
        standard_error: standard error of the margin with n₀ probes, ≥ 0.
        probes: n₀, at least 2.
        power: probability that the model is found, from ½ to below 1.
        max_probes: largest number of probes to accept.

    Returns:
        The number of probes, at least 2.

    Raises:
        TypeError, ValueError: not a number or out of range; a margin of 0 or less, which no number of probes changes;
            more than `max_probes`.

    Example::

        >>> probes_needed(0.1, 0.2, 100, power=0.95)
        1083
    """
    from scipy.stats import norm

    gap, error = checks.check_number("margin", margin), checks.check_number("standard_error", standard_error)
    count, share = checks.check_count("probes", probes, minimum=2), checks.check_rate("power", power)
    if gap <= 0:
        raise ValueError(f"margin must be above 0 (probes alone do not move a model below the threshold), got {gap:g}")
    if error < 0:
        raise ValueError(f"standard_error must not be negative, got {error:g}")
    if share < 0.5:
        raise ValueError(f"power must be at least 0.5, got {share:g}")
    ratio = float(norm.ppf(share)) * error / gap
    needed = count * ratio * ratio  # a product overflows to infinity where ** would raise
    if needed > max_probes:
        raise ValueError(
            f"margin must be reachable with {max_probes:,} probes, got {gap:g} with a standard error of {error:g}"
        )
    return max(2, math.ceil(needed))
