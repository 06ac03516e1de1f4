"""A scan: run every model of a batch on the probes; each result is durable in the store before it is reported.

A scan may end at any moment, by Ctrl-C, a full disk or SIGKILL: the next one with the same arguments continues from the
last commit and ends with the same bytes in the store. Models in the store whose file and request did not change are not
opened.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..fingerprint import Fingerprint
from ..formats.weights.sharded import INDEX
from ..io.files import StrPath
from ..io.hashing import is_hash
from ..io.progress import ProgressBar
from ..models import ModelEntry
from ..models.code_path import code_folder
from ..ops.arguments import COMPARISONS, METRICS, check_choice
from ..probes import ProbeSet
from ..store.records import ModelRecord
from ..store.store import ModelStore
from .budgets import default_memory, store_budget
from .jobs import (
    Executor,
    Job,
    WorkerSettings,
    check_sources,
    code_version,
    device_list,
    listing_of,
    probe_count,
    request_hash,
)
from .known_names import KnownNames, stamp_of
from .onnx_external import external_files, names_of, with_external
from .pool import WorkerPool
from .progress import ScanSummary, StopSignals
from .protocol import RunResult
from .results import Event, RecordBuilder, ResultWriter, SourceComparison, load_source, model_event
from .sandbox import places_of, unrestricted_parts

_POLL_SECONDS = 0.1
# After a signal, for the models that run; the next scan runs those that need longer.
_GRACE_SECONDS = 2.0
_LOOKUP_BATCH = 500


def scan_models(
    models: Sequence[ModelEntry] | StrPath,
    probes: ProbeSet | str,
    store: ModelStore | StrPath,
    *,
    manifest: StrPath | None = None,
    sources: Sequence[Fingerprint | str] = (),
    metric: str = "cosine",
    comparison: str = "l1",
    device: str = "cpu",
    workers: int | Executor | None = None,
    settings: WorkerSettings | None = None,
    retry_failed: bool = False,
    replace: bool = False,
    progress: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> ScanSummary:
    """Run many models on the probes in worker processes, and keep their outputs in a store.

    Model files are untrusted: they are opened in worker processes with limits, and one that fails is recorded with its
    reason. On the CPU each model runs on one thread, `CPU_BATCH_SIZE` probes at a time unless the settings say
    otherwise: the stored bytes are the same for any number of workers, and for a scan that was interrupted. The first
    SIGINT (Ctrl-C) or SIGTERM gives the models that run 2 seconds to end, a second one stops at once; both lose no
    reported result.

    Args:
        models: entries with different names, or what `sac_fast.models.list_entries` takes: a folder, a model file or
            a manifest.
        probes: inputs of the models; or only their content hash, ``"sha256:…"``, for recorded outputs.
        store: open for writing; or its folder, which is created if missing.
        manifest: of the folder, to be believed; what one inside a folder says that is not named is shown at most.
        sources: models whose distance to all others is wanted: fingerprints, or names of models of the scan or of the
            store.
        metric, comparison: of these distances, see `sac_fast.correlation_distance`.
        device: ``"cpu"``; ``"cuda"``: all GPUs; ``"cuda:1"``, ``"cuda:0,cuda:2"``: these.
        workers: number of processes, by default one per core or GPU; or an executor, such as `RayPool`, which is
            closed at the end.
        settings: preprocessing, limits and batch size of the workers.
        retry_failed: run models again that failed before and did not change.
        replace: a model of a known name from another file replaces the known one; else both are kept, the new one
            under a name that holds its path.
        progress: show models per second, time left and failures on stderr.
        on_event: called with a JSON-able mapping for each model once it is durable or found in the store
            (``"event": "model"``); before that for what was passed over (``"passed-over"``), and for what a manifest
            inside the folder says of a model (``"claim"``).

    Returns:
        The numbers of the scan.

    Raises:
        ValueError, TypeError: a wrong argument; no store is created then.
        StoreError: the disk is full or fails; results that were reported are kept.
        ScanError: workers cannot be started, or a source cannot be used.
        KeyboardInterrupt: the second SIGINT.

    Example::

        >>> import os, tempfile
        >>> import numpy as np
        >>> from sac_fast import scan_models
        >>> from sac_fast.store import ModelStore
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("mine", "yours"):
        ...     np.save(os.path.join(folder, name), np.random.rand(20, 10))  # recorded outputs: 20 probes, 10 classes
        >>> store = os.path.join(tempfile.mkdtemp(), "store")
        >>> summary = scan_models(folder, "sha256:" + "0" * 64, store, sources=["mine.npy"], workers=1)
        >>> summary.done, summary.failed
        (2, 0)
        >>> with ModelStore.open(store, write=False) as opened:
        ...     [found.name for found in opened.distances()]
        ['mine.npy', 'yours.npy']
    """
    settings = settings or WorkerSettings()
    if not isinstance(probes, (ProbeSet, str)):
        raise TypeError(f"probes must be a ProbeSet or the hash of one, got {type(probes).__name__}")
    probe_hash = probes if isinstance(probes, str) else probes.content_hash
    if not is_hash(probe_hash):
        raise ValueError(f'probes must be a ProbeSet or "sha256:" and 64 digits, got {probes!r}')
    check_choice("metric", metric, METRICS)
    check_choice("comparison", comparison, COMPARISONS)
    executor = None if workers is None or isinstance(workers, int) else workers
    with contextlib.ExitStack() as stack:
        if executor is not None:
            stack.enter_context(contextlib.closing(executor))
        listing = listing_of(models, manifest, settings)
        check_sources(sources)
        devices = device_list(device, workers if isinstance(workers, int) else None)
        if not isinstance(store, ModelStore):
            store = stack.enter_context(ModelStore.open(store, write=True, create=True))
        if executor is None:
            if settings.memory_bytes is None:
                settings = dataclasses.replace(settings, memory_bytes=default_memory(len(devices)))
            if settings.sandbox:
                places = [*places_of(listing.entries, code_folder()), *(settings.readable or ())]
                settings = dataclasses.replace(settings, readable=places)
            executor = WorkerPool(probes if isinstance(probes, ProbeSet) else None, devices, settings)
            stack.enter_context(contextlib.closing(executor))
        left = store_budget(settings, store.folder)
        signals = stack.enter_context(StopSignals())
        bar = stack.enter_context(ProgressBar("scanning", len(listing.entries), "models", progress))
        scan = _Scan(
            store=store,
            executor=executor,
            builder=RecordBuilder(probe_hash, settings, code_version(devices[0], settings), left_bytes=left),
            retry_failed=retry_failed,
            names=KnownNames(store, probe_hash, replace),
            signals=signals,
            bar=bar,
            on_event=on_event,
            summary=ScanSummary.of(listing, unrestricted_parts(settings.readable, devices[0])),
        )
        if on_event is not None:
            for event in listing.events():
                on_event(event)
        return scan.run(listing.entries, SourceComparison((), metric, comparison), sources)


@dataclass
class _Scan:
    """The state of a running scan."""

    store: ModelStore
    executor: Executor
    builder: RecordBuilder
    retry_failed: bool
    names: KnownNames
    signals: StopSignals
    bar: ProgressBar
    on_event: Callable[[Event], None] | None
    summary: ScanSummary
    known: set[str] = field(default_factory=set)
    retagged: list[ModelRecord] = field(default_factory=list)
    phases: collections.Counter[str] = field(default_factory=collections.Counter)
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.probe_hash, self.settings = self.builder.probe_hash, self.builder.settings
        self.starting: float | None = None

    def run(
        self, entries: Sequence[ModelEntry], compared: SourceComparison, sources: Sequence[Fingerprint | str]
    ) -> ScanSummary:
        """Run the sources among the entries first, then all others with their distances to the sources."""
        named = {source for source in sources if isinstance(source, str)}
        numbers = itertools.count()
        # A name that the store knows from another file is that of the store's model.
        if first := [entry for entry in entries if entry.name in named and not self.names.is_taken(entry)]:
            named_here = {entry.name for entry in first}
            entries = [entry for entry in entries if entry.name not in named_here]
            self._run_all(first, numbers, ResultWriter(self.store, compared))
        if not self.signals.received:
            compared = dataclasses.replace(
                compared, sources=[load_source(self.store, source, self.probe_hash) for source in sources]
            )
            self.builder.rows = probe_count(compared.sources)
            self._run_all(entries, numbers, ResultWriter(self.store, compared), named)
        self.summary.interrupted = self.signals.received
        self.summary.seconds = time.perf_counter() - self.begun
        self.summary.phases = {"start": self.starting or 0.0, "load": 0.0, "run": 0.0, **self.phases}
        return self.summary

    def _run_all(
        self, entries: Iterable[ModelEntry], numbers: Iterator[int], writer: ResultWriter, compared: Iterable[str] = ()
    ) -> None:
        """Submit jobs, take their results, write them; `compared` are names of known models that lack distances."""
        jobs = self._jobs(entries, numbers)
        more = True
        with contextlib.closing(writer):
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
            self._write_tags()
            names = self.known.union(compared)
            self.signals.run_until_signal(lambda: writer.add_missing_distances(names, self.probe_hash))
            self.signals.run_until_signal(lambda: writer.update_vectors(self.probe_hash))
            self.phases.update(writer.seconds)

    def _jobs(self, entries: Iterable[ModelEntry], numbers: Iterator[int]) -> Iterator[Job]:
        """The models that must be run; known ones are reported and skipped."""
        waiting = iter(entries)
        while some := list(itertools.islice(waiting, _LOOKUP_BATCH)):
            # Look records up in batches so that workers never wait for the store's write lock.
            records = self.store.records_for((entry.name for entry in some), self.probe_hash)
            for entry in some:
                if self.signals.received:
                    return
                if (job := self._new_job(entry, numbers, records)) is not None:
                    yield job
            self._write_tags()

    def _new_job(self, entry: ModelEntry, numbers: Iterator[int], records: Mapping[str, ModelRecord]) -> Job | None:
        """The job of a model; None for a known one."""
        if entry.preprocessing is None and not self.settings.choose_preprocessing:
            entry = dataclasses.replace(entry, preprocessing=self.settings.preprocessing)
        key, inputs = entry.weights_key or self.settings.weights_key, entry.inputs or self.settings.inputs
        entry = dataclasses.replace(entry, weights_key=key, inputs=inputs)
        entry = self.settings.believe(entry)
        stamp, known = stamp_of(entry.path), records.get(entry.name)
        if self.names.is_of_another(known, entry, stamp):
            entry, known = self.names.rename(entry)
            self.summary.renamed += 1
        job = Job(next(numbers), entry)
        request = request_hash(job, self.settings, self.builder.code_version)
        before = with_external(request, entry.path, names_of(known.request)) if known is not None else None
        unchanged = known is not None and stamp is not None and before is not None and known.is_unchanged(stamp, before)
        if known is not None and unchanged and not (known.status == "failed" and self.retry_failed):
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

    def _skip(self, known: ModelRecord, tags: tuple[str, ...]) -> None:
        self.summary.known += 1
        self.summary.known_failed += known.status == "failed"
        if known.tags != tags:
            self.retagged.append(dataclasses.replace(known, tags=tags))
        if known.status == "done":
            self.known.add(known.name)
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
