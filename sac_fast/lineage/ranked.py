"""The nearest of some or all models of a store by its packed vectors: a ranking, where there is no other evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..io.progress import track
from ..neighbours.search import distances_between
from ..neighbours.vectors import views
from ..store.records import ModelRecord
from ..store.store import ModelStore
from ..store.vector_files import METRIC
from ..store.vector_search import StoreVectors
from ..store.vectors import open_vectors, state_of
from .result import Edge, Lineage, Relative
from .trees import join

_PAGE = 2_000  # records that are looked up at a time
# Part of a record's details where the model's weights were run, not recorded outputs.
_HAS_FILES = '"preprocessing_hash":"sha256:'

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Known:
    """The vectors of a probe set, and which of their rows are of models that the store still has.

    Attributes:
        stamp: of the state of the database and of the vectors.
        vectors: of all models; None: some have none, or outputs of different forms.
        row_of: by the digest of the result.
        dead: (m,) rows without a model.
    """

    stamp: object
    vectors: StoreVectors | None
    row_of: dict[bytes, int]
    dead: NDArray[np.bool_]


_known: WeakKeyDictionary[ModelStore, dict[tuple[str, tuple[str, ...]], _Known]] = WeakKeyDictionary()


def rank_from_vectors(
    store: ModelStore,
    probe_hash: str,
    names: Sequence[str] | None,
    top: int,
    evidence_tags: Sequence[str] = (),
    *,
    with_files: bool = True,
    progress: bool = False,
) -> Lineage | None:
    """The nearest models of some, with exact distances, opening the outputs of these and their neighbours alone.

    Args:
        store: open for reading.
        probe_hash: of the probe set.
        names: of the models; None: all.
        top: number of relatives.
        evidence_tags: models with one of these tags are evidence.
        with_files: whether files of weights are evidence.
        progress: a bar on stderr.

    Returns:
        The ranking; of several models with equal outputs the first stands for all. None where the store has no vectors
        of all models, their outputs are of different forms, a name is unknown, or there is evidence: then
        `find_relatives` has more to say.

    Raises:
        StoreError: the vectors or outputs are damaged.
    """
    known = _look_up(store, probe_hash, (*evidence_tags, _HAS_FILES) if with_files else tuple(evidence_tags))
    vectors, alive = known.vectors, np.flatnonzero(~known.dead)
    if vectors is None or len(alive) < 2:
        return None
    rows = alive if names is None else _rows_of(store, probe_hash, names, known)
    if rows is None:
        return None
    ranking = _Ranking(store, probe_hash, vectors, known.dead, progress)
    shown = ranking.rank(rows, min(top, len(alive) - 1), set(names or ()))
    if names is None:
        shown = {name: shown[name] for name in sorted(shown)}
    edges = [Edge(name, other, 0.0, "equal") for name, others in ranking.duplicates.items() for other in others]
    everyone = ranking.everyone() if names is None else tuple(shown)
    groups, forest = join(everyone, edges) if names is None else ((), ())
    return Lineage(
        names=everyone,
        relatives=shown,
        threshold=None,
        alpha=0.01,
        independents=(),
        attainable_p_value=None,
        groups=groups,
        forest=forest,
        metric=METRIC,
        notes=("ranked by the store's packed vectors; the distances are exact",),
        duplicates=ranking.duplicates,
    )


class _Ranking:
    """Names, outputs and copies of the rows that a search looks at.

    Args:
        store, probe_hash, vectors: what is searched.
        dead: rows without a model.
        progress: a bar on stderr.
    """

    def __init__(
        self, store: ModelStore, probe_hash: str, vectors: StoreVectors, dead: NDArray[np.bool_], progress: bool
    ) -> None:
        self._store, self._probe_hash, self._progress = store, probe_hash, progress
        self._vectors, self._dead = vectors, dead
        self._names: dict[int, list[str]] = {}
        self.duplicates: dict[str, tuple[str, ...]] = {}

    def rank(self, rows: Rows, top: int, wanted: set[str]) -> dict[str, tuple[Relative, ...]]:
        """The nearest of each row; of those that are near many copies a second time, with more candidates."""
        found: dict[str, tuple[Relative, ...]] = {}
        alive, count = len(self._dead) - int(self._dead.sum()), top
        while len(rows):
            short = []
            for row, name, relatives in self._nearest(rows, count, top, wanted):
                found.setdefault(name, relatives)
                if len(relatives) < top and count < alive - 1:
                    del found[name]
                    short.append(row)
            rows, count = np.array(short, np.int64), min(4 * count, alive - 1)
        return found

    def everyone(self) -> tuple[str, ...]:
        """All names, by name."""
        return tuple(sorted(name for names in self._names.values() for name in names))

    def _nearest(
        self, rows: Rows, count: int, top: int, wanted: set[str]
    ) -> Iterator[tuple[int, str, tuple[Relative, ...]]]:
        try:
            near = self._vectors.nearest(rows, count, self._dead)
        except ValueError as error:
            raise StoreError(f"the packed vectors of {str(self._store.folder)!r} are damaged: {error}") from error
        used = np.union1d(rows, near[near >= 0])
        records = track(self._read_records(used), "reading outputs", len(used), self._progress)
        outputs = list(self._store.output_arrays(records))
        shown = self._shown(used, outputs, wanted)
        is_there = near >= 0
        first = np.repeat(np.searchsorted(used, rows), is_there.sum(axis=1))
        second = np.searchsorted(used, near[is_there])
        distances = np.full(near.shape, np.inf)
        distances[is_there] = distances_between(views(outputs), first, second, metric=METRIC)
        order = np.lexsort((near, distances))
        others = np.searchsorted(used, np.where(is_there, near, used[0]))
        ordered = (np.take_along_axis(values, order, 1).tolist() for values in (others, distances))
        places = np.searchsorted(used, rows).tolist()
        for row, place, other_places, apart in zip(rows.tolist(), places, *ordered, strict=True):
            seen = {shown[place]}
            relatives: list[Relative] = []
            for other, distance in zip(other_places, apart, strict=True):
                name = shown[other]
                if name not in seen and distance < np.inf and len(relatives) < top:
                    seen.add(name)
                    relatives.append(Relative(name, distance, None, None))
            yield row, shown[place], tuple(relatives)

    def _shown(self, used: Rows, outputs: Sequence[NDArray[Any]], wanted: set[str]) -> list[str]:
        """The name under which each row is shown: the first of all models with equal outputs, or a wanted one."""
        same: dict[bytes, list[int]] = {}
        for place, one in enumerate(outputs):
            about = f"{one.dtype} {one.shape}".encode()
            same.setdefault(hashlib.sha256(about + one.tobytes()).digest(), []).append(place)
        shown = [""] * len(outputs)
        for places in same.values():
            parts = [places] if len(places) == 1 or _is_informative(outputs[places[0]]) else [[one] for one in places]
            for part in parts:
                names = sorted(name for place in part for name in self._names[int(used[place])])
                chosen = next((name for name in names if name in wanted), names[0])
                if len(names) > 1:
                    self.duplicates[chosen] = tuple(name for name in names if name != chosen)
                for place in part:
                    shown[place] = chosen
        return shown

    def _read_records(self, used: Rows) -> Iterator[ModelRecord]:
        """One record of each row; the names of all of its models are kept."""
        for start in range(0, len(used), _PAGE):
            some = used[start : start + _PAGE]
            digests = [self._vectors.digests[row].tobytes().hex() for row in some]
            records: dict[str, list[ModelRecord]] = {}
            for record in self._store.records_of_results(digests, self._probe_hash):
                records.setdefault(record.key_digest, []).append(record)
            for row, digest in zip(some.tolist(), digests, strict=True):
                self._names[row] = [record.name for record in records[digest]]
                yield records[digest][0]


def _is_informative(outputs: NDArray[Any]) -> bool:
    """Whether equal outputs say that two models are one; see `find_duplicates`."""
    import torch

    from ..models.output_form import check_informative, detect_output_form

    rows = torch.from_numpy(outputs)
    form = detect_output_form(rows)
    return form != "labels" and check_informative(rows, form, metric=METRIC) is None


def _look_up(store: ModelStore, probe_hash: str, tags: tuple[str, ...]) -> _Known:
    """The vectors and who is alive, looked up anew when something was committed."""
    (version,) = store.rows("PRAGMA data_version")[0]
    stamp = version, store.connection.total_changes, state_of(store, probe_hash)
    of_store = _known.setdefault(store, {})
    known = of_store.get((probe_hash, tags))
    if known is None or known.stamp != stamp:
        known = of_store[probe_hash, tags] = _look_up_now(store, probe_hash, tags, stamp)
    return known


def _look_up_now(store: ModelStore, probe_hash: str, tags: tuple[str, ...], stamp: object) -> _Known:
    nothing = _Known(stamp, None, {}, np.empty(0, np.bool_))
    vectors = None if _has_evidence(store, probe_hash, tags) else open_vectors(store, probe_hash)
    if vectors is None or not vectors.as_they_are:
        return nothing
    digests = vectors.digests.tolist()
    row_of = dict(zip(digests, range(len(digests)), strict=True))
    dead = np.ones(len(digests), np.bool_)
    sql = "SELECT CAST(digest AS BLOB) FROM models WHERE probe_hash = ? AND status = 'done'"
    try:
        alive = bytes.fromhex(b"".join(digest for (digest,) in store.rows(sql, probe_hash)).decode())
        step = vectors.digests.dtype.itemsize
        dead[[row_of[alive[start : start + step]] for start in range(0, len(alive), step)]] = False
    except KeyError:
        return nothing  # some have no vectors yet
    except (TypeError, ValueError) as error:
        raise StoreError(f"the store {str(store.folder)!r} must have digests of results, got: {error}") from error
    return _Known(stamp, vectors, row_of, dead)


def _has_evidence(store: ModelStore, probe_hash: str, tags: Sequence[str]) -> bool:
    parts = [tag if tag == _HAS_FILES else f'"{tag}"' for tag in tags]
    if not parts:
        return False
    where = " OR ".join(["instr(details, ?)"] * len(parts))
    sql = f"SELECT 1 FROM models WHERE probe_hash = ? AND status = 'done' AND ({where}) LIMIT 1"
    return bool(store.rows(sql, probe_hash, *parts))


def _rows_of(store: ModelStore, probe_hash: str, names: Sequence[str], known: _Known) -> Rows | None:
    """The rows of models; None: one has no outputs."""
    records = store.records_for(dict.fromkeys(names), probe_hash)
    if len(records) < len(set(names)) or any(record.status != "done" for record in records.values()):
        return None
    rows = [known.row_of[bytes.fromhex(records[name].key_digest)] for name in dict.fromkeys(names)]
    return np.array(list(dict.fromkeys(rows)), np.int64)
