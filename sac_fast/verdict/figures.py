"""Figures of merit for many resamples at once: of models (as weights) and of probes (as other distances).

Each figure is a function of `Draws`. `sac_fast.verdict.metrics` gives the same figures for one set of distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checks import Values
from .pool import largest_count


@dataclass(frozen=True, eq=False)
class Draws:
    """Distances of a derived and b independent models in t resamples.

    Attributes:
        near: (1 or t, a) distances of the derived models.
        far: (1 or t, b) distances of the independents; as many rows as `near`.
        near_weights, far_weights: (1 or t, a) and (1 or t, b) multiplicities of the models.
    """

    near: Values
    far: Values
    near_weights: Values
    far_weights: Values

    @classmethod
    def of_values(cls, near: Values, far: Values) -> Draws:
        """Draws of (t, a) and (t, b) distances with every model counted once."""
        return cls(near, far, np.ones((1, near.shape[1])), np.ones((1, far.shape[1])))


Figure = Callable[[Draws], Values]


def auc_figure(draws: Draws) -> Values:
    """``Σ_ij u_i v_j ([near_i < far_j] + ½ [near_i = far_j]) / (Σu Σv)`` in every resample: (t,)."""
    near, far = draws.near, draws.far
    if len(near) == 1:
        wins = (far > near.T) + 0.5 * (far == near.T)
        total = ((draws.near_weights @ wins) * draws.far_weights).sum(axis=1)
    else:
        # A loop over the independents, since (t, a, b) would not fit into memory.
        columns = zip(far.T, draws.far_weights.T, strict=True)
        total = np.zeros(len(near))
        for values, weights in columns:
            wins = (near < values[:, None]) + 0.5 * (near == values[:, None])
            total += (draws.near_weights * wins).sum(axis=1) * weights
    return np.asarray(total / (draws.near_weights.sum(axis=1) * draws.far_weights.sum(axis=1)))


def tpr_figure(rate: float) -> Figure:
    """`tpr_at_fpr` at the rate, in every resample."""

    def figure(draws: Draws) -> Values:
        threshold = _ranked(draws, _counts(draws.far_weights, lambda size: largest_count(rate, size)))
        return np.asarray(_below(draws.near, draws.near_weights, threshold) / draws.near_weights.sum(axis=1))

    return figure


def f1_figure(rate: float) -> Figure:
    """`f1_at_rate` at the rate, in every resample; NaN where the independents are too few."""

    def figure(draws: Draws) -> Values:
        ranks = _counts(draws.far_weights, lambda size: largest_count(rate, 1 + size) - 1)
        found = _below(draws.near, draws.near_weights, _ranked(draws, np.maximum(ranks, 0)))
        # The others accuse an independent if at most ⌊α b⌋ of all distances are not larger than its own.
        own = _ranked(draws, _counts(draws.far_weights, lambda size: largest_count(rate, size)))
        wrong = _below(draws.far, draws.far_weights, own)
        f1 = 2 * found / (found + wrong + draws.near_weights.sum(axis=1))
        return np.where(ranks < 0, math.nan, f1)

    return figure


def _counts(weights: Values, of: Callable[[int], int]) -> NDArray[np.int64]:
    totals, where = np.unique(weights.sum(axis=1), return_inverse=True)
    return np.array([of(round(total)) for total in totals], dtype=np.int64)[where]


def _ranked(draws: Draws, ranks: NDArray[np.int64]) -> Values:
    """Value at 0-based `ranks` among the sorted independents, counted by weight; inf past the end."""
    order = np.argsort(draws.far, axis=1, kind="stable")
    ordered = np.take_along_axis(draws.far, order, axis=1)
    weights = draws.far_weights[:, order[0]] if len(order) == 1 else np.ones(order.shape)
    reached = np.cumsum(weights, axis=1) > ranks[:, None]
    first = np.argmax(reached, axis=1)
    found = ordered[0, first] if len(order) == 1 else ordered[np.arange(len(order)), first]
    return np.where(reached.any(axis=1), found, math.inf)


def _below(values: Values, weights: Values, thresholds: Values) -> Values:
    return np.asarray((weights * (values < thresholds[:, None])).sum(axis=1))
