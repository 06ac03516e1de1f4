"""Groups of related models and their minimum spanning forest, from the pairs below a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..io.choices import Metric
from ..io.progress import track
from ..neighbours.within import neighbours_within
from ..ops import nearest_models, pairwise_correlation_distances
from ..ops.dispatch import ranked_models

_BLOCK = 1_024  # queries per call, between which progress is shown and Ctrl-C is handled
#: Larger groups are not split further, since that needs all of their distances at once.
MAX_GROUP_SIZE = 4_000


Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of rows ``a < b`` with their distances, each pair once, sorted."""

    a: Rows
    b: Rows
    distance: Floats


def nearest_in_blocks(
    outputs: list[Tensor],
    rows: Sequence[int] | Rows,
    candidates: Rows,
    top: int,
    metric: Metric,
    first_pass: str,
    description: str,
    progress: bool,
) -> Iterator[tuple[Any, Floats, Rows]]:
    """The nearest candidates of many models, itself included where it is one.

    Args:
        outputs: m times (n, k_i).
        rows: of the models whose nearest are wanted.
        candidates: rows of the models among which they are searched.
        top: number of nearest.
        metric, first_pass: see `sac_fast.nearest_models`.
        description: the words beside the bar.
        progress: a bar on stderr.

    Yields:
        Some of the rows, their distances to the nearest candidates (b, top), and the rows of these.
    """
    pool = [outputs[row] for row in candidates]
    for start in track(range(0, len(rows), _BLOCK), description, enabled=progress):
        block = rows[start : start + _BLOCK]
        found = nearest_models(pool, [outputs[row] for row in block], top, metric=metric, first_pass=first_pass)
        yield block, found.values.double().numpy(), candidates[found.indices.numpy()]


def related_pairs(outputs: list[Tensor], threshold: float, metric: Metric, progress: bool) -> Pairs:
    """All pairs of models with a distance below the threshold, in one exact sweep (`neighbours_within`).

    Args:
        outputs: m times (n, k_i).
        threshold: t; pairs with d < t are returned.
        metric: of the distances.
        progress: a bar on stderr.

    Returns:
        The pairs; memory is that of these, not m².
    """
    ranked_metric, rows = ranked_models("outputs", outputs, metric)
    blocks = neighbours_within(rows, threshold, metric=ranked_metric)
    found = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for some in track(blocks, "related pairs", enabled=progress):
        near = some.distances < threshold
        found.append(Pairs(some.queries[near], some.models[near], some.distances[near]))
    first, second, distances = zip(*found, strict=True)
    return Pairs(np.concatenate(first), np.concatenate(second), np.concatenate(distances))


def spanning_forest(count: int, pairs: Pairs) -> list[tuple[int, int, float]]:
    """The minimum spanning forest of the graph of these pairs (Kruskal), its edges sorted by distance.

    Args:
        count: number of models.
        pairs: the edges.

    Returns:
        (a, b, distance), a < b; their number is that of the models minus that of the trees.
    """
    from scipy.cluster.hierarchy import DisjointSet

    # Not scipy.sparse.csgraph, which takes a distance of 0, that of a copy, for a missing edge.
    trees = DisjointSet(range(count))
    order = np.lexsort((pairs.b, pairs.a, pairs.distance))
    edges = zip(*(values[order].tolist() for values in pairs), strict=True)
    return [(a, b, distance) for a, b, distance in edges if trees.merge(a, b)]


def groups_of(
    outputs: list[Tensor], pairs: Pairs, threshold: float, metric: Metric, notes: list[str]
) -> list[list[int]]:
    """Average-linkage clusters, cut at the threshold; clusters of one are left out.

    Average linkage never joins two parts without a pair below the threshold, so distances are computed within connected
    parts only.

    Args:
        outputs: m times (n, k_i).
        pairs: all pairs below the threshold.
        threshold: t.
        metric: of the distances.
        notes: gets a line for each part that is too large to be split further.

    Returns:
        Rows of each group, ascending; larger groups first, then by their first row.
    """
    groups: list[list[int]] = []
    for part in _connected(len(outputs), pairs):
        if len(part) > MAX_GROUP_SIZE:
            notes.append(f"a group of {len(part)} models was formed by single linkage, being larger than the limit")
            groups.append(part)
            continue
        groups += _average_linkage(outputs, part, threshold, metric)
    return sorted((sorted(group) for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))


def _connected(count: int, pairs: Pairs) -> list[list[int]]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Ones instead of distances, since a distance of 0 is an edge too.
    graph = coo_array((np.ones(len(pairs.a)), (pairs.a, pairs.b)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    order = np.argsort(labels, kind="stable")
    parts: list[Any] = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [part.tolist() for part in parts if len(part) > 1]


def _average_linkage(outputs: list[Tensor], rows: list[int], threshold: float, metric: Metric) -> list[list[int]]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distances = pairwise_correlation_distances([outputs[row] for row in rows], metric=metric).double().numpy()
    # fcluster includes heights equal to t; related models are below t.
    labels = fcluster(linkage(squareform(distances, checks=False), "average"), np.nextafter(threshold, 0), "distance")
    return [np.asarray(rows)[labels == label].tolist() for label in np.unique(labels)]
