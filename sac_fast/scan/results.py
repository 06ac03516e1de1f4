"""Records of a scan's results, written to the store many at a time, and their distances to the sources."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import StoreError
from ..fingerprint import Fingerprint
from ..models import Preprocessing
from ..models.architectures import split_architecture
from ..models.common_form import CommonForm, common_form, formed
from ..models.output_form import reason_of_ties
from ..ops import correlation_distance, correlation_distances
from ..store.records import MAX_TEXT, ModelRecord, ResultKey
from ..store.store import ModelStore
from ..store.vectors import update_vectors
from .jobs import BAD_ARGUMENTS, OVER_BUDGET, UNTRUSTED_ARCHITECTURE, Job, ScanError, WorkerSettings
from .onnx_external import external_files
from .protocol import ENVIRONMENT, SURROUNDINGS, RunResult, failed

_MAX_BATCH = 512
_MAX_BATCH_BYTES = 64 << 20
_MAX_WAIT_SECONDS = 1.0
_MIN_PACKED = 1_000

Event = dict[str, Any]


@dataclass
class RecordBuilder:
    """Makes the records of a scan.

    Attributes:
        probe_hash, settings, code_version: of the scan.
        rows: number of probes of the sources, which all outputs must have; None: there are no sources.
        left_bytes: of the outputs that the scan may still add.
    """

    probe_hash: str
    settings: WorkerSettings
    code_version: str
    rows: int | None = None
    left_bytes: int = sys.maxsize

    def build(self, job: Job, result: RunResult) -> tuple[ModelRecord, RunResult]:
        """The record of a result, and the result or the failure that replaces it where no store can hold it."""
        entry, stamp = job.entry, job.stamp
        is_late = result.format == "onnx" and entry.path.suffix.lower() != ".onnx"
        if is_late and external_files(entry.path, root=entry.root, limits=self.settings.limits) != ():
            stamp = None  # its weights were not stamped before the run: every scan runs it again
        if result.reason == "missing" and stamp is not None:
            message = f"the file was there when the scan looked, and not for its worker: {result.message}"
            result = failed(ENVIRONMENT, message)
        if result.reason == "no-architecture" and (spec := entry.claims.get("architecture")):
            message = (
                f"{result.message}; a manifest inside the folder names {spec!r}, whose code would be run: if you trust "
                "it, name it with its arguments (--architecture), or name the manifest (--manifest)"
            )
            result = failed(UNTRUSTED_ARCHITECTURE, message, result.format)
        rows = None if result.outputs is None else len(result.outputs)
        if rows is not None and self.rows is not None and rows != self.rows:
            message = f"outputs must have {self.rows:,} rows like the sources, got {rows:,}"
            result = failed("wrong-shape", message, result.format)
        result = self._within_budget(result)
        bare = ModelRecord(
            name=entry.name,
            path=str(entry.path)[:MAX_TEXT],
            probe_hash=self.probe_hash,
            tags=entry.tags,
            file=stamp,
            request=job.request,
        )
        try:
            return dataclasses.replace(bare, path=str(entry.path), **self._values(job, result)), result
        except (TypeError, ValueError) as error:
            if result.outputs is None:
                return bare, result
            return bare, failed(BAD_ARGUMENTS, f"the entry must be one that a store can hold, got {error}")

    def _within_budget(self, result: RunResult) -> RunResult:
        """The result, or the failure of outputs that are too wide, or would fill the disk."""
        if result.outputs is None:
            return result
        width, size = result.outputs.shape[1], result.outputs.nbytes
        if width > self.settings.max_outputs:
            message = f"models must have at most {self.settings.max_outputs:,} outputs, got {width:,}"
            return failed("too-large", message, result.format)
        if size > self.left_bytes:
            message = f"{self.left_bytes:,} bytes are left of what this scan may add to the store, got {size:,}"
            return failed(OVER_BUDGET, message, result.format)
        self.left_bytes -= size
        return result

    def _values(self, job: Job, result: RunResult) -> dict[str, Any]:
        entry, recorded = job.entry, result.recorded
        preprocessing = entry.preprocessing or Preprocessing()
        if result.preprocessing is not None:  # what the model's own file declares is part of it
            preprocessing = Preprocessing.from_dict(result.preprocessing)
        architecture, kwargs = entry.architecture, dict(entry.kwargs)
        if result.inferred is not None:
            architecture, kwargs = split_architecture(self.settings.architectures[result.inferred])
        if recorded or architecture is None or result.reason == BAD_ARGUMENTS:
            kwargs = {}
        dtype = self.settings.dtype
        if dtype is None or recorded:
            dtype = "float32" if result.outputs is None else str(result.outputs.dtype).removeprefix("torch.")
        values: dict[str, Any] = {"format": result.format, "model_hash": result.model_hash or None}
        if result.notes:
            values["message"] = "; ".join(result.notes)[:MAX_TEXT]
        values |= {"kwargs": kwargs, "dtype": dtype, "seconds": sum(result.seconds)}
        if recorded:
            return values
        return values | {
            "architecture": architecture,
            "output": entry.output,
            "preprocessing": preprocessing.to_dict(),
            "preprocessing_hash": preprocessing.hash,
            "code_version": self.code_version,
        }


@dataclass
class SourceComparison:
    """The sources, and how models are compared with them."""

    sources: Sequence[Fingerprint]
    metric: str
    comparison: str

    def distances(self, source: Fingerprint, outputs: Sequence[torch.Tensor]) -> list[float | None]:
        """The distance of each model to a source, in the weaker of their output forms; None for forms that cannot be
        compared and for outputs whose correlations are all equal. The same bits for any number of models in a call.
        """
        found: list[float | None] = [None] * len(outputs)
        groups: dict[CommonForm, list[int]] = {}
        for index, one in enumerate(outputs):
            with contextlib.suppress(ValueError):
                groups.setdefault(common_form([source.formed, formed(one)]), []).append(index)
        for form, indices in groups.items():
            mine = form.rows(source.formed)
            rows = {index: form.rows(formed(outputs[index])) for index in indices}
            theirs = {index: own for index, own in rows.items() if not reason_of_ties(own, self.metric)}
            if not theirs or reason_of_ties(mine, self.metric):
                continue
            for index, distance in zip(theirs, self._of_rows(mine, list(theirs.values())), strict=True):
                found[index] = distance
        return found

    def _of_rows(self, mine: torch.Tensor, theirs: list[torch.Tensor]) -> list[float]:
        if self.comparison == "l1":
            found: list[float] = correlation_distances(mine, theirs, metric=self.metric).tolist()
            return found
        metric, comparison = self.metric, self.comparison
        return [float(correlation_distance(mine, one, metric=metric, comparison=comparison)) for one in theirs]


@dataclass
class _Batch:
    results: list[tuple[ResultKey, ModelRecord, torch.Tensor]] = field(default_factory=list)
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

    def _distances(self, source: Fingerprint, outputs: Sequence[torch.Tensor]) -> list[float | None]:
        with self._timed("correlate"):
            return self._compared.distances(source, outputs)

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start

    def _add_distances(self, source: Fingerprint, keys: Sequence[ResultKey], distances: Sequence[float | None]) -> None:
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
                distances = self._distances(source, [self._store.outputs(self._record(key)) for key in some])
                with self._timed("store"):
                    self._add_distances(source, some, distances)

    def update_vectors(self, probe_hash: str) -> None:
        """Pack the vectors of new models, in stores that are so large that it saves time."""
        counted = self._store.rows("SELECT count(*) FROM models WHERE probe_hash = ? AND status = 'done'", probe_hash)
        if counted[0][0] >= _MIN_PACKED:
            with self._timed("store"):
                update_vectors(self._store, probe_hash)

    def _record(self, key: ResultKey) -> ModelRecord:
        record = self._store.result_for(key)
        if record is None:
            raise StoreError(f"the store must keep its results while it is written to, got none any more for {key}")
        return record


def model_event(record: ModelRecord) -> Event:
    """The event of a model with outputs, or of one that failed."""
    names = ("reason", "message") if record.status == "failed" else ("format", "model_hash", "n", "k", "seconds")
    event = {"event": "model", **{name: getattr(record, name) for name in ("name", "status", *names)}}
    return event if record.message is None else event | {"message": record.message}


def load_source(store: ModelStore, source: Fingerprint | str, probe_hash: str) -> Fingerprint:
    """The fingerprint of a source, which may be a name of the store's.

    Raises:
        ScanError: no such model with outputs, or one of other probes.
    """
    if isinstance(source, str):
        record = store.record_for(source, probe_hash)
        if record is None or record.status != "done":
            why = "no model of that name" if record is None else f"{record.status}: {record.reason or ''}"
            wanted = "a fingerprint or a model with outputs for the probes"
            raise ScanError(f"source {source!r} must be {wanted}, got {why}")
        source = store.fingerprint(record)
    if source.probe_hash != probe_hash:
        wanted = f"of the scan's probes {probe_hash}"
        raise ScanError(f"source {source.name!r} must be {wanted}, got {source.probe_hash}")
    return source
