"""Planning: how many nulls and how many probes a stated false-accusation rate asks for.

They do different things. Nulls bound false accusations: p-values reach α only with ``1 / (1 + m) <= α``, and the rate
that one pool really has is random around it. Probes cannot change that, for whatever noise they leave is in the nulls
as well; they decide how many of the derived models are found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import checks
from .pool import largest_count, smallest_null_count


@dataclass(frozen=True)
class RealisedRate:
    """The false-accusation rate that pools of one size really have.

    Attributes:
        null_count: m.
        nominal: α, which the mean over pools does not exceed.
        mean: over pools: ⌊α(1 + m)⌋ / (1 + m).
        low, high: between which the rate of one pool lies with probability `confidence`.
        confidence: as asked.
    """

    null_count: int
    nominal: float
    mean: float
    low: float
    high: float
    confidence: float


def realised_rate(null_count: int, alpha: float, confidence: float = 0.95) -> RealisedRate:
    """How far the false-accusation rate of one pool of m nulls lies from α.

    The threshold is the r-th smallest null, r = ⌊α(1 + m)⌋. Given the pool, an independent suspect lies below it with a
    probability that itself is random over pools, Beta(r, m + 1 − r) whatever the (continuous) distribution.

    Args:
        null_count: m, ≥ 0.
        alpha: α, strictly between 0 and 1.
        confidence: of the range.

    Returns:
        Mean and range; all 0 where the nulls are too few for α, so that nobody can be accused.

    Raises:
        TypeError, ValueError: a number that is none, or out of range.

    Source: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012 (arXiv 1209.2673).
    """
    from scipy.stats import beta

    size = checks.count("null_count", null_count)
    rate = checks.rate("alpha", alpha)
    share = checks.rate("confidence", confidence)
    rank = largest_count(rate, 1 + size)
    if rank < 1:
        return RealisedRate(size, rate, 0.0, 0.0, 0.0, share)
    spread = beta(rank, size + 1 - rank)
    low, high = spread.ppf([(1 - share) / 2, (1 + share) / 2])
    return RealisedRate(size, rate, rank / (1 + size), float(low), float(high), share)


def nulls_needed(
    alpha: float, *, ceiling: float | None = None, confidence: float = 0.95, most: int = 10_000_000
) -> int:
    """The smallest number of nulls for a false-accusation rate.

    Without `ceiling`: the smallest m with ``1 / (1 + m) <= α``; then α holds on average over pools. With it: the
    smallest m whose pool has a rate of at most `ceiling` with probability `confidence`,
    ``P(Beta(r, m + 1 − r) <= ceiling) >= confidence``, r = ⌊α(1 + m)⌋. A few nulls more can miss the ceiling again,
    where r rises: `realised_rate` tells of any m.

    Args:
        alpha: α, strictly between 0 and 1, at least 1e-12.
        ceiling: above α and below 1; None asks for p-values that can reach α, and no more.
        confidence: with which one pool keeps below the ceiling.
        most: with a ceiling, give up beyond so many.

    Returns:
        m, at least 1.

    Raises:
        TypeError, ValueError: a number that is none or out of range, or no m up to `most` will do.
    """
    from scipy.stats import beta

    rate = checks.rate("alpha", alpha)
    if ceiling is None:
        return smallest_null_count(rate)
    highest, share = checks.rate("ceiling", ceiling), checks.rate("confidence", confidence)
    if highest <= rate:
        raise ValueError(f"ceiling must lie above the false-accusation rate {rate:g}, got {highest:g}")

    def kept(size: int, rank: int) -> bool:
        return bool(beta.cdf(highest, rank, size + 1 - rank) >= share)

    rank = 1
    while True:
        # r stays the same for these sizes, and the more nulls the lower the r-th of them
        first, last = (_smallest_size(rate, rank), _smallest_size(rate, rank + 1) - 1)
        if first > most:
            raise ValueError(f"ceiling must be reachable with {most:,} nulls, got {highest:g} for the rate {rate:g}")
        last = min(last, most)
        if last >= first and kept(last, rank):
            while first < last:
                middle = (first + last) // 2
                first, last = (first, middle) if kept(middle, rank) else (middle + 1, last)
            return first
        rank += 1


def _smallest_size(rate: float, rank: int) -> int:
    """The smallest m with ⌊α(1 + m)⌋ >= rank, by correctly rounded quotients."""
    size = max(rank - 1, math.floor(rank / rate) - 2)
    while rank / (1 + size) > rate:
        size += 1
    return size


def probes_needed(
    margin: float, standard_error: float, probes: int, *, power: float = 0.95, most: int = 1_000_000_000
) -> int:
    """How many probes bring a derived model below the threshold in spite of the noise of probes.

    With n₀ probes it lies `margin` below the threshold on average, with a standard error s over probes that falls as
    1/√n: ``n = n₀ (z s / margin)²``, z the `power` quantile of the normal distribution. Nulls and threshold move with
    the probes as well, so take the error of the *difference*, from replicates under the same resamples::

        replicates = threshold_replicates - bootstrap.of([name])[0]
        probes_needed(threshold - distance, replicates.std(ddof=1), n)

    Args:
        margin: threshold − distance, > 0; what more probes cannot change.
        standard_error: of the margin with n₀ probes, ≥ 0.
        probes: n₀, at least 2.
        power: the probability with which it is to be found, from ½ to below 1.
        most: give up beyond so many.

    Returns:
        The number of probes, at least 2.

    Raises:
        TypeError, ValueError: a number that is none or out of range; a margin of 0 or less, which no number of probes
            mends; more than `most`.
    """
    from scipy.stats import norm

    gap, error = checks.number("margin", margin), checks.number("standard_error", standard_error)
    count, share = checks.count("probes", probes, least=2), checks.rate("power", power)
    if gap <= 0:
        raise ValueError(f"margin must be above 0 (probes alone do not move a model below the threshold), got {gap:g}")
    if error < 0:
        raise ValueError(f"standard_error must not be negative, got {error:g}")
    if share < 0.5:
        raise ValueError(f"power must be at least 0.5, got {share:g}")
    ratio = float(norm.ppf(share)) * error / gap
    needed = count * ratio * ratio  # a product becomes infinite where a power would raise
    if needed > most:
        raise ValueError(
            f"margin must be reachable with {most:,} probes, got {gap:g} with a standard error of {error:g}"
        )
    return max(2, math.ceil(needed))
