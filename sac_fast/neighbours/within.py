"""`neighbours_within`: all pairs of models up to a distance, as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _backend
from ..io.choices import VectorMetric
from .blocks import BlockRunner, pairs_in_blocks
from .search import distances_of_pairs, nearest_vectors
from .vectors import DEFAULT_SIGMA, STEPS, ByteVectors, as_arrays, draw_order, pack_views, views

_BLOCK = 4_096  # queries between two results
_SAMPLE = 256  # models by whose distances a radius is chosen

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairsWithin:
    """Pairs up to a distance: query `queries[i]` and model `models[i]` are `distances[i]` apart."""

    queries: Rows
    models: Rows
    distances: NDArray[np.float64]


def neighbours_within(
    models: Sequence[Any],
    radius: float | None = None,
    queries: Sequence[Any] | None = None,
    *,
    metric: VectorMetric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    blocks: BlockRunner | None = None,
) -> Iterator[PairsWithin]:
    """All pairs of models with ``d ≤ radius``, exactly, a block of queries at a time.

    The sums of a pair's correlations only grow, so a pair is left as soon as it is over the radius; the correlations
    are taken in a random order, so unrelated models are left early. Work grows with radius / distance.

    Args:
        models: m outputs (n, k_i), arrays or tensors of float16, float32 or float64.
        radius: largest distance; None: one within which a model has one other on average (`choose_radius`).
        queries: likewise; None: all pairs of models, each once, as query < model.
        metric: "cosine", "pearson" or "rbf".
        sigma: of rbf, see `sac_fast.correlation_distance`.
        blocks: compares the correlations in blocks, elsewhere: `sac_fast.neighbours.ray_blocks.RayBlocks` on a Ray
            cluster; None: this process. The pairs are the same.

    Yields:
        Pairs with their distances, by query, then model; blocks without pairs are left out.

    Raises:
        TypeError, ValueError: unusable outputs, or a radius that is negative or not finite.

    Example::

        >>> import torch
        >>> from sac_fast import neighbours_within
        >>> a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.ones(2, 3)
        >>> [(pairs.queries.tolist(), pairs.models.tolist()) for pairs in neighbours_within([a, b, b], 0.1)]
        [([1], [2])]
    """
    if radius is not None and not (np.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius must be a finite number of at least 0, got {radius!r}")
    arrays = as_arrays("models", models)
    asked = None if queries is None else as_arrays("queries", queries)
    if asked is not None and asked[0].shape[0] != arrays[0].shape[0]:
        raise ValueError(f"queries must have {arrays[0].shape[0]} rows like the models, got {asked[0].shape[0]}")
    if metric not in ("cosine", "pearson", "rbf"):
        raise ValueError(f"metric must be one of cosine, pearson, rbf, got {metric!r}")
    order = draw_order(arrays[0].shape[0], metric)
    n = arrays[0].shape[0]
    vectors = pack_views(n, views(arrays), order, metric, sigma)
    packed = None if asked is None else pack_views(n, views(asked), order, metric, sigma)
    limit = choose_radius(vectors) if radius is None else float(radius)
    return _stream(arrays, asked, vectors, packed, limit, metric, sigma, blocks)


def choose_radius(models: ByteVectors, seed: int | None = None) -> float:
    """A radius within which a model has one other model on average.

    It is the distance within which the models of a random sample have one neighbour each on average, whatever they are:
    at most one false pair a model is expected.

    Args:
        models: m ≥ 2 vectors.
        seed: of the sample; None: the system's entropy.
    """
    rows = np.random.default_rng(seed).permutation(len(models))[:_SAMPLE]
    top = min(len(rows) + 1, len(models))  # itself among them
    found = nearest_vectors(models, models.take(rows), top)
    others = np.sort(found.distances[found.indices != rows[:, None]], axis=None)
    return float(others[len(rows) - 1])


def pairs_within(
    models: ByteVectors, limit: int, queries: ByteVectors | None = None, first: int = 0, last: int | None = None
) -> NDArray[np.int64]:
    """Pairs of queries first … last − 1 and models with a sum of steps up to the limit: (p, 3) query, model, sum."""
    end = len(models if queries is None else queries) if last is None else last
    threads, instructions = _backend.cpu_threads(), _backend.cpu_instruction_set()
    found = _backend.compiled().within_bytes_cpu(
        models.parts(), [] if queries is None else queries.parts(), first, end, limit, threads, instructions
    )
    return np.frombuffer(found, np.int64).reshape(-1, 3)


def steps_within(radius: float, n: int, entries: int) -> int:
    """The largest sum of steps that a pair within the radius can have: each entry is rounded by half a step at most."""
    return int(radius * n**2 / 2 * STEPS) + entries + 1


def _here(models: ByteVectors, queries: ByteVectors | None, limit: int) -> Iterator[tuple[int, int, Rows]]:
    count = len(models if queries is None else queries)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        yield start, end, pairs_within(models, limit, queries, start, end)


def _stream(
    arrays: list[NDArray[Any]],
    asked: list[NDArray[Any]] | None,
    vectors: ByteVectors,
    packed: ByteVectors | None,
    radius: float,
    metric: str,
    sigma: float,
    blocks: BlockRunner | None,
) -> Iterator[PairsWithin]:
    left = arrays if asked is None else asked
    limit = steps_within(radius, vectors.n, len(vectors.order))
    candidates = _here(vectors, packed, limit) if blocks is None else pairs_in_blocks(blocks, vectors, packed, limit)
    for start, end, pairs in candidates:
        if not len(pairs):
            continue
        # Only the models that are candidates are read again.
        used, places = np.unique(pairs[:, 1], return_inverse=True)
        offsets = np.searchsorted(pairs[:, 0], np.arange(start, end + 1)).astype(np.int64)
        distances = distances_of_pairs(
            *(views([arrays[row] for row in used]), views(left[start:end]), offsets),
            *(places.astype(np.int64).ravel(), metric, sigma),
        )
        near = distances <= radius
        if near.any():
            yield PairsWithin(pairs[near, 0], pairs[near, 1], distances[near])
