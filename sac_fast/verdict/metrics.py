"""How well distances tell derived models from independent ones, where it is known which is which.

Smaller means more alike throughout; any finite score does as well as a distance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .pool import largest_count


def auc(derived: ArrayLike, independent: ArrayLike) -> float:
    """Area under the ROC curve: ``P(d_derived < d_independent) + ½ P(d_derived = d_independent)``.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        1.0 where every derived model is nearer than every independent one, 0.5 at chance.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.
    """
    from sklearn.metrics import roc_auc_score  # not at import time: it takes a second

    near, far = checks.values("derived", derived), checks.values("independent", independent)
    truth = np.concatenate([np.ones(near.size), np.zeros(far.size)])
    return float(roc_auc_score(truth, -np.concatenate([near, far])))


@dataclass(frozen=True, eq=False)
class RocCurve:
    """All that thresholds can do: accuse every model with ``distance <= threshold``.

    Attributes:
        thresholds: (t,) float64, rising; the first is −inf, which accuses nobody.
        false_positive_rate: (t,) share of the independents that are accused.
        true_positive_rate: (t,) share of the derived models that are accused.
    """

    thresholds: checks.Values
    false_positive_rate: checks.Values
    true_positive_rate: checks.Values

    def to_dict(self) -> dict[str, Any]:
        """Lists for JSON; the threshold −inf becomes None."""
        return {
            "thresholds": [None if math.isinf(t) else t for t in self.thresholds.tolist()],
            "false_positive_rate": self.false_positive_rate.tolist(),
            "true_positive_rate": self.true_positive_rate.tolist(),
        }


def roc_curve(derived: ArrayLike, independent: ArrayLike) -> RocCurve:
    """The ROC curve, one point for every different distance.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        The curve; equal distances of both kinds are one slanted step, whose area is `auc`'s ½.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.
    """
    from sklearn.metrics import roc_curve as of_scores

    near, far = checks.values("derived", derived), checks.values("independent", independent)
    truth = np.concatenate([np.ones(near.size), np.zeros(far.size)])
    false, true, scores = of_scores(truth, -np.concatenate([near, far]), drop_intermediate=False)
    # + 0.0 turns -0.0 into 0.0
    return RocCurve(-scores + 0.0, false, true)


def tpr_at_fpr(derived: ArrayLike, independent: ArrayLike, false_positive_rate: float) -> float:
    """Share of the derived models found where at most the given share of these independents is accused.

    With b independents, k = ⌊rate · b⌋ of them may be accused, so those models count as found that lie *below* the
    (k + 1)-th nearest independent. Conventions: a derived model as far as that independent is not found, since
    the threshold that finds it accuses one independent too many; nothing is interpolated between points of the
    curve; with b < 1 / rate, k = 0, and the figure is the share at *no* false accusation, which says nothing of the
    rate itself. It equals the largest true positive rate of `roc_curve` at a false one of at most the rate.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.
        false_positive_rate: strictly between 0 and 1.

    Returns:
        The share, 0 … 1.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; a rate out of range.
    """
    near, far = checks.values("derived", derived), checks.values("independent", independent)
    allowed = largest_count(checks.rate("false_positive_rate", false_positive_rate), far.size)
    return float((near < np.sort(far)[allowed]).mean())


def f1_at_threshold(derived: ArrayLike, independent: ArrayLike, threshold: float) -> float:
    """F1 of accusing every model with ``distance < threshold``: ``2 TP / (2 TP + FP + FN)``.

    It depends on how many derived and independent models there are: compare it on the same zoo only.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1. Where the threshold was calibrated on the same ones,
            it accuses fewer of them than of new ones (see `f1_at_rate`).
        threshold: as `calibrated_threshold` gives it.

    Returns:
        0 … 1; 0 where nobody is accused rightly.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.
    """
    near, far = checks.values("derived", derived), checks.values("independent", independent)
    limit = checks.number("threshold", threshold)
    found, wrong = int((near < limit).sum()), int((far < limit).sum())
    return 2 * found / (found + wrong + near.size)


def f1_at_rate(derived: ArrayLike, independent: ArrayLike, alpha: float) -> float | None:
    """F1 where all independents calibrate the verdict on the derived models, and all others that on an independent.

    So no independent is judged by a threshold that it helped to set: independent i is accused if its conformal
    p-value among the other b − 1 is at most α.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.
        alpha: α, strictly between 0 and 1.

    Returns:
        ``2 TP / (2 TP + FP + FN)``; None where b independents are too few for α, that is ``1 / (1 + b) > α``.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.
    """
    near, far = checks.values("derived", derived), np.sort(checks.values("independent", independent))
    rate = checks.rate("alpha", alpha)
    rank = largest_count(rate, 1 + far.size)
    if rank < 1:
        return None
    found = int((near < far[rank - 1]).sum())
    # 1 + the number of others not farther = the number of all not farther
    not_farther = np.searchsorted(far, far, side="right")
    wrong = int((not_farther <= largest_count(rate, far.size)).sum())
    return 2 * found / (found + wrong + near.size)


def welch_p_value(derived: ArrayLike, independent: ArrayLike) -> float | None:
    """Two-sided p-value of Welch's t-test that both groups have the same mean distance, as such papers report it.

    It is about the means of two groups, assumes roughly normal distances, and falls with the number of models: it is
    no evidence about any single suspect, which `conformal_p_value` is.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        The p-value; None where a group has one member, or neither varies: the test is not defined there.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Source: Welch, "The generalization of 'Student's' problem…", Biometrika 1947; `scipy.stats.ttest_ind`.
    """
    from scipy.stats import ttest_ind

    near, far = checks.values("derived", derived), checks.values("independent", independent)
    if min(near.size, far.size) < 2 or (np.ptp(near) == 0 and np.ptp(far) == 0):
        return None
    with warnings.catch_warnings():
        # of a group whose members are nearly equal; the other one's variance decides then
        warnings.simplefilter("ignore", RuntimeWarning)
        p = float(ttest_ind(near, far, equal_var=False).pvalue)
    return p if math.isfinite(p) else None
