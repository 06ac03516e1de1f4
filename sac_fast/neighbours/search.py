"""The nearest models by a sweep over a secret random subset of the correlations, and how many of them it finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _backend
from ..io.choices import VectorMetric
from .blocks import BlockRunner, nearest_in_blocks
from .recall import CONFIDENCE, MIN_RECALL, TRIALS, Recall, count_found
from .vectors import DEFAULT_SIGMA, ByteVectors, View, as_arrays, draw_order, pack_views, views

#: Candidates of the first pass that are tried, one after another, until the recall is large enough; then all entries.
CANDIDATES = (25, 50, 100, 200, 400)
# Candidates by bytes of which the exact distance is computed, beside those that are wanted.
_SPARE = 2
# The same for the sample by which the recall is measured.
_MORE = 10

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What a search found.

    Attributes:
        distances: (q, top) ascending; ties by index.
        indices: (q, top) of the models.
        recall: of the search, by exact distances; None where all entries were compared.
    """

    distances: Floats
    indices: Rows
    recall: Recall | None = None


def nearest_vectors(
    models: ByteVectors,
    queries: ByteVectors | None = None,
    top: int = 10,
    *,
    candidates: int | None = None,
    first_query: int = -1,
    blocks: BlockRunner | None = None,
) -> Neighbours:
    """The nearest of many models by their bytes.

    Args:
        models: m vectors.
        queries: of the same order of entries; None: every model, itself left out.
        top: number of neighbours.
        candidates: number of models of the first pass, over the subset, that the second ranks by all entries; None: one
            pass over all entries.
        first_query: query q is the model first_query + q and not its own neighbour; negative: it is none of them.
        blocks: runs the first pass in blocks, elsewhere; None: this process, which compares each pair once and not
            twice. The result is the same.

    Returns:
        Distances and indices.

    Raises:
        ValueError: more neighbours than models.
    """
    asked = models if queries is None else queries
    available = len(models) - (queries is None or first_query >= 0)
    if not 1 <= top <= available:
        raise ValueError(f"top must be within 1 … {available} (the models to choose from), got {top}")
    two_passes = candidates is not None and candidates < available and models.tail.shape[1] > 0
    first = max(candidates or 0, top) if two_passes else top
    keys = _sweep(models, queries, first_query, first, head_only=two_passes, blocks=blocks)
    if two_passes:
        chosen = np.ascontiguousarray(_indices(keys))
        keys = np.empty((len(asked), top), np.uint64)
        _backend.compiled().rank_bytes_cpu(
            *(models.parts(), asked.parts(), chosen.ctypes.data, first, top, *_how(), keys.ctypes.data)
        )
    return Neighbours(models.distances(keys >> np.uint64(32)), _indices(keys))


class Sample:
    """Random models, searched by all entries, by which the recall of other searches is measured.

    Args:
        models: the models.
        top: number of neighbours.
        seed: of the sample; None: the system's entropy.
    """

    def __init__(self, models: ByteVectors, top: int, seed: int | None = None) -> None:
        generator = np.random.default_rng(seed)
        self.rows = generator.permutation(len(models))[:TRIALS]
        self.drawn = generator.integers(top, size=len(self.rows))
        self._models, self._top = models, top
        self._queries = models.take(self.rows)
        self.near = self._search(min(top + _MORE, len(models) - 1), None)

    def _search(self, top: int, candidates: int | None) -> Neighbours:
        more = None if candidates is None else candidates + 1
        return _without_itself(nearest_vectors(self._models, self._queries, top + 1, candidates=more), self.rows)

    def choose_candidates(self) -> int | None:
        """The number of candidates with which at least 99 % of the nearest are found, by their bytes; None: all."""
        for candidates in CANDIDATES:
            if candidates * 4 > len(self._models):
                break
            if self.recall(self._search(self._top, candidates), candidates, self.near).lower >= MIN_RECALL:
                return candidates
        return None

    def recall(self, found: Neighbours, candidates: int | None, truth: Neighbours) -> Recall:
        """The recall of what a search found for the sampled models, given all of their neighbours."""
        hits = count_found(found.distances, found.indices, truth.distances, truth.indices, self.drawn)
        return Recall(hits, len(self.rows), candidates, 1 - (1 - CONFIDENCE) / len(CANDIDATES))


def nearest_by_subset(
    models: Sequence[Any],
    queries: Sequence[Any] | None = None,
    top: int = 10,
    *,
    metric: VectorMetric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    seed: int | None = None,
    blocks: BlockRunner | None = None,
) -> Neighbours:
    """The nearest of very many models, with exact distances; some of the far ones may be missed.

    A first pass over 512 secret random correlations, in steps of 1/127.5, finds candidates; a second ranks them by all
    correlations, and exact distances order the nearest of these. How many of the true neighbours are found is measured
    in this run: 1,000 random models are searched with all correlations too, and candidates are added until the lower
    limit of the recall (Clopper–Pearson, 95 %) is at least 99 %, else all correlations are compared for every model.
    Queries that are not the models are few: they are compared by all correlations at once.

    Args:
        models: m outputs (n, k_i), arrays or tensors.
        queries: likewise; None: every model, itself left out.
        top: number of neighbours.
        metric: "cosine", "pearson" or "rbf".
        sigma: of rbf.
        seed: of the subset and the sample; None: the system's entropy, as it must be for untrusted models.
        blocks: see `nearest_vectors`; `sac_fast.neighbours.ray_blocks.RayBlocks` for a cluster.

    Returns:
        Distances, indices and recall.

    Raises:
        TypeError, ValueError: unusable outputs, or more neighbours than models.
    """
    arrays = as_arrays("models", models)
    asked = None if queries is None else as_arrays("queries", queries)
    if asked is not None and asked[0].shape[0] != arrays[0].shape[0]:
        raise ValueError(f"queries must have {arrays[0].shape[0]} rows like the models, got {asked[0].shape[0]}")
    available = len(arrays) - (asked is None)
    if not 1 <= top <= available:
        raise ValueError(f"top must be within 1 … {available} (the models to choose from), got {top}")
    order = draw_order(arrays[0].shape[0], metric, seed)
    n, rows, asked_rows = arrays[0].shape[0], views(arrays), None if asked is None else views(asked)
    vectors = pack_views(n, rows, order, metric, sigma)
    packed = None if asked_rows is None else pack_views(n, asked_rows, order, metric, sigma)

    def search(candidates: int | None) -> Neighbours:
        wide = nearest_vectors(vectors, packed, min(top + _SPARE, available), candidates=candidates, blocks=blocks)
        distances = exact_distances(rows, asked_rows, wide.indices, metric=metric, sigma=sigma)
        return _ranked(distances, wide.indices, top)

    if asked is not None:  # few queries: all entries of all models are soon compared
        return search(None)
    sample = Sample(vectors, top, seed)
    candidates = sample.choose_candidates()
    found = search(candidates)
    if candidates is None:
        return found
    of_sample = [rows[row] for row in sample.rows]
    used, places = np.unique(sample.near.indices, return_inverse=True)
    places = places.reshape(sample.near.indices.shape)
    distances = exact_distances([rows[row] for row in used], of_sample, places, metric=metric, sigma=sigma)
    truth = _ranked(distances, sample.near.indices, top)
    found_of_sample = Neighbours(found.distances[sample.rows], found.indices[sample.rows])
    recall = sample.recall(found_of_sample, candidates, truth)
    return dataclasses.replace(found, recall=recall) if recall.lower >= MIN_RECALL else search(None)


def _ranked(distances: Floats, indices: Rows, top: int) -> Neighbours:
    order = np.lexsort((indices, distances))[:, :top]
    return Neighbours(np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1))


def exact_distances(
    models: Sequence[View],
    queries: Sequence[View] | None,
    candidates: Rows,
    *,
    metric: VectorMetric = "cosine",
    sigma: float = DEFAULT_SIGMA,
) -> Floats:
    """Distances (q, c) of the `views` of queries to their candidates (q, c), as `correlation_distance` defines them."""
    if queries is not None:
        offsets = np.arange(len(candidates) + 1, dtype=np.int64) * candidates.shape[1]
        flat = distances_of_pairs(models, queries, offsets, np.ascontiguousarray(candidates).ravel(), metric, sigma)
        return flat.reshape(candidates.shape)
    rows = np.repeat(np.arange(len(candidates)), candidates.shape[1])
    found = distances_between(models, rows, candidates.ravel(), metric=metric, sigma=sigma)
    return found.reshape(candidates.shape)


def distances_between(
    models: Sequence[View],
    first: Rows,
    second: Rows,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
) -> Floats:
    """Distances of models first[i] and second[i]; most neighbours are mutual, and each pair is computed once."""
    pairs = np.minimum(first, second) * len(models) + np.maximum(first, second)
    different, places = np.unique(pairs, return_inverse=True)
    rows, others = np.divmod(different, len(models))
    offsets = np.searchsorted(rows, np.arange(len(models) + 1)).astype(np.int64)
    return distances_of_pairs(models, None, offsets, others, metric, sigma)[places.ravel()]


def distances_from(
    source: View, models: Sequence[View], *, metric: VectorMetric = "cosine", sigma: float = DEFAULT_SIGMA
) -> Floats:
    """Distances of one model to others: `sac_fast.correlation_distances` without torch and its checks."""
    distances = np.empty(len(models))
    _backend.compiled().correlation_distances_cpu(
        *(source, list(models), metric, sigma, *_how(), distances.ctypes.data),
    )
    return distances


def distances_of_pairs(
    models: Sequence[View],
    queries: Sequence[View] | None,
    offsets: Rows,
    candidates: Rows,
    metric: str,
    sigma: float,
) -> Floats:
    """Distances of query q to candidates[offsets[q] : offsets[q + 1]]."""
    distances = np.empty(len(candidates))
    _backend.compiled().candidate_distances_cpu(
        *(models, queries or [], metric, sigma, offsets.ctypes.data, candidates.ctypes.data),
        *(*_how(), distances.ctypes.data),
    )
    return distances


def _sweep(
    models: ByteVectors,
    queries: ByteVectors | None,
    first_query: int,
    top: int,
    *,
    head_only: bool,
    blocks: BlockRunner | None,
) -> NDArray[np.uint64]:
    if blocks is not None:
        if head_only:
            models, queries = models.heads(), None if queries is None else queries.heads()
        return nearest_in_blocks(blocks, models, queries, first_query, top)
    keys = np.empty((len(models if queries is None else queries), top), np.uint64)
    asked = [] if queries is None else queries.parts(head_only)
    _backend.compiled().nearest_bytes_cpu(models.parts(head_only), asked, first_query, top, *_how(), keys.ctypes.data)
    return keys


def _indices(keys: NDArray[np.uint64]) -> Rows:
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _without_itself(found: Neighbours, rows: Rows) -> Neighbours:
    """The neighbours of queries that are models, without these; of copies one is left out where it is not there."""
    is_itself = found.indices == rows[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True
    keep = ~is_itself
    shape = (len(rows), found.indices.shape[1] - 1)
    return Neighbours(found.distances[keep].reshape(shape), found.indices[keep].reshape(shape))


def _how() -> tuple[int, str]:
    return _backend.cpu_threads(), _backend.cpu_instruction_set()
