"""What becomes of a scan's answers: a few commits for many models, and their distances to the sources."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import StoreError
from ..fingerprint import Fingerprint
from ..ops import correlation_distance, correlation_distances
from ..store.records import ModelRecord, ResultKey
from ..store.store import ModelStore
from .protocol import Answer

_MOST_WAITING = 512
_MOST_BYTES = 64 << 20
_LONGEST_WAIT = 1.0

Event = dict[str, Any]


@dataclass
class Kin:
    """The sources, and how far from them a model is."""

    sources: Sequence[Fingerprint]
    metric: str
    comparison: str

    def distances(self, source: Fingerprint, outputs: Sequence[torch.Tensor]) -> list[float]:
        """The distance of each model to a source; those of one call are as those of many, bit for bit."""
        if self.comparison == "l1":
            found: list[float] = correlation_distances(source.outputs, list(outputs), metric=self.metric).tolist()
            return found
        return [
            float(correlation_distance(source.outputs, one, metric=self.metric, comparison=self.comparison))
            for one in outputs
        ]


@dataclass
class _Batch:
    results: list[tuple[ResultKey, ModelRecord, torch.Tensor]] = field(default_factory=list)
    failures: list[ModelRecord] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0

    def __len__(self) -> int:
        return len(self.results) + len(self.failures)


class ResultWriter:
    """Puts answers into the store, many in one commit, beside the scan; a model is reported once it is durable.

    Args:
        store: open for writing.
        kin: sources whose distances are wanted.
    """

    def __init__(self, store: ModelStore, kin: Kin) -> None:
        self._store = store
        self._kin = kin
        self._batch = _Batch()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sac_fast store")
        self._writing: Future[list[Event]] | None = None
        self.seconds = {"correlate": 0.0, "store": 0.0}

    def add(self, record: ModelRecord, answer: Answer) -> None:
        """Take what became of a model."""
        if not len(self._batch):
            self._batch.since = time.monotonic()
        if answer.outputs is None:
            failed = dataclasses.replace(record, status="failed", reason=answer.reason, message=answer.message)
            self._batch.failures.append(failed)
        else:
            self._batch.results.append((record.key, record, answer.outputs))
            self._batch.bytes += answer.outputs.nbytes

    def poll(self) -> list[Event]:
        """Write if it is time to; returns the events of what has become durable."""
        events: list[Event] = []
        full = len(self._batch) >= _MOST_WAITING or self._batch.bytes >= _MOST_BYTES
        if self._writing is not None and (self._writing.done() or full):
            events += self._writing.result()
            self._writing = None
        late = len(self._batch) and time.monotonic() - self._batch.since >= _LONGEST_WAIT
        if self._writing is None and (full or late):
            batch, self._batch = self._batch, _Batch()
            self._writing = self._thread.submit(self._write, batch)
        return events

    def flush(self) -> list[Event]:
        """Write everything and wait for it."""
        events: list[Event] = []
        if self._writing is not None:
            events += self._writing.result()
            self._writing = None
        batch, self._batch = self._batch, _Batch()
        return events + self._thread.submit(self._write, batch).result()

    def close(self) -> None:
        """Let go of the thread; what has not been written by now is not written."""
        self._thread.shutdown(wait=True)

    def _write(self, batch: _Batch) -> list[Event]:
        events = [done_event(record, outputs) for _, record, outputs in batch.results]
        keys = [key for key, _, _ in batch.results]
        related = []
        for source in self._kin.sources if keys else ():
            distances = self._related(source, [outputs for _, _, outputs in batch.results])
            for event, distance in zip(events, distances, strict=True):
                event.setdefault("distances", {})[source.name] = distance
            related.append((source, distances))
        with self._timed("store"), self._store.writing(), self._store.transaction():  # one commit for all
            if batch.results:
                self._store.add_results(batch.results)
            for record in batch.failures:
                self._store.add_failure(record, record.reason or "", record.message or "")
            for source, distances in related:
                self._keep(source, keys, distances)
        return events + [failed_event(record) for record in batch.failures]

    def _related(self, source: Fingerprint, outputs: Sequence[torch.Tensor]) -> list[float]:
        with self._timed("correlate"):
            return self._kin.distances(source, outputs)

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def _keep(self, source: Fingerprint, keys: Sequence[ResultKey], distances: Sequence[float]) -> None:
        self._store.add_distances(source, self._kin.metric, self._kin.comparison, zip(keys, distances, strict=True))

    def relate_known(self, names: Container[str], probe_hash: str) -> None:
        """The distances that are still missing of models that were in the store already."""
        for source in self._kin.sources:
            records = self._store.records(probe_hash, "done")
            keys = (r.key for r in records if r.name in names and r.n == len(source))
            missing = self._store.missing_distances(source, self._kin.metric, self._kin.comparison, keys)
            for start in range(0, len(missing), _MOST_WAITING):
                some = missing[start : start + _MOST_WAITING]
                distances = self._related(source, [self._store.outputs(self._record(key)) for key in some])
                with self._timed("store"):
                    self._keep(source, some, distances)

    def _record(self, key: ResultKey) -> ModelRecord:
        record = self._store.result_for(key)
        if record is None:
            raise StoreError(f"the store must keep its results while it is written to, got none any more for {key}")
        return record


def done_event(record: ModelRecord, outputs: torch.Tensor | None = None) -> Event:
    """What is told of a model that has outputs."""
    n, k = outputs.shape if outputs is not None else (record.n, record.k)
    return {
        "event": "model",
        "name": record.name,
        "status": "done",
        "format": record.format,
        "model_hash": record.model_hash,
        "n": n,
        "k": k,
        "seconds": record.seconds,
    }


def failed_event(record: ModelRecord) -> Event:
    """What is told of a model that has none."""
    return {
        "event": "model",
        "name": record.name,
        "status": "failed",
        "reason": record.reason,
        "message": record.message,
    }
