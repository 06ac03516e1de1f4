"""All pairs of very many models in blocks: each can be computed anywhere and more than once, in any order.

A block is some queries against some models. Its result is a list of keys for each query, or the pairs within a limit;
both are merged to the same bits that one sweep gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _backend
from .vectors import ByteVectors

#: Queries and models of a block: seconds of one core, and little to send.
BLOCK_ROWS = 16_384
_NOBODY = np.uint64(0xFFFFFFFFFFFFFFFF)
_ROW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Block:
    """Part `queries` of the queries against part `models` of the models.

    Attributes:
        queries, models: numbers of the parts.
        top: how many keys of each query are wanted; 0: the pairs within the limit.
        limit: of pairs.
    """

    queries: int
    models: int
    top: int = 0
    limit: int = 0


class BlockRunner(Protocol):
    """Computes blocks: `RayBlocks`, or anything else that calls `compute_block`."""

    def run(
        self, models: Sequence[ByteVectors], queries: Sequence[ByteVectors], blocks: Iterable[Block]
    ) -> Iterator[tuple[Block, bytes]]:
        """Results of `compute_block` in any order, each at least once."""


def compute_block(models: ByteVectors, queries: ByteVectors, block: Block, threads: int = 1) -> bytes:
    """The result of a block: keys (q, top) uint64, ``sum << 32 | row``, or pairs (p, 3) int64, query, model and sum."""
    asked, instructions = queries.parts(), _backend.cpu_instruction_set()
    if not block.top:
        found: bytes = _backend.compiled().within_bytes_cpu(
            models.parts(), asked, 0, len(queries), block.limit, threads, instructions
        )
        return found
    keys = np.empty((len(queries), block.top), np.uint64)
    _backend.compiled().nearest_bytes_cpu(models.parts(), asked, -1, block.top, threads, instructions, keys.ctypes.data)
    return keys.tobytes()


def nearest_in_blocks(
    runner: BlockRunner,
    models: ByteVectors,
    queries: ByteVectors | None,
    first_query: int,
    top: int,
    *,
    rows: int = BLOCK_ROWS,
) -> NDArray[np.uint64]:
    """The keys (q, top) of the nearest, as the kernel gives them for all at once.

    Args:
        runner: computes the blocks.
        models, queries, first_query, top: see `sac_fast.neighbours.search.nearest_vectors`.
        rows: of a block's side.
    """
    if queries is None:
        queries, first_query = models, 0
    right, left = _parts(models, rows), _parts(queries, rows)
    best = np.full((len(queries), top), _NOBODY)
    # One more where a query may be its own neighbour, which is left out here.
    more = top + (first_query >= 0)
    blocks = [Block(q, m, min(more, len(right[m]))) for q in range(len(left)) for m in range(len(right))]
    done: set[Block] = set()
    for block, data in runner.run(right, left, blocks):
        if block in done:
            continue
        done.add(block)
        lines = slice(block.queries * rows, block.queries * rows + len(left[block.queries]))
        keys = np.frombuffer(data, np.uint64).reshape(-1, block.top) + np.uint64(block.models * rows)
        if first_query >= 0:
            itself = np.arange(first_query + lines.start, first_query + lines.stop, dtype=np.uint64)
            keys[keys & _ROW == itself[:, None]] = _NOBODY
        best[lines] = np.sort(np.concatenate([best[lines], keys], axis=1), axis=1)[:, :top]
    _check_all(done, blocks)
    return best


def pairs_in_blocks(
    runner: BlockRunner, models: ByteVectors, queries: ByteVectors | None, limit: int, *, rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Pairs within a limit as `sac_fast.neighbours.within.pairs_within` gives them, some queries at a time.

    Yields:
        First and last + 1 of the queries, in order, and their pairs (p, 3): query, model, sum.
    """
    right = _parts(models, rows)
    left = right if queries is None else _parts(queries, rows)
    blocks = [Block(q, m, 0, limit) for q in range(len(left)) for m in range(q if queries is None else 0, len(right))]
    missing = {q: {block for block in blocks if block.queries == q} for q in range(len(left))}
    found: dict[int, list[NDArray[np.int64]]] = {q: [] for q in missing}
    following = 0
    for block, data in runner.run(right, left, blocks):
        if block not in missing[block.queries]:
            continue
        missing[block.queries].remove(block)
        start = np.array([block.queries * rows, block.models * rows, 0])
        pairs = np.frombuffer(data, np.int64).reshape(-1, 3) + start
        found[block.queries].append(pairs if queries is not None else pairs[pairs[:, 0] < pairs[:, 1]])
        while following < len(left) and not missing[following]:
            joined = np.concatenate(found.pop(following))
            first = following * rows
            yield first, first + len(left[following]), joined[np.lexsort((joined[:, 1], joined[:, 0]))]
            following += 1
    _check_all({block for block in blocks if block not in missing[block.queries]}, blocks)


def _parts(vectors: ByteVectors, rows: int) -> list[ByteVectors]:
    return [vectors[start : start + rows] for start in range(0, len(vectors), rows)]


def _check_all(done: set[Block], blocks: Sequence[Block]) -> None:
    if len(done) != len(blocks):
        raise RuntimeError(f"a runner must return all {len(blocks):,} blocks, got {len(done):,}")
