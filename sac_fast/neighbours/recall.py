"""How many of the true neighbours a search finds, with an interval that holds for any models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Random queries of which one neighbour each is looked for.
TRIALS = 1_000
MIN_RECALL = 0.99
#: Of the interval, over all numbers of candidates that are tried.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Recall:
    """The share of true neighbours that are found.

    Attributes:
        hits: neighbours that were found.
        trials: neighbours that were looked for: of each of that many random queries one of its true neighbours, drawn
            at random, so that the trials are independent of each other.
        candidates: of the first pass; None: all entries were compared.
        confidence: of `lower`.
    """

    hits: int
    trials: int
    candidates: int | None
    confidence: float

    @property
    def value(self) -> float:
        """The share."""
        return self.hits / self.trials

    @property
    def lower(self) -> float:
        """The lower limit of Clopper and Pearson (one-sided)."""
        from scipy.special import betaincinv  # scipy.stats takes a second to import

        if self.hits == 0:
            return 0.0
        return float(betaincinv(self.hits, self.trials - self.hits + 1, 1 - self.confidence))


def count_found(
    distances: NDArray[np.float64],
    indices: NDArray[np.int64],
    true_distances: NDArray[np.float64],
    true_indices: NDArray[np.int64],
    drawn: NDArray[np.int64],
) -> int:
    """Queries of which the drawn neighbour was found, or as many that are as near.

    Args:
        distances, indices: (q, top) what a search found, ascending.
        true_distances, true_indices: (q, top) what it should have found.
        drawn: (q,) which of the true neighbours of each query is looked for.
    """
    rows = np.arange(len(drawn))
    wanted, distance = true_indices[rows, drawn], true_distances[rows, drawn]
    is_found = (indices == wanted[:, None]).any(axis=1)
    # Another one at the same distance does as well.
    return int((is_found | (distances[rows, drawn] <= distance)).sum())
