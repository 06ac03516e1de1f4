"""Packed vectors of a store's models and the lists of their neighbours: searches that open no outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.progress import track
from ..models.plain_forms import is_plain
from ..neighbours.blocks import BlockRunner
from ..neighbours.vectors import draw_order, pack_vectors
from .neighbour_lists import make_lists
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
from .vector_search import StoreVectors

if TYPE_CHECKING:
    from .store import ModelStore

_PACKED = 4_096  # models that are packed at a time
# Smaller stores are searched at once without them.
_MIN_PACKED = 1_000
# Outputs that are no logits or the like are brought to a form before they are compared.
_AS_THEY_ARE = ("logits", "similarities", "embeddings")


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


def keep_vectors(store: ModelStore, probe_hash: str, *, has_new: bool) -> None:
    """Add vectors that are missing, in stores that are so large that it saves time.

    Args:
        store: open for writing.
        probe_hash: of the probe set.
        has_new: whether models were added since; else that is told by their number.
    """
    # By the order of the index: ten times as fast as by the rows.
    sql = "SELECT count(DISTINCT digest) FROM models INDEXED BY models_of_result WHERE probe_hash = ?"
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


def update_vectors(
    store: ModelStore,
    probe_hash: str,
    *,
    rebuild: bool = False,
    progress: bool = False,
    blocks: BlockRunner | None = None,
) -> int:
    """Add the results that have no vectors yet, and the lists of their neighbours.

    Only new models are swept: they against all, and all against them. Where they are many, all lists are made by one
    sweep over a subset, whose recall is measured (see `sac_fast.neighbours.search.Sample`).

    Args:
        store: open for writing.
        probe_hash: of the probe set.
        rebuild: begin anew, in another secret order.
        progress: bars on stderr.
        blocks: runs the sweeps in blocks, as `sac_fast.neighbours.ray_blocks.RayBlocks` does; None: this process.

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
            folder.write_lists(found, make_lists(now, None if old is None else old.lists(), found, blocks))
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
    if is_plain(outputs):
        return True
    import torch  # where the rows have to be looked at closely

    from ..models.common_form import formed

    return formed(torch.from_numpy(outputs)).form in _AS_THEY_ARE


def remove_vectors(store: ModelStore, probe_hash: str) -> None:
    """Delete the vectors of a probe set."""
    with contextlib.suppress(FileNotFoundError), VectorFolder(store.files.root, probe_hash) as folder:
        folder.clean()
        os.fsync(folder.descriptor)
