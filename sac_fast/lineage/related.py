"""One set of related pairs for table, groups and drawing, each with its ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..io.choices import Metric
from .forest import Pairs, groups_of, spanning_forest
from .result import GROUNDS, Edge


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


def join(names: Sequence[str], edges: Sequence[Edge]) -> tuple[tuple[tuple[str, ...], ...], tuple[Edge, ...]]:
    """Groups of related models and their forest, in which a stronger ground goes before a shorter distance.

    Args:
        names: of all models.
        edges: related pairs.

    Returns:
        The trees of two or more models, the largest first, and the edges that span them, sorted by distance.
    """
    from scipy.cluster.hierarchy import DisjointSet

    place = {name: row for row, name in enumerate(names)}
    trees = DisjointSet(names)
    ordered = sorted(edges, key=lambda e: (GROUNDS.index(e.ground), e.distance, place[e.a], place[e.b]))
    forest = [edge for edge in ordered if trees.merge(edge.a, edge.b)]
    groups = [tuple(sorted(tree, key=place.__getitem__)) for tree in trees.subsets() if len(tree) > 1]
    groups.sort(key=lambda group: (-len(group), place[group[0]]))
    return tuple(groups), tuple(sorted(forest, key=lambda e: (e.distance, place[e.a], place[e.b])))
