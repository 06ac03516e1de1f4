"""Lists of the nearest models of every model of a store: made by one sweep, and merged with what is added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..neighbours.blocks import BlockRunner
from ..neighbours.search import Sample, nearest_vectors
from ..neighbours.vectors import STEPS, ByteVectors
from .vector_files import NEAR, Description

# Additions of a larger share of the models make all lists anew.
_MAX_ADDED = 0.2

#: Part of a key that is the row of a neighbour; the other is its distance in steps of a byte.
ROW = np.uint64(0xFFFFFFFF)
#: Ends a list of fewer.
NOBODY = np.uint64(0xFFFFFFFFFFFFFFFF)


def make_lists(
    vectors: ByteVectors, old: NDArray[np.uint64] | None, found: Description, blocks: BlockRunner | None = None
) -> NDArray[np.uint64]:
    """Keys (m, 16) of the nearest of every row; the largest key where there are fewer.

    The number of candidates is chosen, by the recall that is measured with it, where all lists are made; additions use
    the same number until they are a fifth of the models. With `blocks` the sweeps are run in blocks, elsewhere.
    """
    count = len(vectors)
    before = 0 if old is None else len(old)
    lists = np.full((count, NEAR), NOBODY)
    if old is None or count - found.measured > _MAX_ADDED * count:
        top = min(NEAR, count - 1)
        found.candidates, found.measured = Sample(vectors, top).choose_candidates(), count
        near = nearest_vectors(vectors, None, top, candidates=found.candidates, blocks=blocks)
        lists[:, :top] = _keys(vectors, near.distances, near.indices)
        return lists
    added = vectors[before:]
    top = min(NEAR, count - 1)
    near = nearest_vectors(vectors, added, top, candidates=found.candidates, first_query=before, blocks=blocks)
    lists[before:, :top] = _keys(vectors, near.distances, near.indices)
    lists[:before] = _with_added(vectors, old, found.candidates, blocks)
    return lists


def _with_added(
    vectors: ByteVectors, old: NDArray[np.uint64], candidates: int | None, blocks: BlockRunner | None
) -> NDArray[np.uint64]:
    """The lists of the first rows with those of the added models that are nearer.

    Few of all candidates of a row are among the added: so many are looked at first, and as many as ever only for rows
    of which most of these are nearer.
    """
    before, count = len(old), len(vectors)
    added, top = vectors[before:], min(NEAR, count - before)
    few = None if candidates is None else max(NEAR, -(-4 * candidates * len(added) // count))

    def merge(rows: NDArray[np.int64] | slice, queries: ByteVectors, some: int | None) -> NDArray[np.uint64]:
        near = nearest_vectors(added, queries, top, candidates=some, blocks=blocks)
        joined = np.concatenate([old[rows], _keys(vectors, near.distances, near.indices + before)], axis=1)
        merged: NDArray[np.uint64] = np.sort(joined, axis=1)[:, :NEAR]
        return merged

    lists = merge(slice(None), vectors[:before], few)
    if candidates is not None and few is not None and few < min(candidates, len(added)):
        is_new = (lists & ROW >= np.uint64(before)) & (lists != NOBODY)
        crowded = np.flatnonzero(is_new.sum(axis=1) * 4 >= NEAR * 3)
        if len(crowded):
            lists[crowded] = merge(crowded, vectors.take(crowded), candidates)
    return lists


def _keys(vectors: ByteVectors, distances: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    sums = np.rint(distances * (vectors.n**2 * STEPS / 2)).astype(np.uint64)
    keys: NDArray[np.uint64] = sums << np.uint64(32) | rows.astype(np.uint64)
    return keys
