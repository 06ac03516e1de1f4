"""Check the false-accusation rate on held-out independents.

* `random_split_check`: a pool is split at random into nulls and held-out models; the share accused must be at most α.
  Given the pool, splits are independent. Without ties, the number accused in one split depends on ranks alone, which a
  random split makes uniform: with c nulls, h held out and r = ⌊α(1 + c)⌋ it is beta-binomial(h; r, 1 + c − r),
  *whatever the distances are*. The h models of a split share a threshold, so their verdicts are dependent: the binomial
  error of splits · h trials is too small, the beta-binomial error is correct. The check therefore verifies thresholds
  and p-values; it cannot show that the pool resembles future suspects.
* `transfer_check`: nulls of one kind judge independents of another kind. Its p-value is exact under exchangeability, so
  it does test the data.

`realised_rate` in `sac_fast.verdict.power` gives the deviation of one pool's rate from α.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .pool import largest_count

# A check fails above this many standard errors, under a true null once in 741.
_MAX_STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class SplitCheck:
    """Result of `random_split_check`.

    Attributes:
        rate: α.
        null_count, held_out_count: numbers of models in the two parts of each split.
        splits: number of splits.
        share: share of the held-out models accused, over all splits.
        expected: share under exchangeability without ties: ⌊α(1 + c)⌋ / (1 + c).
        standard_error: of `share`, over splits.
        holds: ``share <= rate + 3 standard_error``; None if the nulls of a split are too few for α, so that no model
            can be accused.

    Example::

        >>> random_split_check([0.1, 0.2, 0.3, 0.4], 0.1, splits=10).holds is None
        True
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
        splits: number of splits, at least 1; 200 or more for figures to report.
        held_out: share of the models held out; at least one model and at most m − 1.
        seed: seed of the splits.

    Returns:
        The share accused, with its standard error.

    Raises:
        TypeError, ValueError: not numbers, NaN or infinite, too few, or an option out of range.

    Example::

        >>> check = random_split_check([i / 100 for i in range(100)], 0.1, splits=50)
        >>> check.null_count, check.held_out_count, check.holds
        (50, 50, True)
    """
    from scipy.stats import betabinom

    values = checks.check_values("independents", independents, minimum=2)
    level = checks.check_rate("rate", rate)
    checks.check_count("splits", splits, minimum=1)
    size = values.size
    judged = min(max(1, round(checks.check_rate("held_out", held_out) * size)), size - 1)
    nulls = size - judged
    rank = largest_count(level, 1 + nulls)
    rng = np.random.default_rng(checks.check_count("seed", seed))
    if rank < 1:
        return SplitCheck(level, nulls, judged, splits, 0.0, 0.0, 0.0, None)
    accused = 0
    for _ in range(splits):
        order = rng.permutation(size)
        null = np.sort(values[order[judged:]])
        accused += int((values[order[:judged]] < null[rank - 1]).sum())
    spread = float(betabinom.std(judged, rank, 1 + nulls - rank)) / judged / math.sqrt(splits)
    share = accused / (splits * judged)
    holds = share <= level + _MAX_STANDARD_ERRORS * spread
    return SplitCheck(level, nulls, judged, splits, share, rank / (1 + nulls), spread, holds)


@dataclass(frozen=True)
class TransferCheck:
    """Result of `transfer_check`.

    Attributes:
        rate: α.
        null_count, held_out_count: numbers of calibrating and of judged models.
        accused: number of judged models accused.
        p_value: probability of at least that many if both kinds are exchangeable; exact without ties, conservative with
            ties; None if the nulls are too few for α.

    Example::

        >>> transfer_check([0.5, 0.6, 0.7, 0.8], [0.1, 0.9], rate=0.2).accused
        1
    """

    rate: float
    null_count: int
    held_out_count: int
    accused: int
    p_value: float | None


def transfer_check(null: ArrayLike, held_out: ArrayLike, rate: float) -> TransferCheck:
    """Judge independents of one kind by nulls of another.

    If both kinds are exchangeable, the number accused is (without ties) beta-binomial(h; r, 1 + c − r) with
    r = ⌊α(1 + c)⌋. A small p-value shows that the nulls are of the wrong kind for such suspects.

    Args:
        null: (c,) distances of the calibrating independents, c ≥ 1.
        held_out: (h,) distances of the judged independents, h ≥ 1.
        rate: α, strictly between 0 and 1.

    Returns:
        The number accused, with its p-value.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.

    Example::

        >>> check = transfer_check([0.5, 0.6, 0.7, 0.8], [0.1, 0.9], rate=0.2)
        >>> check.accused, round(check.p_value, 4)
        (1, 0.3333)
    """
    from scipy.stats import betabinom

    nulls = np.sort(checks.check_values("null", null))
    values = checks.check_values("held_out", held_out)
    level = checks.check_rate("rate", rate)
    rank = largest_count(level, 1 + nulls.size)
    if rank < 1:
        return TransferCheck(level, nulls.size, values.size, 0, None)
    accused = int((values < nulls[rank - 1]).sum())
    p = float(betabinom.sf(accused - 1, values.size, rank, 1 + nulls.size - rank))
    return TransferCheck(level, nulls.size, values.size, accused, p)
