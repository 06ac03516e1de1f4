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
    """The vectors of one probe set, mapped, not read.

    Attributes:
        digests: (m,) of the results, 32 bytes each.
        vectors: (m, …) their correlations.
        near: (m, 16) keys of the nearest rows; None where there are none.
        as_they_are: whether all outputs are compared as they are.
    """

    digests: Digests
    vectors: ByteVectors
    near: NDArray[np.uint64] | None
    as_they_are: bool

    def nearest(self, row: int, top: int, dead: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest rows of one: from its list, else by a sweep.

        Args:
            row: whose neighbours are wanted.
            top: number of neighbours.
            dead: (m,) rows that are left out.

        Returns:
            Rows and distances in steps of a byte.
        """
        if self.near is not None:
            keys = self.near[row]
            keys = keys[keys != _NOBODY]
            if len(keys) and int((keys & _ROW).max()) >= len(dead):
                raise ValueError("lists must name rows that there are")
            keys = keys[~dead[(keys & _ROW).astype(np.int64)]]
            if len(keys) >= top:
                rows = (keys[:top] & _ROW).astype(np.int64)
                return rows, self.vectors.distances(keys[:top] >> np.uint64(32))
        wanted = min(top + int(dead.sum()), len(self.vectors) - 1)
        query = self.vectors.take(np.array([row]))
        found = nearest_vectors(self.vectors, query, wanted, candidates=max(_CANDIDATES, 2 * wanted), first_query=row)
        alive = ~dead[found.indices[0]]
        return found.indices[0][alive][:top], found.distances[0][alive][:top]


def open_vectors(store: ModelStore, probe_hash: str) -> StoreVectors | None:
    """The vectors of a store's probe set; None where there are none.

    Raises:
        StoreError: they are damaged.
    """
    try:
        with VectorFolder(store.files.root, probe_hash) as folder:
            found = folder.describe()
            return None if found is None or not found.rows else _mapped(folder, found)
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
            old = None if found is None else _mapped(folder, found)
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
            order = old.vectors.order
        before = found.rows
        counts = store.rows(
            "SELECT DISTINCT r.n FROM models m JOIN results r ON r.digest = m.digest WHERE m.probe_hash = ?", probe_hash
        )
        if counts != [(found.n,)]:
            return 0  # outputs for different numbers of probes are not compared
        for start in track(range(0, len(new), _PACKED), "packing vectors", enabled=progress):
            found = _append(store, folder, found, order, new[start : start + _PACKED], names, probe_hash)
        if found.rows > 1 and found.as_they_are:
            now = _mapped(folder, found)
            folder.write_lists(found, _lists(now.vectors, None if old is None else old.near, before))
        folder.write("vectors.json", found.to_json())
        folder.clean(keep=("vectors.json", found.near))
        return len(new)


def _mapped(folder: VectorFolder, found: Description) -> StoreVectors:
    head, tail, digests = (folder.map(name, found.rows, size) for name, size in found.row_bytes.items())
    near = None
    if found.near is not None:
        near = folder.map(found.near, found.rows, NEAR * 8).view("<u8")
    vectors = ByteVectors(found.n, folder.order(found.n), head, tail)
    return StoreVectors(digests.view("V32").ravel().astype("V32"), vectors, near, found.as_they_are)


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
