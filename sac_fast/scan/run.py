"""A scan: every model of a zoo answers the probes, and whatever becomes of it is in the store before it is told.

A scan may end at any moment, by Ctrl-C, by a full disk, by SIGKILL: the next one with the same arguments goes on where
the last commit was, and ends with the same bytes in the store. Models that are there already, and whose file and
request did not change, are not even opened.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..fingerprint import Fingerprint
from ..io.version import package_version
from ..models import ModelEntry, Preprocessing
from ..models.architectures import split_architecture
from ..probes import ProbeSet
from ..store.records import MAX_TEXT, FileStamp, ModelRecord
from ..store.store import ModelStore
from .checks import check_names, check_sources, rows_of
from .fork_server import ScanError
from .jobs import BAD_ARGUMENTS, Executor, Job, WorkerSettings, request_hash
from .onnx_external import external_files, names_of, with_external
from .place import default_memory, device_list
from .pool import WorkerPool
from .progress import ScanProgress
from .protocol import Answer, failed
from .results import Event, Kin, ResultWriter, done_event, failed_event
from .signals import StopSignals
from .summary import ScanSummary

_POLL_SECONDS = 0.1
_LOOKED_UP = 500
# Failures before anything was built, so that nobody looked at the arguments yet.
_NOT_OPENED = (BAD_ARGUMENTS, "untrusted-architecture")


def scan(
    entries: Sequence[ModelEntry],
    probes: ProbeSet | str,
    store: ModelStore,
    *,
    sources: Sequence[Fingerprint | str] = (),
    metric: str = "cosine",
    comparison: str = "l1",
    preprocessing: Preprocessing | None = None,
    device: str = "cpu",
    workers: int | None = None,
    settings: WorkerSettings | None = None,
    retry_failed: bool = False,
    executor: Executor | None = None,
    progress: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> ScanSummary:
    """Let every model answer the probes, in worker processes, and keep the answers in a store.

    On the CPU each model runs on one thread, `CPU_BATCH_SIZE` probes at a time unless the settings say otherwise: the
    stored bytes are the same for any number of workers, and for a scan that was interrupted. The first SIGINT (Ctrl-C)
    or SIGTERM finishes the models in hand, a second one stops at once; both lose nothing that was told of.

    Args:
        entries: the models, of `sac_fast.models.list_entries`; names unique.
        probes: what they answer; or only the content hash of the probes, ``"sha256:…"``, for recorded outputs.
        store: open for writing.
        sources: models whose distance to all others is wanted: fingerprints, or names of entries or of models in the
            store.
        metric, comparison: of these distances, see `sac_fast.correlation_distance`.
        preprocessing: of entries that name none.
        device: ``"cpu"``; ``"cuda"``: all GPUs; ``"cuda:1"``, ``"cuda:0,cuda:2"``: these.
        workers: processes; None: one a core on the CPU, one a GPU.
        settings: limits and batch size of the workers.
        retry_failed: try models again that failed before and did not change since.
        executor: who runs the models instead of this machine's workers; it is closed at the end.
        progress: show models a second, time left and failures on stderr.
        on_event: called with a JSON-able mapping for each model as soon as it is durable, or is found to be known.

    Returns:
        What was done.

    Raises:
        ValueError: a wrong argument.
        StoreError: the disk is full or fails; what was told of before is kept.
        ScanError: workers cannot be started.
        KeyboardInterrupt: the second SIGINT.
    """
    settings = settings or WorkerSettings()
    check_names(entries)
    check_sources(sources)
    devices = device_list(device, workers)
    if executor is None:
        if settings.memory_bytes is None:
            settings = dataclasses.replace(settings, memory_bytes=default_memory(len(devices)))
        executor = WorkerPool(probes if isinstance(probes, ProbeSet) else None, devices, settings)
    with contextlib.closing(executor), StopSignals() as signals, ScanProgress(len(entries), progress) as bar:
        running = _Scan(
            probes=probes,
            store=store,
            executor=executor,
            settings=settings,
            device=devices[0],
            preprocessing=preprocessing or Preprocessing(),
            retry_failed=retry_failed,
            signals=signals,
            tell=[bar.take, *([on_event] if on_event is not None else [])],
            summary=ScanSummary(len(entries)),
        )
        return running.run(entries, sources, metric, comparison)


@dataclass
class _Scan:
    """One scan under way."""

    probes: ProbeSet | str
    store: ModelStore
    executor: Executor
    settings: WorkerSettings
    device: str
    preprocessing: Preprocessing
    retry_failed: bool
    signals: StopSignals
    tell: Sequence[Callable[[Event], None]]
    summary: ScanSummary
    stamps: dict[int, FileStamp | None] = field(default_factory=dict)
    requests: dict[int, str] = field(default_factory=dict)
    retagged: list[ModelRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.probe_hash = self.probes if isinstance(self.probes, str) else self.probes.content_hash
        self.code_version = code_version(self.device, self.settings)
        self.known: set[str] = set()
        self.loading = self.answering = 0.0
        self.begun = time.perf_counter()
        self.starting: float | None = None
        self.rows: int | None = None  # of the sources, which all outputs must have

    def run(
        self, entries: Sequence[ModelEntry], sources: Sequence[Fingerprint | str], metric: str, comparison: str
    ) -> ScanSummary:
        named = {source for source in sources if isinstance(source, str)}
        first = [entry for entry in entries if entry.name in named]
        numbers = iter(range(len(entries)))
        phases = collections.Counter[str]()
        if first:
            phases.update(self._answer_all(first, numbers, ResultWriter(self.store, Kin((), metric, comparison))))
        if not self.signals.received:
            kin = Kin([self._source(source) for source in sources], metric, comparison)
            self.rows = rows_of(kin.sources)
            rest = [entry for entry in entries if entry.name not in named] if named else entries
            phases.update(self._answer_all(rest, numbers, ResultWriter(self.store, kin), named))
        self.summary.interrupted = self.signals.received
        self.summary.seconds = time.perf_counter() - self.begun
        self.summary.phases = {"start": self.starting or 0.0, "load": self.loading, "run": self.answering, **phases}
        return self.summary

    def _answer_all(
        self, entries: Iterable[ModelEntry], numbers: Iterator[int], writer: ResultWriter, related: Iterable[str] = ()
    ) -> dict[str, float]:
        """Give out jobs, take back answers, write them; returns the seconds of correlating and storing."""
        jobs = self._jobs(entries, numbers)
        more = True
        with contextlib.closing(writer):
            while more or self.executor.in_hand():
                if self.signals.received and more:
                    more = False
                    self.executor.drop_waiting()
                while more and self.executor.room() > 0 and not self.signals.received:
                    job = next(jobs, None)
                    if job is None:
                        more = False
                    elif (refusal := self.settings.refusal(job.entry)) is not None:
                        writer.add(*self._recorded(job, refusal))
                    else:
                        self.executor.submit(job)
                for job, answer in self.executor.poll(_POLL_SECONDS):
                    answer = answer.checked(self.probe_hash)
                    writer.add(*self._recorded(job, answer))
                self._count(writer.poll())
            self._count(writer.flush())
            self._write_tags()
            if not self.signals.received:
                writer.relate_known(self.known.union(related), self.probe_hash)
            return dict(writer.seconds)

    def _jobs(self, entries: Iterable[ModelEntry], numbers: Iterator[int]) -> Iterator[Job]:
        """The models that must be run; those that are known are told of and passed over."""
        waiting = iter(entries)
        while some := list(itertools.islice(waiting, _LOOKED_UP)):
            # Many at once: the store is busy while results are written, and the workers shall not wait for it.
            records = self.store.records_for((entry.name for entry in some), self.probe_hash)
            yield from self._new_jobs(some, numbers, records)
            self._write_tags()

    def _new_jobs(
        self, entries: Iterable[ModelEntry], numbers: Iterator[int], records: Mapping[str, ModelRecord]
    ) -> Iterator[Job]:
        for entry in entries:
            if self.signals.received:
                return
            if entry.preprocessing is None:
                entry = dataclasses.replace(entry, preprocessing=self.preprocessing)
            job = Job(next(numbers), entry)
            stamp, known = _stamp(entry.path), records.get(entry.name)
            request = request_hash(job, self.settings, self.code_version)
            before = with_external(request, entry.path, names_of(known.request)) if known is not None else None
            unchanged = (
                known is not None and stamp is not None and before is not None and known.is_unchanged(stamp, before)
            )
            if known is not None and unchanged and not (known.status == "failed" and self.retry_failed):
                self.summary.known += 1
                self.summary.known_failed += known.status == "failed"
                if known.tags != entry.tags:
                    self.retagged.append(dataclasses.replace(known, tags=entry.tags))
                if known.status == "done":
                    self.known.add(known.name)
                event = failed_event(known) if known.status == "failed" else done_event(known)
                self._tell({**event, "known": True})
                continue
            if entry.path.suffix.lower() == ".onnx":
                # Before it is run: weights that change meanwhile are noticed the next time.
                full = with_external(request, entry.path, external_files(entry.path))
                stamp, request = (None, request) if full is None else (stamp, full)
            self.stamps[job.number] = stamp
            self.requests[job.number] = request
            yield job

    def _write_tags(self) -> None:
        """Tags change no answer, so they are no part of a request, and known models need no run for them."""
        if self.retagged:
            self.store.retag(self.retagged)
            self.summary.retagged += len(self.retagged)
            self.retagged.clear()

    def _recorded(self, job: Job, answer: Answer) -> tuple[ModelRecord, Answer]:
        """The record of an answer; an entry or answer that no record can hold is a failure of that model alone."""
        stamp, request = self.stamps.pop(job.number), self.requests.pop(job.number)
        entry = job.entry
        if answer.format == "onnx" and entry.path.suffix.lower() != ".onnx" and external_files(entry.path) != ():
            stamp = None  # nobody looked for its weights in time: it is run again by every scan
        rows = None if answer.outputs is None else len(answer.outputs)
        if rows is not None and self.rows is not None and rows != self.rows:
            words = f"outputs must have {self.rows:,} rows like the sources, got {rows:,}"
            answer = failed("wrong-shape", words, answer.format)
        try:
            return self._record(job, answer, stamp, request), answer
        except (TypeError, ValueError) as error:
            answer = failed(BAD_ARGUMENTS, f"the entry must be one that a store can hold, got {error}")
        bare = ModelRecord(
            name=entry.name,
            path=str(entry.path)[:MAX_TEXT],
            probe_hash=self.probe_hash,
            tags=entry.tags,
            file=stamp,
            request=request,
        )
        return bare, answer

    def _record(self, job: Job, answer: Answer, stamp: FileStamp | None, request: str) -> ModelRecord:
        entry, recorded = job.entry, answer.recorded
        preprocessing = entry.preprocessing or self.preprocessing
        architecture, kwargs = entry.architecture, dict(entry.kwargs)
        if answer.inferred is not None:
            architecture, kwargs = split_architecture(self.settings.architectures[answer.inferred])
        if recorded or architecture is None or answer.reason in _NOT_OPENED:
            kwargs = {}
        dtype = self.settings.dtype
        if dtype is None or recorded:
            dtype = "float32" if answer.outputs is None else str(answer.outputs.dtype).removeprefix("torch.")
        if self.starting is None and any(answer.seconds):
            # Until the first model was begun: nearly all of it is what the workers import.
            self.starting = max(0.0, time.perf_counter() - self.begun - sum(answer.seconds))
        self.loading += answer.seconds[0]
        self.answering += answer.seconds[1]
        return ModelRecord(
            name=entry.name,
            path=str(entry.path),
            probe_hash=self.probe_hash,
            format=answer.format,
            model_hash=answer.model_hash or None,
            architecture=None if recorded else architecture,
            kwargs=kwargs,
            output=None if recorded else entry.output,
            tags=entry.tags,
            preprocessing={} if recorded else preprocessing.to_dict(),
            preprocessing_hash="" if recorded else preprocessing.hash,
            code_version="" if recorded else self.code_version,
            dtype=dtype,
            file=stamp,
            request=request,
            seconds=sum(answer.seconds),
        )

    def _tell(self, event: Event) -> None:
        for listener in self.tell:
            listener(event)

    def _count(self, events: Iterable[Event]) -> None:
        for event in events:
            if event["status"] == "done":
                self.summary.done += 1
            else:
                self.summary.failed += 1
                self.summary.reasons[event["reason"]] = self.summary.reasons.get(event["reason"], 0) + 1
            self._tell(event)

    def _source(self, source: Fingerprint | str) -> Fingerprint:
        if isinstance(source, str):
            record = self.store.record_for(source, self.probe_hash)
            if record is None or record.status != "done":
                why = "no model of that name" if record is None else f"{record.status}: {record.reason or ''}"
                raise ScanError(
                    f"source {source!r} must be a fingerprint or a model that answered the probes, got {why}"
                )
            source = self.store.fingerprint(record)
        if source.probe_hash != self.probe_hash:
            raise ScanError(
                f"source {source.name!r} must be of the scan's probes {self.probe_hash}, got {source.probe_hash}"
            )
        return source


def code_version(device: str, settings: WorkerSettings) -> str:
    """All of the code and its way of running that the last bits of an answer depend on."""
    kind = device.split(":")[0]
    batch = settings.batch_size_on(device)
    how = f"{kind}, batch {batch or 'largest'}" + (", 1 thread, channels last where it fits" if kind == "cpu" else "")
    return f"sac_fast {package_version()}, torch {torch.__version__}, {how}"


def _stamp(path: Path) -> FileStamp | None:
    with contextlib.suppress(OSError, ValueError):
        return FileStamp.of(path)
    return None
