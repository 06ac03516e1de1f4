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
from ..neighbours.search import nearest_vectors
from ..neighbours.vectors import ByteVectors, draw_order, pack_vectors
from .neighbour_lists import NOBODY, ROW, make_lists
from .vector_files import (
    DESCRIPTION,
    FOLDER,
    MAX_PROBES,
    METRIC,
    NEAR,
    Description,
    VectorFolder,
    damaged_vectors,
    name_of,
)

if TYPE_CHECKING:
    from .store import ModelStore

_PACKED = 4_096  # models that are packed at a time
# Neighbours by bytes beyond those that are wanted, of which the exact distance is computed.
_SPARE = 6
# Candidates of one query: its sweep over the subset takes far longer than ranking them.
_CANDIDATES = 1_000
# Smaller stores are searched at once without them.
_MIN_PACKED = 1_000
# Outputs that are no logits or the like are brought to a form before they are compared.
_AS_THEY_ARE = ("logits", "similarities", "embeddings")
_FEW_ROWS = 16

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

    def nearest(self, rows: NDArray[np.int64], top: int, dead: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The nearest rows of some by their bytes: from the lists, else by a sweep.

        Args:
            rows: (q,) whose neighbours are wanted.
            top: number of neighbours.
            dead: (m,) rows that are left out.

        Returns:
            (q, top + 6) rows, ascending by distance; the last six, and those that there are not, may be -1.

        Raises:
            ValueError: damaged lists.
        """
        alive = len(dead) - int(dead.sum()) - 1  # without itself
        wanted = min(top + _SPARE, alive)
        found = np.full((len(rows), wanted), -1)
        swept = np.ones(len(rows), np.bool_)
        if self.near is not None:
            keys = self.near[rows]
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
        queries = self.vectors.take(rows)
        for more in (min(int(dead.sum()), _SPARE), int(dead.sum())):
            count = min(wanted + more + 1, len(self.vectors))
            near = nearest_vectors(self.vectors, queries, count, candidates=max(_CANDIDATES, 2 * count))
            is_there = ~dead[near.indices] & (near.indices != rows[:, None])
            if (is_there.sum(axis=1) >= wanted).all():
                break
        return _to_the_left(near.indices, is_there, np.full((len(rows), wanted), -1))


def _to_the_left(values: NDArray[np.int64], kept: NDArray[np.bool_], empty: NDArray[np.int64]) -> NDArray[np.int64]:
    """The kept values of each row in their order, as many as there is room for."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, : empty.shape[1]]
    chosen = np.take_along_axis(values, order, 1)
    empty[:, : order.shape[1]] = np.where(np.take_along_axis(kept, order, 1), chosen, -1)
    return empty


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


def keep_vectors(store: ModelStore, probe_hash: str, *, has_new: bool) -> None:
    """Add vectors that are missing, in stores that are so large that it saves time.

    Args:
        store: open for writing.
        probe_hash: of the probe set.
        has_new: whether models were added since; else that is told by their number.
    """
    sql = "SELECT count(DISTINCT digest) FROM models WHERE probe_hash = ? AND status = 'done'"
    count = store.rows(sql, probe_hash)[0][0]
    if count < _MIN_PACKED:
        return
    rows = 0
    with contextlib.suppress(OSError, ValueError), VectorFolder(store.files.root, probe_hash) as folder:
        found = folder.describe()
        rows = 0 if found is None else found.rows
    if has_new or count > rows:
        update_vectors(store, probe_hash)


def state_of(store: ModelStore, probe_hash: str) -> tuple[int, int] | None:
    """What changes when vectors are added to; None: there are none."""
    with contextlib.suppress(OSError):
        found = os.stat(f"{FOLDER}/{name_of(probe_hash)}/{DESCRIPTION}", dir_fd=store.files.root, follow_symlinks=False)
        return found.st_mtime_ns, found.st_ino
    return None


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
        counts = store.rows(
            "SELECT DISTINCT r.n FROM models m JOIN results r ON r.digest = m.digest WHERE m.probe_hash = ?", probe_hash
        )
        if counts != [(found.n,)]:
            return 0  # outputs for different numbers of probes are not compared
        for start in track(range(0, len(new), _PACKED), "packing vectors", enabled=progress):
            found = _append(store, folder, found, order, new[start : start + _PACKED], names, probe_hash)
        if found.rows > 1 and found.as_they_are:
            now = _mapped(folder, found)
            folder.write_lists(found, make_lists(now.vectors, None if old is None else old.near, found))
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
    records = store.records_for([names[digest] for digest in digests], probe_hash)
    outputs = list(store.output_arrays(records[names[digest]] for digest in digests))
    found.as_they_are = found.as_they_are and all(map(_is_as_it_is, outputs))
    packed = pack_vectors(outputs, order, metric=METRIC)
    parts = {
        "head.u8": packed.head,
        "tail.u8": packed.tail,
        "digests.bin": np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1),
    }
    return folder.append(found, parts)


def _is_as_it_is(outputs: NDArray[Any]) -> bool:
    """Whether outputs are compared without bringing them to a form first."""
    if outputs.shape[1] < 2:
        return False
    first = outputs[:_FEW_ROWS]
    if first.min() < 0 and first.max() > 2:
        return True  # logits, see `detect_output_form`
    import torch  # where the rows have to be looked at closely

    from ..models.common_form import formed

    return formed(torch.from_numpy(outputs)).form in _AS_THEY_ARE


def remove_vectors(store: ModelStore, probe_hash: str) -> None:
    """Delete the vectors of a probe set."""
    with contextlib.suppress(FileNotFoundError), VectorFolder(store.files.root, probe_hash) as folder:
        folder.clean()
        os.fsync(folder.descriptor)
