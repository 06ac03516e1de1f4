"""A scan that runs: which models must be run, their jobs and results, and what is reported of them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..formats.weights.sharded import INDEX
from ..io.choices import Comparison, Metric
from ..io.progress import ProgressBar
from ..models.entry import ModelEntry
from ..store.records import ModelRecord
from ..store.store import ModelStore
from ..store.vectors import keep_vectors
from .arguments import probe_count
from .jobs import OVER_BUDGET, Executor, Job, request_hash
from .known_names import KnownNames, stamp_of
from .onnx_external import external_files, names_of, with_external
from .progress import ScanSummary, StopSignals
from .protocol import RunResult
from .records import Event, RecordBuilder, model_event
from .results import ResultWriter
from .source_comparison import ComparedSource, SourceComparison, load_source
from .unchanged import UnchangedModels

if TYPE_CHECKING:  # where there is nothing to do no torch is imported
    from ..fingerprint import Fingerprint

_POLL_SECONDS = 0.1
# After a signal, for the models that run; the next scan runs those that need longer.
_GRACE_SECONDS = 2.0
_LOOKUP_BATCH = 2_000


@dataclass
class RunningScan:
    """The state of a running scan."""

    store: ModelStore
    start: Callable[[], Executor]
    builder: RecordBuilder
    retry_failed: bool
    names: KnownNames
    signals: StopSignals
    bar: ProgressBar
    on_event: Callable[[Event], None] | None
    summary: ScanSummary
    known_events: bool
    known: set[str] = field(default_factory=set)
    retagged: list[ModelRecord] = field(default_factory=list)
    phases: collections.Counter[str] = field(default_factory=collections.Counter)
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.probe_hash, self.settings = self.builder.probe_hash, self.builder.settings
        self.starting: float | None = None
        self.executor: Executor | None = None
        self.unchanged = UnchangedModels(self.store, self.probe_hash, self.settings, self.builder.code_version)

    def run(
        self,
        entries: Sequence[ModelEntry],
        metric: Metric,
        comparison: Comparison,
        sources: Sequence[Fingerprint | str],
    ) -> ScanSummary:
        """Run the sources among the entries first, then all others with their distances to the sources."""
        named = {source for source in sources if isinstance(source, str)}
        numbers = itertools.count()
        # A name that the store knows from another file is that of the store's model.
        if first := [entry for entry in entries if entry.name in named and not self.names.is_taken(entry)]:
            named_here = {entry.name for entry in first}
            entries = [entry for entry in entries if entry.name not in named_here]
            self._run_all(first, numbers, metric, comparison)
        if not self.signals.received:
            loaded = [load_source(self.store, source, self.probe_hash) for source in sources]
            self.builder.rows = probe_count(loaded)
            self._run_all(entries, numbers, metric, comparison, loaded, named)
        accuracies = self.builder.accuracies
        self.summary.low_accuracy = [] if accuracies is None else accuracies.far_below()
        self.summary.interrupted = self.signals.received
        self.summary.seconds = time.perf_counter() - self.begun
        phases = {"start": self.starting or 0.0, "load": 0.0, "run": 0.0, "correlate": 0.0, "store": 0.0}
        self.summary.phases = {**phases, **self.phases}
        return self.summary

    def _run_all(
        self,
        entries: Iterable[ModelEntry],
        numbers: Iterator[int],
        metric: Metric,
        comparison: Comparison,
        sources: Sequence[ComparedSource] = (),
        compared: Iterable[str] = (),
    ) -> None:
        """Run the models that must be run; `compared` are names of known models that lack distances to the sources."""
        jobs = self._jobs(entries, numbers)
        first = next(jobs, None)
        if first is not None and self.executor is None:
            self.executor = self.start()
        if first is not None or sources:
            writer = ResultWriter(self.store, SourceComparison(sources, metric, comparison))
            with contextlib.closing(writer):
                if first is not None:
                    self._run_jobs(itertools.chain([first], jobs), writer)
                known = self.known.union(compared)
                self.signals.run_until_signal(lambda: writer.add_missing_distances(known, self.probe_hash))
                self.phases.update(writer.seconds)
        self._write_tags()
        start, has_new = time.perf_counter(), first is not None
        self.signals.run_until_signal(lambda: keep_vectors(self.store, self.probe_hash, has_new=has_new))
        self.phases.update({"store": time.perf_counter() - start})

    def _run_jobs(self, jobs: Iterator[Job], writer: ResultWriter) -> None:
        """Submit jobs, take their results, write them."""
        assert self.executor is not None
        more = True
        while (more or self.executor.pending()) and not self.signals.is_over(_GRACE_SECONDS):
            if self.signals.received and more:
                more = False
                self.executor.cancel_queued()
            while more and self.executor.capacity() > 0 and not self.signals.received:
                job = next(jobs, None)
                if job is None:
                    more = False
                else:
                    self.executor.submit(job)
            for job, result in self.executor.poll(_POLL_SECONDS):
                self._add_seconds(result)
                writer.add(*self.builder.build(job, result.checked(self.probe_hash)))
            self._report(writer.poll())
        self._report(writer.flush())

    def _jobs(self, entries: Iterable[ModelEntry], numbers: Iterator[int]) -> Iterator[Job]:
        """The models that must be run; known ones are reported and skipped."""
        waiting = iter(entries)
        is_quiet = self.on_event is None or not self.known_events
        while some := list(itertools.islice(waiting, _LOOKUP_BATCH)):
            if is_quiet:
                some = self._pass_over_unchanged(some)
            # Look records up in batches so that workers never wait for the store's write lock.
            records = self.store.records_for((entry.name for entry in some), self.probe_hash)
            for entry in some:
                if self.signals.received:
                    return
                if (job := self._new_job(entry, numbers, records)) is not None:
                    yield job
            self._write_tags()

    def _pass_over_unchanged(self, entries: list[ModelEntry]) -> list[ModelEntry]:
        """Count what is unchanged; returns the others."""
        names = self.unchanged.find(entries)
        self.summary.known += len(names)
        self.known |= names
        self.bar.advance(len(names))
        return [entry for entry in entries if entry.name not in names]

    def _new_job(self, entry: ModelEntry, numbers: Iterator[int], records: Mapping[str, ModelRecord]) -> Job | None:
        """The job of a model; None for a known one."""
        entry = self.settings.prepared(entry)
        stamp, known = stamp_of(entry.path), records.get(entry.name)
        if self.names.is_of_another(known, entry, stamp):
            entry, known = self.names.rename(entry)
            self.summary.renamed += 1
        job = Job(next(numbers), entry)
        request = request_hash(job, self.settings, self.builder.code_version)
        before = with_external(request, entry.path, names_of(known.request)) if known is not None else None
        unchanged = known is not None and stamp is not None and before is not None and known.is_unchanged(stamp, before)
        if known is not None and unchanged and not self._is_tried_again(known):
            self._skip(known, entry.tags)
            return None
        if entry.path.suffix.lower() == ".onnx" or entry.path.name.endswith(INDEX):
            # Stamp external weights before the run: the next scan notices a change in between.
            found = external_files(
                entry.path, root=entry.root, limits=self.settings.limits, stopped=lambda: self.signals.received
            )
            full = with_external(request, entry.path, found)
            stamp, request = (None, request) if full is None else (stamp, full)
        return dataclasses.replace(job, stamp=stamp, request=request)

    def _is_tried_again(self, known: ModelRecord) -> bool:
        """A budget is that of one scan, and no property of the model."""
        return known.status == "failed" and (self.retry_failed or known.reason == OVER_BUDGET)

    def _skip(self, known: ModelRecord, tags: tuple[str, ...]) -> None:
        self.summary.known += 1
        self.summary.known_failed += known.status == "failed"
        if known.tags != tags:
            self.retagged.append(dataclasses.replace(known, tags=tags))
        if known.status == "done":
            self.known.add(known.name)
            if self.builder.accuracies is not None:
                self.builder.accuracies.add_stated(known.name, known.message)
        self._notify({**model_event(known), "known": True})

    def _write_tags(self) -> None:
        """Tags do not change outputs: they are no part of a request, and known models get new ones without a run."""
        if self.retagged:
            self.store.retag(self.retagged)
            self.summary.retagged += len(self.retagged)
            self.retagged.clear()

    def _add_seconds(self, result: RunResult) -> None:
        if self.starting is None and any(result.seconds):
            # Until the first model started: mostly the imports of the fork server.
            self.starting = max(0.0, time.perf_counter() - self.begun - sum(result.seconds))
        self.phases.update(dict(zip(("load", "run"), result.seconds, strict=True)))

    def _report(self, events: Iterable[Event]) -> None:
        for event in events:
            if event["status"] == "done":
                self.summary.done += 1
            else:
                self.summary.failed += 1
                self.summary.reasons[event["reason"]] = self.summary.reasons.get(event["reason"], 0) + 1
            self._notify(event)

    def _notify(self, event: Event) -> None:
        failures = self.summary.failed + self.summary.known_failed
        self.bar.advance(note=f"{failures} failed" if failures else "")
        if self.on_event is not None:
            self.on_event(event)
