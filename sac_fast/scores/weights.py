"""Combination of the statistics of the calibrated score: regularised logistic regression with weights ≥ 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """Distance from the statistics s of a suspect: ``log(1 + exp(−(b + Σ_j w_j (s_j − μ_j) / σ_j)))``.

    It is −log of the probability of theft under the regression: ≥ 0, and smaller for more similar models.

    Attributes:
        means, deviations: (d,) μ and σ of the statistics over the independents of the fit.
        weights: (d,) w ≥ 0: more similarity is never evidence against theft.
        intercept: b.

    Example::

        >>> import numpy as np
        >>> weights = Weights(np.zeros(1), np.ones(1), np.ones(1), 0.0)
        >>> weights.distances(np.array([[0.0], [2.0]])).round(4).tolist()
        [0.6931, 0.1269]
    """

    means: Floats
    deviations: Floats
    weights: Floats
    intercept: float

    def distances(self, statistics: Floats) -> Floats:
        """(m, d) statistics to (m,) distances."""
        evidence = ((statistics - self.means) / self.deviations) @ self.weights + self.intercept
        return np.asarray(np.logaddexp(0.0, -evidence))


def fit_weights(thefts: Floats, origins: Sequence[str], independents: Floats, *, regularisation: float) -> Weights:
    """Fit the weights on simulated thefts and on independents.

    Minimises the mean log loss plus ``regularisation · |w|² / 2`` over w ≥ 0 and b. Thefts and independents have a
    total weight of ½ each; all attacks have the same weight, whatever their number of models.

    Args:
        thefts: (a, d) statistics of stolen models.
        origins: (a,) the attack of each.
        independents: (b, d) statistics of independent models, each computed with a cohort without it.
        regularisation: > 0.

    Returns:
        The weights.

    Raises:
        ValueError: empty groups, wrong shapes, NaN or infinite, or no regularisation.

    Example::

        >>> import numpy as np
        >>> thefts, independents = np.array([[0.9], [0.8]]), np.array([[0.1], [0.2], [0.0]])
        >>> weights = fit_weights(thefts, ["finetune", "prune"], independents, regularisation=0.1)
        >>> bool(weights.distances(thefts).max() < weights.distances(independents).min())
        True
    """
    from scipy.optimize import minimize  # imported late: slow to import

    if thefts.ndim != 2 or independents.ndim != 2 or thefts.shape[1:] != independents.shape[1:]:
        raise ValueError(f"thefts and independents must be (a, d) and (b, d), got {thefts.shape}, {independents.shape}")
    if not len(thefts) or len(independents) < 2 or len(origins) != len(thefts):
        raise ValueError(
            f"there must be stolen models, an attack for each and 2 independents, got {len(thefts)}, {len(origins)} "
            f"and {len(independents)}"
        )
    if not (np.isfinite(thefts).all() and np.isfinite(independents).all()):
        raise ValueError("statistics must be finite, got NaN or Inf")
    if not 0 < regularisation < np.inf:
        raise ValueError(f"regularisation must be positive and finite, got {regularisation!r}")
    means, deviations = independents.mean(axis=0), independents.std(axis=0)
    deviations = np.where(deviations > 1e-9, deviations, 1.0)
    x = (np.concatenate([thefts, independents]) - means) / deviations
    sign = np.concatenate([np.ones(len(thefts)), -np.ones(len(independents))])
    sizes = Counter(origins)
    shares = [0.5 / len(sizes) / sizes[origin] for origin in origins]
    share = np.concatenate([shares, np.full(len(independents), 0.5 / len(independents))])

    def loss(parameters: Floats) -> tuple[float, Floats]:
        w, b = parameters[:-1], parameters[-1]
        margin = sign * (x @ w + b)
        # the derivative of log(1 + exp(−margin)), in a form that does not overflow
        slope = -sign * share * np.exp(-np.logaddexp(0.0, margin))
        value = share @ np.logaddexp(0.0, -margin) + regularisation * (w @ w) / 2
        return float(value), np.append(x.T @ slope + regularisation * w, slope.sum())

    d = x.shape[1]
    found = minimize(loss, np.zeros(d + 1), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * d + [(None, None)])
    return Weights(means, deviations, np.asarray(found.x[:-1]), float(found.x[-1]))
