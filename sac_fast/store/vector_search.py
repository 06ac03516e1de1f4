"""The packed vectors of one probe set, and the nearest of their rows: read by descriptor, none of it mapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..neighbours.search import nearest_vectors
from ..neighbours.vectors import ByteVectors
from .neighbour_lists import NOBODY, ROW
from .stored_rows import StoredRows

# Neighbours by bytes beyond those that are wanted, of which the exact distance is computed.
_SPARE = 6
# Candidates of one query: its sweep over the subset takes far longer than ranking them.
_CANDIDATES = 1_000
# More queries at once are worth reading all rows into memory.
_FEW_QUERIES = 16

Digests = NDArray[Any]


@dataclass(frozen=True, eq=False)
class StoreVectors:
    """The vectors of one probe set, read where they are wanted.

    Attributes:
        n: probes.
        order: of the entries, see `sac_fast.neighbours.vectors.ByteVectors`.
        digests: (m,) of the results, 32 bytes each.
        head, tail: (m, …) their correlations.
        near: (m, 16) keys of the nearest rows; None where there are none.
        as_they_are: whether all outputs are compared as they are.
    """

    n: int
    order: NDArray[np.int32]
    digests: Digests
    head: StoredRows
    tail: StoredRows
    near: StoredRows | None
    as_they_are: bool

    def __len__(self) -> int:
        return len(self.head)

    def take(self, rows: NDArray[np.int64]) -> ByteVectors:
        """Some rows, in memory."""
        return ByteVectors(self.n, self.order, self.head.take(rows), self.tail.take(rows))

    def whole(self, folder: int | None = None) -> ByteVectors:
        """All rows, in memory; ``folder``: see `StoredRows.whole`."""
        return ByteVectors(self.n, self.order, self.head.whole(folder), self.tail.whole(folder))

    def lists(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.uint64] | None:
        """The keys of the nearest of some rows, or of all; None: there are none."""
        if self.near is None:
            return None
        return (self.near.read(0, len(self)) if rows is None else self.near.take(rows)).view("<u8")

    def nearest(self, rows: NDArray[np.int64], top: int, dead: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The nearest rows of some by their bytes: from the lists, else by a sweep.

        Args:
            rows: (q,) whose neighbours are wanted.
            top: number of neighbours.
            dead: (m,) rows that are left out.

        Returns:
            (q, top + 6) rows, ascending by distance; the last six, and those that there are not, may be -1.

        Raises:
            ValueError: the files are damaged.
        """
        alive = len(dead) - int(dead.sum()) - 1  # without itself
        wanted = min(top + _SPARE, alive)
        found = np.full((len(rows), wanted), -1)
        swept = np.ones(len(rows), np.bool_)
        if (keys := self.lists(rows)) is not None:
            listed = (keys & ROW).astype(np.int64)
            is_there = keys != NOBODY
            if (listed[is_there] >= len(dead)).any():
                raise ValueError("lists must name rows that there are")
            is_there[is_there] = ~dead[listed[is_there]]
            # Two beyond `top`, since the order by bytes is not quite that by exact distances.
            swept = is_there.sum(axis=1) < min(top + 2, alive)
            found = _to_the_left(listed, is_there, found)
        if swept.any():
            found[swept] = self._sweep(rows[swept], wanted, dead)
        return found

    def _sweep(self, rows: NDArray[np.int64], wanted: int, dead: NDArray[np.bool_]) -> NDArray[np.int64]:
        search = self._nearest_of_few
        if len(rows) > _FEW_QUERIES:
            vectors, queries = self.whole(), self.take(rows)

            def search(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
                return nearest_vectors(vectors, queries, count, candidates=max(_CANDIDATES, 2 * count)).indices

        for more in (min(int(dead.sum()), _SPARE), int(dead.sum())):
            near = search(rows, min(wanted + more + 1, len(self)))
            is_there = ~dead[near] & (near != rows[:, None])
            if (is_there.sum(axis=1) >= wanted).all():
                break
        return _to_the_left(near, is_there, np.full((len(rows), wanted), -1))

    def _nearest_of_few(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """(q, count) rows that are nearest by all entries, among those that are nearest in the subset.

        The subset is read in blocks, and all entries of the candidates alone.
        """
        queries = self.take(rows)
        head = self._head_only(queries.head)
        indices, distances = np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0))
        most = max(_CANDIDATES, 2 * count)
        for first, block in self.head.blocks():
            found = nearest_vectors(self._head_only(block), head, min(most, len(block)))
            indices = np.concatenate([indices, found.indices + first], axis=1)
            distances = np.concatenate([distances, found.distances], axis=1)
            best = np.lexsort((indices, distances))[:, :most]
            indices, distances = np.take_along_axis(indices, best, 1), np.take_along_axis(distances, best, 1)
        near = np.empty((len(rows), count), np.int64)
        for query, candidates in enumerate(np.sort(indices, axis=1)):  # ties by row
            ranked = nearest_vectors(self.take(candidates), queries[query : query + 1], count)
            near[query] = candidates[ranked.indices[0]]
        return near

    def _head_only(self, rows: NDArray[np.uint8]) -> ByteVectors:
        return ByteVectors(self.n, self.order, rows, np.empty((len(rows), 0), np.uint8))


def _to_the_left(values: NDArray[np.int64], kept: NDArray[np.bool_], empty: NDArray[np.int64]) -> NDArray[np.int64]:
    """The kept values of each row in their order, as many as there is room for."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, : empty.shape[1]]
    chosen = np.take_along_axis(values, order, 1)
    empty[:, : order.shape[1]] = np.where(np.take_along_axis(kept, order, 1), chosen, -1)
    return empty
