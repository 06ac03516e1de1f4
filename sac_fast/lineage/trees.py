"""Groups of related models and their forest, from edges of every ground."""

from __future__ import annotations

from collections.abc import Sequence

from .result import GROUNDS, Edge


def join(names: Sequence[str], edges: Sequence[Edge]) -> tuple[tuple[tuple[str, ...], ...], tuple[Edge, ...]]:
    """Groups of related models and their forest, in which a stronger ground goes before a shorter distance.

    Args:
        names: of all models.
        edges: related pairs.

    Returns:
        The trees of two or more models, the largest first, and the edges that span them, sorted by distance.
    """
    if not edges:
        return (), ()
    from scipy.cluster.hierarchy import DisjointSet

    place = {name: row for row, name in enumerate(names)}
    trees = DisjointSet(dict.fromkeys(end for edge in edges for end in (edge.a, edge.b)))
    ordered = sorted(edges, key=lambda e: (GROUNDS.index(e.ground), e.distance, place[e.a], place[e.b]))
    forest = [edge for edge in ordered if trees.merge(edge.a, edge.b)]
    groups = [tuple(sorted(tree, key=place.__getitem__)) for tree in trees.subsets() if len(tree) > 1]
    groups.sort(key=lambda group: (-len(group), place[group[0]]))
    return tuple(groups), tuple(sorted(forest, key=lambda e: (e.distance, place[e.a], place[e.b])))
