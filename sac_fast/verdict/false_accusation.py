"""Does the false-accusation rate hold? Independents that were held out, judged by the others.

Two questions, two checks:

* `random_split_check`: of a pool split at random into nulls and held-out models, is a share of at most α accused?
  Splits share one pool, yet given the pool they are drawn independently, and without ties the number accused in one
  split depends on ranks alone, which a random split makes uniform: with c nulls, h held out and r = ⌊α(1 + c)⌋, it is
  beta-binomial(h; r, 1 + c − r), *whatever the distances are*. The h models of a split meet the same threshold, so
  their verdicts depend on each other: the binomial error of splits · h trials is too small, the beta-binomial one is
  right. The check therefore confirms thresholds and p-values; it cannot show that the pool resembles future suspects.
* `transfer_check`: calibrated on one kind of independents, is another kind accused too often? Its p-value is exact
  under exchangeability, so it does speak about the data.

How far the realised rate of one pool lies from α is `realised_rate` of `sac_fast.verdict.power`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .pool import largest_count

# Standard errors above the rate at which a check fails: of a true null once in 741.
_ERRORS = 3.0


@dataclass(frozen=True)
class SplitCheck:
    """What random splits of one pool showed.

    Attributes:
        rate: α.
        null_count, held_out_count: models on either side of each split.
        splits: number of them.
        share: of the held-out models accused, over all splits.
        expected: what exchangeability gives without ties: ⌊α(1 + c)⌋ / (1 + c).
        standard_error: of `share` over splits.
        holds: ``share <= rate + 3 standard_error``; None where the nulls of a split are too few for α, so that
            nobody can be accused and nothing is shown.
    """

    rate: float
    null_count: int
    held_out_count: int
    splits: int
    share: float
    expected: float
    standard_error: float
    holds: bool | None


def random_split_check(
    independents: ArrayLike, rate: float, *, splits: int = 1000, held_out: float = 0.5, seed: int = 0
) -> SplitCheck:
    """Judge held-out independents by the rest of their pool, over random splits.

    Args:
        independents: (m,) distances, m ≥ 2.
        rate: α, strictly between 0 and 1.
        splits: at least 1; 200 or more for figures to report.
        held_out: share of the models held out, at least one and at most m − 1 of them.
        seed: of the splits.

    Returns:
        The shares with their error.

    Raises:
        TypeError, ValueError: not numbers, NaN or infinite, too few, or an option out of range.
    """
    values = checks.values("independents", independents, least=2)
    level = checks.rate("rate", rate)
    checks.count("splits", splits, least=1)
    size = values.size
    judged = min(max(1, round(checks.rate("held_out", held_out) * size)), size - 1)
    nulls = size - judged
    rank = largest_count(level, 1 + nulls)
    rng = np.random.default_rng(checks.count("seed", seed))
    accused = 0
    for _ in range(splits):
        order = rng.permutation(size)
        if rank >= 1:
            null = np.sort(values[order[judged:]])
            accused += int((values[order[:judged]] < null[rank - 1]).sum())
    spread = _beta_binomial_deviation(judged, rank, 1 + nulls - rank) / judged / math.sqrt(splits)
    share = accused / (splits * judged)
    holds = None if rank < 1 else share <= level + _ERRORS * spread
    return SplitCheck(level, nulls, judged, splits, share, rank / (1 + nulls), spread, holds)


@dataclass(frozen=True)
class TransferCheck:
    """What a pool of one kind says of independents of another.

    Attributes:
        rate: α.
        null_count, held_out_count: models that calibrate, models that are judged.
        accused: of the judged ones.
        p_value: of so many or more if both were exchangeable, exact without ties, conservative with them; None where
            the nulls are too few for α.
    """

    rate: float
    null_count: int
    held_out_count: int
    accused: int
    p_value: float | None


def transfer_check(null: ArrayLike, held_out: ArrayLike, rate: float) -> TransferCheck:
    """Judge independents of one kind by nulls of another.

    Without ties the number accused is beta-binomial(h; r, 1 + c − r), r = ⌊α(1 + c)⌋, if both are exchangeable: small
    p-values say that the nulls are of the wrong kind for such suspects.

    Args:
        null: (c,) distances of the independents that calibrate, c ≥ 1.
        held_out: (h,) distances of those that are judged, h ≥ 1.
        rate: α, strictly between 0 and 1.

    Returns:
        The number accused, with its p-value.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.
    """
    from scipy.stats import betabinom

    nulls = np.sort(checks.values("null", null))
    values = checks.values("held_out", held_out)
    level = checks.rate("rate", rate)
    rank = largest_count(level, 1 + nulls.size)
    if rank < 1:
        return TransferCheck(level, nulls.size, values.size, 0, None)
    accused = int((values < nulls[rank - 1]).sum())
    p = float(betabinom.sf(accused - 1, values.size, rank, 1 + nulls.size - rank))
    return TransferCheck(level, nulls.size, values.size, accused, p)


def _beta_binomial_deviation(trials: int, a: int, b: int) -> float:
    if a < 1 or b < 1:
        return 0.0
    return math.sqrt(trials * a * b * (a + b + trials) / ((a + b) ** 2 * (a + b + 1)))
