"""One set of related pairs for table, groups and drawing, each with its ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..io.choices import Metric
from .forest import Pairs, groups_of, spanning_forest
from .result import Edge


class NearPairs:
    """Pairs that are related by distance: below the threshold, and in one group by average linkage.

    Chains of pairs below the threshold would join strangers: α of all unrelated pairs lie below it.

    Args:
        names, outputs: of the models of one form.
        pairs: all pairs below the threshold.
        threshold: see `Lineage.threshold`.
        metric: of the distances.
        notes: gets remarks of groups that are too large to be split.
    """

    def __init__(
        self,
        names: Sequence[str],
        outputs: list[Tensor],
        pairs: Pairs,
        threshold: float,
        metric: Metric,
        notes: list[str],
    ) -> None:
        self.threshold = threshold
        group_of = np.full(len(names), -1)
        for number, group in enumerate(groups_of(outputs, pairs, threshold, metric, notes)):
            group_of[group] = number
        self._group = {name: int(group_of[row]) for row, name in enumerate(names) if group_of[row] >= 0}
        inside = (group_of[pairs.a] == group_of[pairs.b]) & (group_of[pairs.a] >= 0)
        forest = spanning_forest(len(names), Pairs(*(values[inside] for values in pairs)))
        self.edges = [Edge(names[a], names[b], distance, "distance") for a, b, distance in forest]

    def includes(self, a: str, b: str, distance: float) -> bool:
        """Whether two models are related by this distance."""
        return distance < self.threshold and self._group.get(a, -1) == self._group.get(b, -2)
