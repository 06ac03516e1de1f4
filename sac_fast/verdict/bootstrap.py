"""Bootstrap intervals over models: how much a figure varies with other models of the same kinds.

Every group (an attack, a kind of independents) is resampled separately, since the experimenter chose its size.
Resamples are counts: in resample r, model i counts ``weights[r, i]`` times. One draw serves all figures of an
evaluation, so that differences between figures keep their correlation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks
from .checks import Values


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low, high: endpoints.
        method: ``"bca"`` (bias-corrected and accelerated), ``"bias-corrected"``, ``"percentile"``, or
            ``"clopper-pearson"``: for proportions, and where all resamples of the models agree, so that a bootstrap
            interval would have length 0.

    Example::

        >>> Interval(0.25, 0.75, "percentile").to_dict()
        {'low': 0.25, 'high': 0.75, 'method': 'percentile'}
    """

    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)


class ModelResamples:
    """Weights of all resamples of named groups of models.

    Row 0 counts every model once. Rows 1 … R are resamples with replacement within each group. Each further row leaves
    one model out (groups of one stay complete); BCa needs these for its acceleration.

    Args:
        sizes: sizes of the groups, each at least 1.
        resamples: R, at least 1.
        seed: seed of the draw. The resamples of a group also depend on the groups before it.
    """

    def __init__(self, sizes: Mapping[str, int], resamples: int, seed: int) -> None:
        self.resamples = checks.check_count("resamples", resamples, minimum=1)
        rng = np.random.default_rng(checks.check_count("seed", seed))
        owners = [(name, i) for name, size in sizes.items() if size > 1 for i in range(size)]
        self.owners = [name for name, _ in owners]
        rows = 1 + self.resamples + len(owners)
        self.weights = {name: np.ones((rows, size)) for name, size in sizes.items()}
        for name, size in sizes.items():
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=self.resamples)
            self.weights[name][1 : 1 + self.resamples] = drawn
        for row, (name, i) in enumerate(owners, start=1 + self.resamples):
            self.weights[name][row, i] = 0

    def weights_of(self, names: Sequence[str]) -> Values:
        """Weights (rows, models), the models of the named groups concatenated."""
        return np.concatenate([self.weights[name] for name in names], axis=1)

    def interval(self, figures: Values, names: Sequence[str], confidence: float, bca: bool) -> Interval | None:
        """Interval of a figure of the named groups from its value in every row; None if it is not defined.

        Without `bca`, or where BCa is not defined, a percentile interval.
        """
        value, drawn = figures[0], figures[1 : 1 + self.resamples]
        # Percentiles do not use the leave-one-out rows, where F1 is not defined if the nulls just suffice for α.
        used = figures if bca else figures[: 1 + self.resamples]
        if not np.isfinite(used).all() or np.ptp(drawn) == 0:
            return None
        if not bca:
            return percentile_interval(drawn, confidence)
        left_out = figures[1 + self.resamples :]
        groups = [left_out[[owner == name for owner in self.owners]] for name in dict.fromkeys(names)]
        return bca_interval(float(value), drawn, [group for group in groups if group.size], confidence)


def percentile_interval(drawn: Values, confidence: float) -> Interval:
    """Percentile interval of resampled figures."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high), "percentile")


def bca_interval(value: float, drawn: Values, left_out: Sequence[Values], confidence: float) -> Interval:
    """Bias-corrected and accelerated (BCa) interval of a figure of several samples.

    Args:
        value: the figure.
        drawn: (R,) its resamples.
        left_out: for each sample its leave-one-out figures, which give the acceleration. Without them the acceleration
            is 0 and the interval is the bias-corrected one.
        confidence: confidence level.

    Returns:
        The interval; a percentile interval if the figure lies outside the range of the resamples.

    Source: Efron, "Better bootstrap confidence intervals", JASA 1987; several samples as in
    `scipy.stats.bootstrap`.
    """
    from scipy.stats import norm

    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    if not 0 < below < 1:
        return percentile_interval(drawn, confidence)
    cubes = squares = 0.0
    for figures in left_out:
        size = len(figures)
        influence = (size - 1) * (figures.mean() - figures)
        cubes += float((influence**3).sum()) / size**3
        squares += float((influence**2).sum()) / size**2
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    bias = float(norm.ppf(below))
    tail = (1 - confidence) / 2
    shifted = bias + norm.ppf([tail, 1 - tail])
    low, high = np.quantile(drawn, norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return Interval(float(low), float(high), "bca" if left_out else "bias-corrected")


def clopper_pearson(successes: int, trials: int, confidence: float) -> Interval:
    """Exact binomial interval of a proportion."""
    from scipy.stats import binomtest

    ends = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Interval(float(ends.low), float(ends.high), "clopper-pearson")
