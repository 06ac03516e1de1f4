"""Figures of merit of distances, where it is known which models are derived and which independent.

Smaller means more similar throughout; any finite score can be used as distance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .figures import Draws, f1_figure, tpr_figure


def auc(derived: ArrayLike, independent: ArrayLike) -> float:
    """Area under the ROC curve: ``P(d_derived < d_independent) + ½ P(d_derived = d_independent)``.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        1.0 if every derived model is nearer than every independent one, 0.5 at chance.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Example::

        >>> auc([0.1, 0.3], [0.2, 0.4])
        0.75
    """
    from sklearn.metrics import roc_auc_score  # imported late: it takes a second

    return float(roc_auc_score(*_labelled(*_check_groups(derived, independent))))


@dataclass(frozen=True, eq=False)
class RocCurve:
    """ROC curve: rates at which models with ``distance <= threshold`` are accused.

    Attributes:
        thresholds: (t,) float64, ascending; the first is −inf, which accuses no model.
        false_positive_rate: (t,) share of the independents that are accused.
        true_positive_rate: (t,) share of the derived models that are accused.

    Example::

        >>> roc_curve([0.1], [0.2]).to_dict()["thresholds"]
        [None, 0.1, 0.2]
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
    """ROC curve with one point for every distinct distance.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        The curve; distances that occur in both groups give one slanted step.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Example::

        >>> curve = roc_curve([0.1, 0.3], [0.2, 0.4])
        >>> curve.true_positive_rate.tolist(), curve.false_positive_rate.tolist()
        ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    from sklearn.metrics import roc_curve as sklearn_roc_curve

    truth, scores = _labelled(*_check_groups(derived, independent))
    false, true, scores = sklearn_roc_curve(truth, scores, drop_intermediate=False)
    # + 0.0 turns -0.0 into 0.0
    return RocCurve(-scores + 0.0, false, true)


def tpr_at_fpr(derived: ArrayLike, independent: ArrayLike, false_positive_rate: float) -> float:
    """True positive rate at a false positive rate of at most the given value.

    With b independents, k = ⌊rate · b⌋ of them may be accused, so a derived model is found if it lies *below* the
    (k + 1)-th nearest independent. A derived model at the distance of that independent is not found, since its
    threshold would accuse k + 1 independents. Points of the curve are not interpolated. With b < 1 / rate, k = 0: the
    figure is then the share found at *no* false accusation. It equals the largest true positive rate of `roc_curve` at
    a false positive rate of at most the given one.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.
        false_positive_rate: strictly between 0 and 1.

    Returns:
        The true positive rate, 0 … 1.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; a rate out of range.

    Example::

        >>> tpr_at_fpr([0.1, 0.3], [0.2, 0.4], 0.5)
        1.0
    """
    near, far = _check_groups(derived, independent)
    rate = checks.check_rate("false_positive_rate", false_positive_rate)
    return float(tpr_figure(rate)(Draws.of_values(near[None], far[None]))[0])


def f1_at_threshold(derived: ArrayLike, independent: ArrayLike, threshold: float) -> float:
    """F1 of accusing every model with ``distance < threshold``: ``2 TP / (2 TP + FP + FN)``.

    F1 depends on the numbers of derived and independent models: compare it on the same models only.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1. A threshold that was calibrated on the same models
            accuses fewer of them than of new ones (see `f1_at_rate`).
        threshold: as returned by `calibrated_threshold`.

    Returns:
        0 … 1; 0 if no derived model is accused.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Example::

        >>> f1_at_threshold([0.1, 0.3], [0.2, 0.4], threshold=0.4)
        0.8
    """
    near, far = _check_groups(derived, independent)
    limit = checks.check_number("threshold", threshold)
    found, wrong = int((near < limit).sum()), int((far < limit).sum())
    return 2 * found / (found + wrong + near.size)


def f1_at_rate(derived: ArrayLike, independent: ArrayLike, alpha: float) -> float | None:
    """F1 at a stated error rate, with every independent judged by the other ones.

    All independents calibrate the verdicts on the derived models. No independent is judged by a threshold that it
    helped to set: it is accused if its conformal p-value among the other b − 1 is at most α.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.
        alpha: α, strictly between 0 and 1.

    Returns:
        ``2 TP / (2 TP + FP + FN)``; None if b independents are too few for α, that is ``1 / (1 + b) > α``.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite; α out of range.

    Example::

        >>> f1_at_rate([0.1, 0.2], [0.5, 0.6, 0.7, 0.8], alpha=0.2)
        1.0
    """
    near, far = _check_groups(derived, independent)
    f1 = float(f1_figure(checks.check_rate("alpha", alpha))(Draws.of_values(near[None], far[None]))[0])
    return None if math.isnan(f1) else f1


def welch_p_value(derived: ArrayLike, independent: ArrayLike) -> float | None:
    """Two-sided p-value of Welch's t-test for equal mean distances, as reported in the literature.

    It compares the means of two groups, assumes roughly normal distances and decreases with the number of models. It is
    no evidence about a single suspect; `conformal_p_value` is.

    Args:
        derived: (a,) distances of derived models, a ≥ 1.
        independent: (b,) distances of independent models, b ≥ 1.

    Returns:
        The p-value; None if the test is not defined: a group has one member, or neither group varies.

    Raises:
        TypeError, ValueError: not numbers; empty, NaN or infinite.

    Example::

        >>> round(welch_p_value([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]), 4)
        0.008

    Source: Welch, "The generalization of 'Student's' problem…", Biometrika 1947; `scipy.stats.ttest_ind`.
    """
    from scipy.stats import ttest_ind

    near, far = _check_groups(derived, independent)
    if min(near.size, far.size) < 2 or (np.ptp(near) == 0 and np.ptp(far) == 0):
        return None
    with warnings.catch_warnings():
        # SciPy warns of a group with nearly equal members; the variance of the other group decides then.
        warnings.simplefilter("ignore", RuntimeWarning)
        p = float(ttest_ind(near, far, equal_var=False).pvalue)
    return p if math.isfinite(p) else None


def _check_groups(derived: ArrayLike, independent: ArrayLike) -> tuple[checks.Values, checks.Values]:
    return checks.check_values("derived", derived), checks.check_values("independent", independent)


def _labelled(near: checks.Values, far: checks.Values) -> tuple[checks.Values, checks.Values]:
    """Labels (1: derived) and scores (larger: derived), as scikit-learn takes them."""
    return np.concatenate([np.ones(near.size), np.zeros(far.size)]), -np.concatenate([near, far])
