"""Packed vectors of a store's models and the lists of their neighbours: searches that open no outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.progress import track
from ..neighbours.search import Sample, nearest_vectors
from ..neighbours.vectors import STEPS, ByteVectors, draw_order, pack_vectors
from .stored_rows import StoredRows
from .vector_files import MAX_PROBES, METRIC, NEAR, Description, VectorFolder, damaged_vectors

if TYPE_CHECKING:
    from .store import ModelStore

_PACKED = 4_096  # models that are packed at a time
# Additions of a larger share of the models make all lists anew.
_MAX_ADDED = 0.2
# Candidates of one query: its sweep over the subset takes far longer than ranking them.
_CANDIDATES = 1_000
# Outputs that are no logits or the like are brought to a form before they are compared.
_AS_THEY_ARE = ("logits", "similarities", "embeddings")

_ROW = np.uint64(0xFFFFFFFF)
_NOBODY = np.uint64(0xFFFFFFFFFFFFFFFF)  # ends a list of fewer

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

    def whole(self, folder: int) -> ByteVectors:
        """All rows, in memory; ``folder``: see `StoredRows.whole`."""
        return ByteVectors(self.n, self.order, self.head.whole(folder), self.tail.whole(folder))

    def lists(self, first: int, last: int) -> NDArray[np.uint64] | None:
        """The keys of the nearest rows of rows first … last - 1, and `_NOBODY` at their ends; None: there are none."""
        return None if self.near is None else self.near.read(first, last).view("<u8")

    def nearest(self, row: int, top: int, dead: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest rows of one: from its list, else by a sweep.

        Args:
            row: whose neighbours are wanted.
            top: number of neighbours.
            dead: (m,) rows that are left out.

        Returns:
            Rows and distances in steps of a byte.

        Raises:
            ValueError: the files are damaged.
        """
        if (lists := self.lists(row, row + 1)) is not None:
            keys = lists[0]
            keys = keys[keys != _NOBODY]
            if len(keys) and int((keys & _ROW).max()) >= len(dead):
                raise ValueError("lists must name rows that there are")
            keys = keys[~dead[(keys & _ROW).astype(np.int64)]]
            if len(keys) >= top:
                rows = (keys[:top] & _ROW).astype(np.int64)
                return rows, self._distances(keys[:top] >> np.uint64(32))
        wanted = min(top + int(dead.sum()), len(self) - 1)
        rows, distances = self._swept(row, wanted)
        alive = ~dead[rows]
        return rows[alive][:top], distances[alive][:top]

    def _distances(self, sums: NDArray[np.uint64]) -> NDArray[np.float64]:
        return sums.astype(np.float64) * (2 / self.n**2 / STEPS)

    def _swept(self, row: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest of one row by all entries, among those that are nearest in the subset."""
        query = self.take(np.array([row]))
        head = self._head_only(query.head)
        rows, distances = np.empty(0, np.int64), np.empty(0)
        most = max(_CANDIDATES, 2 * wanted)
        for first, block in self.head.blocks():
            inside = first <= row < first + len(block)
            count = min(most, len(block) - inside)
            if not count:
                continue
            found = nearest_vectors(self._head_only(block), head, count, first_query=row - first if inside else -1)
            rows = np.concatenate([rows, found.indices[0] + first])
            distances = np.concatenate([distances, found.distances[0]])
            best = np.lexsort((rows, distances))[:most]
            rows, distances = rows[best], distances[best]
        rows = np.sort(rows)  # ties by row
        ranked = nearest_vectors(self.take(rows), query, wanted)
        return rows[ranked.indices[0]], ranked.distances[0]

    def _head_only(self, rows: NDArray[np.uint8]) -> ByteVectors:
        return ByteVectors(self.n, self.order, rows, np.empty((len(rows), 0), np.uint8))


def open_vectors(store: ModelStore, probe_hash: str) -> StoreVectors | None:
    """The vectors of a store's probe set; None where there are none.

    Raises:
        StoreError: they are damaged.
    """
    try:
        with VectorFolder(store.files.root, probe_hash) as folder:
            found = folder.describe()
            return None if found is None or not found.rows else _opened(folder, found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged_vectors(store.folder, error) from error


def update_vectors(store: ModelStore, probe_hash: str, *, rebuild: bool = False, progress: bool = False) -> int:
    """Add the results that have no vectors yet, and the lists of their neighbours.

    Only new models are swept: they against all, and all against them. Where they are many, all lists are made by one
    sweep over a subset, whose recall is measured (see `sac_fast.neighbours.search.Sample`).

    Args:
        store: open for writing.
        probe_hash: of the probe set.
        rebuild: begin anew, in another secret order.
        progress: bars on stderr.

    Returns:
        The number of added rows.

    Raises:
        StoreError: the disk is full or fails, or outputs are missing or damaged.
    """
    with store.writing(), VectorFolder(store.files.root, probe_hash, create=True) as folder:
        found, old = None, None
        with contextlib.suppress(ValueError, FileNotFoundError):  # damaged vectors are made anew
            found = None if rebuild else folder.describe()
            old = None if found is None else _opened(folder, found)
        known = set() if old is None else set(old.digests.tolist())
        names = {
            bytes.fromhex(digest): name
            for name, digest in store.rows(
                "SELECT name, digest FROM models WHERE probe_hash = ? AND status = 'done' ORDER BY name", probe_hash
            )
        }
        if old is not None and len(known) - len(known & names.keys()) > len(known) // 4:
            found, old, known = None, None, set()  # most of them have been removed
        new = [digest for digest in names if digest not in known]
        if not new:
            return 0
        if found is None or old is None:
            folder.clean()
            first = store.record_for(names[new[0]], probe_hash)
            if first is None or first.n is None or not 2 <= first.n <= MAX_PROBES:
                return 0
            found = Description(first.n)
            order = draw_order(first.n, METRIC)
            folder.write("order.i32", order.astype("<i4").data.cast("B"))
        else:
            order = old.order
        before = found.rows
        counts = store.rows(
            "SELECT DISTINCT r.n FROM models m JOIN results r ON r.digest = m.digest WHERE m.probe_hash = ?", probe_hash
        )
        if counts != [(found.n,)]:
            return 0  # outputs for different numbers of probes are not compared
        for start in track(range(0, len(new), _PACKED), "packing vectors", enabled=progress):
            found = _append(store, folder, found, order, new[start : start + _PACKED], names, probe_hash)
        if found.rows > 1 and found.as_they_are:
            try:
                now = _opened(folder, found).whole(store.files.root)
            except ValueError as error:
                raise damaged_vectors(store.folder, error) from error
            folder.write_lists(found, _lists(now, None if old is None else old.lists(0, before), before))
        folder.write("vectors.json", found.to_json())
        folder.clean(keep=("vectors.json", found.near))
        return len(new)


def _opened(folder: VectorFolder, found: Description) -> StoreVectors:
    head, tail, digests = (folder.rows(name, found.rows, size) for name, size in found.row_bytes.items())
    near = None if found.near is None else folder.rows(found.near, found.rows, NEAR * 8)
    known = digests.read(0, found.rows).view("V32").ravel()
    return StoreVectors(found.n, folder.order(found.n), known, head, tail, near, found.as_they_are)


def _append(
    store: ModelStore,
    folder: VectorFolder,
    found: Description,
    order: NDArray[np.int32],
    digests: Sequence[bytes],
    names: dict[bytes, str],
    probe_hash: str,
) -> Description:
    from ..models.common_form import formed  # needs torch, as every scan has it

    records = store.records_for([names[digest] for digest in digests], probe_hash)
    outputs: list[NDArray[Any]] = []
    for digest in digests:
        outputs.append(store.output_array(records[names[digest]]))
    if found.as_they_are:
        import torch

        found.as_they_are = all(
            one.shape[1] > 1 and formed(torch.from_numpy(one)).form in _AS_THEY_ARE for one in outputs
        )
    packed = pack_vectors(outputs, order, metric=METRIC)
    parts = {
        "head.u8": packed.head,
        "tail.u8": packed.tail,
        "digests.bin": np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1),
    }
    return folder.append(found, parts)


def _lists(vectors: ByteVectors, old: NDArray[np.uint64] | None, before: int) -> NDArray[np.uint64]:
    """Keys (m, 16) of the nearest of every row; the largest key where there are fewer."""
    count = len(vectors)
    lists = np.full((count, NEAR), _NOBODY)
    if old is None or count - before > _MAX_ADDED * count:
        top = min(NEAR, count - 1)
        found = nearest_vectors(vectors, None, top, candidates=Sample(vectors, top).choose_candidates())
        lists[:, :top] = _keys(vectors, found.distances, found.indices)
        return lists
    added = vectors[before:]
    top = min(NEAR, count - 1)
    found = nearest_vectors(vectors, added, top, first_query=before)
    lists[before:, :top] = _keys(vectors, found.distances, found.indices)
    top = min(NEAR, count - before)
    found = nearest_vectors(added, vectors[:before], top)
    joined = np.concatenate([old, _keys(vectors, found.distances, found.indices + before)], axis=1)
    lists[:before] = np.sort(joined, axis=1)[:, :NEAR]
    return lists


def _keys(vectors: ByteVectors, distances: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    sums = np.rint(distances * (vectors.n**2 * STEPS / 2)).astype(np.uint64)
    keys: NDArray[np.uint64] = sums << np.uint64(32) | rows.astype(np.uint64)
    return keys


def remove_vectors(store: ModelStore, probe_hash: str) -> None:
    """Delete the vectors of a probe set."""
    with contextlib.suppress(FileNotFoundError), VectorFolder(store.files.root, probe_hash) as folder:
        folder.clean()
        os.fsync(folder.descriptor)
