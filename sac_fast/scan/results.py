"""Results of a scan, written to the store many at a time, and their distances to the sources."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..errors import StoreError
from ..store.records import ModelRecord, ResultKey
from ..store.store import ModelStore
from .protocol import SURROUNDINGS, RunResult
from .records import Event, model_event
from .source_comparison import ComparedSource, SourceComparison

_MAX_BATCH = 512
_MAX_BATCH_BYTES = 64 << 20
_MAX_WAIT_SECONDS = 1.0


@dataclass
class _Batch:
    results: list[tuple[ResultKey, ModelRecord, NDArray[Any]]] = field(default_factory=list)
    failures: list[ModelRecord] = field(default_factory=list)
    unstored: list[ModelRecord] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0

    def __len__(self) -> int:
        return len(self.results) + len(self.failures) + len(self.unstored)


class ResultWriter:
    """Writes results to the store in a thread, many in one commit; a model is reported once it is durable.

    Args:
        store: open for writing.
        compared: the sources whose distances are wanted.
    """

    def __init__(self, store: ModelStore, compared: SourceComparison) -> None:
        self._store = store
        self._compared = compared
        self._batch = _Batch()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sac_fast store")
        self._writing: Future[list[Event]] | None = None
        self.seconds = {"correlate": 0.0, "store": 0.0}

    def add(self, record: ModelRecord, result: RunResult) -> None:
        """Add the result of a model."""
        if not len(self._batch):
            self._batch.since = time.monotonic()
        if result.outputs is None:
            failure = dataclasses.replace(record, status="failed", reason=result.reason, message=result.message)
            (self._batch.unstored if result.reason in SURROUNDINGS else self._batch.failures).append(failure)
        else:
            self._batch.results.append((record.key, record, result.outputs))
            self._batch.bytes += result.outputs.nbytes

    def poll(self) -> list[Event]:
        """Start writing when it is time; returns the events of models that have become durable."""
        events: list[Event] = []
        full = len(self._batch) >= _MAX_BATCH or self._batch.bytes >= _MAX_BATCH_BYTES
        if self._writing is not None and (self._writing.done() or full):
            events += self._writing.result()
            self._writing = None
        late = len(self._batch) and time.monotonic() - self._batch.since >= _MAX_WAIT_SECONDS
        if self._writing is None and (full or late):
            self._start_writing()
        return events

    def flush(self) -> list[Event]:
        """Write everything and wait for it."""
        events = [] if self._writing is None else self._writing.result()
        return events + self._start_writing().result()

    def _start_writing(self) -> Future[list[Event]]:
        batch, self._batch = self._batch, _Batch()
        self._writing = self._thread.submit(self._write, batch)
        return self._writing

    def close(self) -> None:
        """End the thread; what has not been written by now is not written."""
        self._thread.shutdown(wait=True)

    def _write(self, batch: _Batch) -> list[Event]:
        events = [model_event(record) | dict(zip("nk", out.shape, strict=True)) for _, record, out in batch.results]
        keys = [key for key, _, _ in batch.results]
        computed = []
        for source in self._compared.sources if keys else ():
            distances = self._distances(source, [outputs for _, _, outputs in batch.results])
            for event, distance in zip(events, distances, strict=True):
                if distance is not None:
                    event.setdefault("distances", {})[source.name] = distance
            computed.append((source, distances))
        with self._timed("store"), self._store.writing(), self._store.transaction():  # one commit for all
            if batch.results:
                self._store.add_results(batch.results)
            for record in batch.failures:
                self._store.add_failure(record, record.reason or "", record.message or "")
            for source, distances in computed:
                self._add_distances(source, keys, distances)
        return events + [model_event(record) for record in (*batch.failures, *batch.unstored)]

    def _distances(self, source: ComparedSource, outputs: Sequence[NDArray[Any]]) -> list[float | None]:
        with self._timed("correlate"):
            return self._compared.distances(source, outputs)

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def _add_distances(
        self, source: ComparedSource, keys: Sequence[ResultKey], distances: Sequence[float | None]
    ) -> None:
        pairs = ((key, distance) for key, distance in zip(keys, distances, strict=True) if distance is not None)
        self._store.add_distances(source, self._compared.metric, self._compared.comparison, pairs)

    def add_missing_distances(self, names: Container[str], probe_hash: str) -> None:
        """Add the missing distances of models that were in the store already."""
        for source in self._compared.sources:
            records = self._store.records(probe_hash, "done")
            keys = (r.key for r in records if r.name in names and r.n == len(source))
            missing = self._store.missing_distances(source, self._compared.metric, self._compared.comparison, keys)
            for start in range(0, len(missing), _MAX_BATCH):
                some = missing[start : start + _MAX_BATCH]
                outputs = [self._store.output_array(self._record(key)) for key in some]
                # In the thread: a signal that ends this one would leave half of an import of torch behind.
                distances = self._thread.submit(self._distances, source, outputs).result()
                with self._timed("store"):
                    self._add_distances(source, some, distances)

    def _record(self, key: ResultKey) -> ModelRecord:
        record = self._store.result_for(key)
        if record is None:
            raise StoreError(f"the store must keep its results while it is written to, got none any more for {key}")
        return record
