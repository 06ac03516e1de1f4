"""Blocks of pairs as tasks of a Ray cluster (extra ``ray``).

The vectors go to the cluster once, as bytes without the secret order of their entries; a result is bytes too, whose
size and rows are checked. A task whose node is lost is run again, elsewhere or at last here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError
from ..io.ray_cluster import connect_ray
from .blocks import Block, compute_block
from .vectors import ByteVectors, empty_rows

# Repetitions of a task by Ray where its worker or node was lost, and of the whole task after that.
_MAX_RETRIES = 5
_MAX_ATTEMPTS = 3
# Submitted tasks for each one that the cluster can run at once.
_QUEUE_DEPTH = 2

#: Bytes of head and tail, and the rows and bytes a row of each.
Shapes = tuple[tuple[int, int], tuple[int, int]]


class RayBlocks:
    """Computes blocks on a Ray cluster, a core each; to be closed at the end.

    Args:
        address: ``"host:port"`` or ``"ray://…"``; ``"auto"``: the cluster that is found, else a new one here.

    Raises:
        BackendError: ray is not installed, or there is no cluster at the address or no core in it.
    """

    def __init__(self, address: str = "auto") -> None:
        self._ray, self._owns = connect_ray(address)
        self._task = self._ray.remote(max_retries=_MAX_RETRIES, num_cpus=1)(run_block)
        if self._slots() < 1:
            self.close()
            raise BackendError("the Ray cluster must have a core to run on, got none")

    def _slots(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def run(
        self, models: Sequence[ByteVectors], queries: Sequence[ByteVectors], blocks: Iterable[Block]
    ) -> Iterator[tuple[Block, bytes]]:
        """The results of blocks, in the order in which they end."""
        sent: dict[int, Any] = {}
        waiting = deque((block, 1) for block in blocks)
        running: dict[Any, tuple[Block, int]] = {}

        def send(part: ByteVectors) -> Any:
            if id(part) not in sent:  # the caller's sequences keep the parts alive
                sent[id(part)] = self._ray.put(b"".join(rows.tobytes() for rows in (part.head, part.tail)))
            return sent[id(part)]

        try:
            while waiting or running:
                while waiting and len(running) < max(1, self._slots()) * _QUEUE_DEPTH:
                    block, attempt = waiting.popleft()
                    right, left = models[block.models], queries[block.queries]
                    shapes, values = (_shapes(right), _shapes(left)), (block.top, block.limit)
                    running[self._task.remote(send(right), send(left), shapes, values)] = block, attempt
                ready, _ = self._ray.wait(list(running), num_returns=1, timeout=None)
                for reference in ready:
                    block, attempt = running.pop(reference)
                    try:
                        data = self._ray.get(reference)
                    except self._ray.exceptions.RayError:
                        if attempt < _MAX_ATTEMPTS:
                            waiting.append((block, attempt + 1))
                            continue
                        data = compute_block(models[block.models], queries[block.queries], block)
                    yield block, _checked(data, block, len(models[block.models]), len(queries[block.queries]))
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, or end it if it was started here."""
        if self._owns:
            self._ray.shutdown()


def run_block(models: bytes, queries: bytes, shapes: tuple[Shapes, Shapes], values: tuple[int, int]) -> bytes:
    """The task: `compute_block` on one core.

    Args:
        models, queries: bytes of head and tail, one after another.
        shapes: of both.
        values: the block's ``top`` and ``limit``.
    """
    right, left = (_vectors(data, shape) for data, shape in zip((models, queries), shapes, strict=True))
    return compute_block(right, left, Block(0, 0, *values))


def _shapes(part: ByteVectors) -> Shapes:
    return (len(part.head), part.head.shape[1]), (len(part.tail), part.tail.shape[1])


def _vectors(data: bytes, shapes: Shapes) -> ByteVectors:
    """The vectors again, on the boundaries that the kernels want."""
    parts: list[NDArray[np.uint8]] = []
    start = 0
    for rows, row_bytes in shapes:
        part = empty_rows(rows, row_bytes)
        part[:] = np.frombuffer(data, np.uint8, rows * row_bytes, start).reshape(rows, row_bytes)
        parts.append(part)
        start += part.nbytes
    return ByteVectors(0, np.empty(0, np.int32), *parts)


def _checked(data: Any, block: Block, models: int, queries: int) -> bytes:
    """The result of a task.

    Raises:
        BackendError: it cannot be that of the block.
    """
    is_sound = type(data) is bytes and len(data) % 8 == 0
    if is_sound and block.top:
        keys = np.frombuffer(data, np.uint64)
        is_sound = len(keys) == queries * block.top and bool((keys & np.uint64(0xFFFFFFFF) < models).all())
    elif is_sound:
        pairs = np.frombuffer(data, np.int64)
        is_sound = len(pairs) % 3 == 0 and bool(
            ((pairs.reshape(-1, 3) >= 0) & (pairs.reshape(-1, 3) < [queries, models, block.limit + 1])).all()
        )
    if not is_sound:
        raise BackendError(
            f"a task of the Ray cluster must return the result of its block, got other bytes for {block}"
        )
    found: bytes = data
    return found
