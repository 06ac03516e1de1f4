"""Intervals by resampling models: how far a figure would move with other models of the same kinds.

Every group (an attack, a kind of independents) is resampled by itself, so that its size, which the experimenter chose,
stays. Resamples are counts: a figure of resample r is the figure with model i counted ``weights[r, i]`` times, so one
draw serves all figures of an evaluation, and differences between them keep their correlation.
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
        low, high: its ends.
        method: ``"bca"`` (bias-corrected and accelerated), ``"bias-corrected"``, ``"percentile"``, or
            ``"clopper-pearson"``: for shares, and where all resamples of the models agree and a bootstrap would claim
            certainty.
    """

    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)


class ModelResamples:
    """Weights of all resamples of named groups of models.

    Row 0 counts every model once, rows 1 … R are resamples with replacement within each group, and each row after them
    leaves one model out (groups of one stay whole), which is what the acceleration of BCa needs.

    Args:
        sizes: of the groups, each at least 1.
        resamples: R, at least 1.
        seed: of the draw. A group's resamples depend on the names and sizes of the groups before it, too.
    """

    def __init__(self, sizes: Mapping[str, int], resamples: int, seed: int) -> None:
        self.resamples = checks.count("resamples", resamples, least=1)
        rng = np.random.default_rng(checks.count("seed", seed))
        owners = [(name, i) for name, size in sizes.items() if size > 1 for i in range(size)]
        self.owners = [name for name, _ in owners]
        rows = 1 + self.resamples + len(owners)
        self.weights = {name: np.ones((rows, size)) for name, size in sizes.items()}
        for name, size in sizes.items():
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=self.resamples)
            self.weights[name][1 : 1 + self.resamples] = drawn
        for row, (name, i) in enumerate(owners, start=1 + self.resamples):
            self.weights[name][row, i] = 0

    def of(self, names: Sequence[str]) -> Values:
        """(rows, models of the named groups one after another) weights."""
        return np.concatenate([self.weights[name] for name in names], axis=1)

    def interval(self, figures: Values, names: Sequence[str], confidence: float, bca: bool) -> Interval | None:
        """The interval of a figure that depends on the named groups, from its value in every row; None if it has none.

        Without `bca`, or where BCa is not defined, the percentiles of the resamples.
        """
        value, drawn = figures[0], figures[1 : 1 + self.resamples]
        # Percentiles need no rows that leave one out: with as many nulls as α asks for just so, F1 has none there.
        used = figures if bca else figures[: 1 + self.resamples]
        if not np.isfinite(used).all() or np.ptp(drawn) == 0:
            return None
        if not bca:
            return percentile_interval(drawn, confidence)
        left_out = figures[1 + self.resamples :]
        groups = [left_out[[owner == name for owner in self.owners]] for name in dict.fromkeys(names)]
        return bca_interval(float(value), drawn, [group for group in groups if group.size], confidence)


def percentile_interval(drawn: Values, confidence: float) -> Interval:
    """The middle share `confidence` of resampled figures."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high), "percentile")


def bca_interval(value: float, drawn: Values, left_out: Sequence[Values], confidence: float) -> Interval:
    """The bias-corrected and accelerated interval of a figure of several samples.

    Args:
        value: the figure itself.
        drawn: (R,) its resamples.
        left_out: for each sample the figures without one of its members; they give the acceleration, which without
            them is none: then the interval is the bias-corrected one.
        confidence: of the interval.

    Returns:
        The interval; of percentiles where the figure lies outside of all resamples.

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
    ends = []
    for z in (norm.ppf(tail), norm.ppf(1 - tail)):
        shifted = bias + float(z)
        ends.append(float(norm.cdf(bias + shifted / (1 - acceleration * shifted))))
    low, high = np.quantile(drawn, ends)
    return Interval(float(low), float(high), "bca" if left_out else "bias-corrected")


def clopper_pearson(successes: int, trials: int, confidence: float) -> Interval:
    """The exact binomial interval of a share."""
    from scipy.stats import binomtest

    ends = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Interval(float(ends.low), float(ends.high), "clopper-pearson")
