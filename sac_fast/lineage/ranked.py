"""The nearest of a few models of a store by its packed vectors: a ranking, where there is no evidence to be weighed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..neighbours.search import exact_distances
from ..store.records import ModelRecord
from ..store.store import ModelStore
from ..store.vector_files import METRIC
from ..store.vectors import StoreVectors, open_vectors
from .result import Lineage, Relative

# Neighbours by bytes of which the exact distance is computed, beside those that are wanted.
_SPARE = 6


def rank_from_vectors(
    store: ModelStore,
    probe_hash: str,
    names: Sequence[str],
    top: int,
    evidence_tags: Sequence[str] = (),
    *,
    with_files: bool = True,
) -> Lineage | None:
    """The nearest models of some, with exact distances, opening the outputs of these alone.

    Args:
        store: open for reading.
        probe_hash: of the probe set.
        names: of the models.
        top: number of relatives.
        evidence_tags: models with one of these tags are evidence.
        with_files: whether files of weights are evidence.

    Returns:
        The ranking; None where the store has no vectors of all models, their outputs are of different forms, a name is
        unknown, or there is evidence: then `find_relatives` has more to say.

    Raises:
        StoreError: the vectors or outputs are damaged.
    """
    if with_files:
        evidence_tags = (*evidence_tags, _HAS_FILES)
    vectors = None if _has_evidence(store, probe_hash, evidence_tags) else open_vectors(store, probe_hash)
    if vectors is None or not vectors.as_they_are:
        return None
    known = vectors.digests.tolist()
    rows = store.rows("SELECT digest FROM models WHERE probe_hash = ? AND status = 'done'", probe_hash)
    present = {bytes.fromhex(digest) for (digest,) in rows}
    if not present <= set(known) or len(present) < 2:
        return None
    dead = np.fromiter((digest not in present for digest in known), np.bool_, len(known))
    row_of = {digest: row for row, digest in enumerate(known)}
    relatives: dict[str, tuple[Relative, ...]] = {}
    duplicates: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(names):
        record = store.record_for(name, probe_hash)
        if record is None or record.status != "done":
            return None
        row = row_of[bytes.fromhex(record.key.digest)]
        relatives[name] = _relatives(store, vectors, record, row, min(top, len(present) - 1), dead, duplicates)
    notes = ["ranked by the store's packed vectors; the distances are exact"]
    return Lineage(
        names=tuple(relatives),
        relatives=relatives,
        threshold=None,
        alpha=0.01,
        independents=(),
        attainable_p_value=None,
        groups=(),
        forest=(),
        metric=METRIC,
        notes=tuple(notes),
        duplicates=duplicates,
    )


# Part of a record's details where the model's weights were run, not recorded outputs.
_HAS_FILES = '"preprocessing_hash":"sha256:'


def _has_evidence(store: ModelStore, probe_hash: str, tags: Sequence[str]) -> bool:
    parts = [tag if tag == _HAS_FILES else f'"{tag}"' for tag in tags]
    if not parts:
        return False
    where = " OR ".join(["instr(details, ?)"] * len(parts))
    sql = f"SELECT 1 FROM models WHERE probe_hash = ? AND status = 'done' AND ({where}) LIMIT 1"
    return bool(store.rows(sql, probe_hash, *parts))


def _relatives(
    store: ModelStore,
    vectors: StoreVectors,
    record: ModelRecord,
    row: int,
    top: int,
    dead: NDArray[np.bool_],
    duplicates: dict[str, tuple[str, ...]],
) -> tuple[Relative, ...]:
    """The nearest of one model; other names of the same outputs are added to its duplicates."""
    alive = len(dead) - int(dead.sum())
    try:
        near, _ = vectors.nearest(row, min(top + _SPARE, alive - 1), dead)
    except ValueError as error:
        raise StoreError(f"the packed vectors of {str(store.folder)!r} are damaged: {error}") from error
    mine = store.output_array(record)
    others = [_names_of(store, vectors.digests[other].tobytes(), record.probe_hash) for other in near]
    outputs = [store.output_array(of[0]) for of in others]
    distances = exact_distances(outputs, [mine], np.arange(len(outputs))[None], metric=METRIC)[0]
    same = [r.name for r in _names_of(store, bytes.fromhex(record.key.digest), record.probe_hash) if r != record]
    found = []
    for place in np.lexsort((near, distances)):
        names = [one.name for one in others[place]]
        if outputs[place].shape == mine.shape and np.array_equal(outputs[place], mine):
            same += names
            continue
        found.append(Relative(names[0], float(distances[place]), None, None))
        if len(names) > 1:
            duplicates[names[0]] = tuple(names[1:])
    if same:
        duplicates[record.name] = tuple(same)
    return tuple(found[:top])


def _names_of(store: ModelStore, digest: bytes, probe_hash: str) -> list[ModelRecord]:
    """The records of a result, by name."""
    names = store.rows(
        "SELECT name FROM models WHERE digest = ? AND probe_hash = ? AND status = 'done' ORDER BY name",
        *(digest.hex(), probe_hash),
    )
    records = store.records_for([name for (name,) in names], probe_hash)
    return sorted(records.values(), key=lambda record: record.name)
