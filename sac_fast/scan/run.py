"""A scan: run every model of a batch on the probes; each result is durable in the store before it is reported.

A scan may end at any moment, by Ctrl-C, a full disk or SIGKILL: the next one with the same arguments continues from the
last commit and ends with the same bytes in the store. Models in the store whose file and request did not change are not
opened.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, get_args

from ..io.choices import Comparison, Metric, check_choice
from ..io.files import StrPath
from ..io.hashing import is_hash
from ..io.progress import ProgressBar
from ..models.code_path import code_folder
from ..models.entry import ModelEntry
from ..store.store import ModelStore
from .arguments import check_sources, device_list, listing_of
from .budgets import default_memory, store_budget
from .jobs import Executor, WorkerSettings, code_version
from .known_names import KnownNames
from .probe_file import ProbeFile
from .progress import ScanSummary, StopSignals
from .records import Event, RecordBuilder
from .running import RunningScan
from .sandbox import places_of, unrestricted_parts

if TYPE_CHECKING:  # where there is nothing to do no torch is imported
    from ..fingerprint import Fingerprint
    from ..probes import Probes


def scan_models(
    models: Sequence[ModelEntry] | StrPath,
    probes: Probes | ProbeFile | str,
    store: ModelStore | StrPath,
    *,
    manifest: StrPath | None = None,
    sources: Sequence[Fingerprint | str] = (),
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    device: str = "cpu",
    workers: int | Executor | None = None,
    settings: WorkerSettings | None = None,
    retry_failed: bool = False,
    replace: bool = False,
    progress: bool = False,
    on_event: Callable[[Event], None] | None = None,
    known_events: bool = True,
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
        probes: inputs of the models, images or `RecordedInputs`; or only their hash, for recorded outputs.
        store: open for writing; or its folder, which is created if missing.
        manifest: of the folder, to be believed; what one inside a folder says that is not named is shown at most.
        sources: models whose distance to all others is wanted: fingerprints, or names of models of the scan or of the
            store.
        metric, comparison: of these distances, see `sac_fast.correlation_distance`.
        device: ``"cpu"``; ``"cuda"``: all GPUs; ``"cuda:1"``, ``"cuda:0,cuda:2"``: these.
        workers: number of processes, by default one per core or GPU; or an executor, such as `RayPool`, which is
            closed at the end.
        settings: preprocessing, limits and batch size of the workers.
        retry_failed: run models again that failed before and did not change. Those that exceeded the budget of a scan
            (`max_store_bytes`, half of the free disk) are run again in any case.
        replace: a model of a known name from another file replaces the known one; else both are kept, the new one
            under a name that holds its path.
        progress: show models per second, time left and failures on stderr.
        on_event: called with a JSON-able mapping for each model once it is durable or found in the store
            (``"event": "model"``); before that for what was passed over (``"passed-over"``), and for what a manifest
            inside the folder says of a model (``"claim"``).
        known_events: False: `on_event` is not called for known models with outputs of which there is nothing to say.

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
        >>> from sac_fast.store import ModelStore
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("mine", "yours"):
        ...     np.save(os.path.join(folder, name), np.random.rand(20, 10))  # recorded outputs: 20 probes, 10 classes
        >>> store = os.path.join(tempfile.mkdtemp(), "store")
        >>> summary = sac_fast.scan_models(folder, "sha256:" + "0" * 64, store, sources=["mine.npy"], workers=1)
        >>> summary.done, summary.failed
        (2, 0)
        >>> with ModelStore.open(store, write=False) as opened:
        ...     [found.name for found in opened.distances()]
        ['mine.npy', 'yours.npy']
    """
    settings = settings or WorkerSettings()
    probe_hash = _probe_hash(probes)
    _check_choices(metric, comparison)
    executor = None if workers is None or isinstance(workers, int) else workers
    with contextlib.ExitStack() as stack:
        if executor is not None:
            stack.enter_context(contextlib.closing(executor))
        listing = listing_of(models, manifest, settings)
        check_sources(sources)
        devices = device_list(device, workers if isinstance(workers, int) else None)
        if not isinstance(store, ModelStore):
            store = stack.enter_context(ModelStore.open(store, write=True, create=True))
        is_restricted = settings.readable is not None or (executor is None and settings.sandbox)

        def start() -> Executor:
            pool = _start_workers(probes, devices, settings, listing.entries)
            return stack.enter_context(contextlib.closing(pool))

        code = code_version(devices[0], settings)
        left = store_budget(settings, store.folder)
        signals = stack.enter_context(StopSignals())
        bar = stack.enter_context(ProgressBar("scanning", len(listing.entries), "models", progress))
        scan = RunningScan(
            store=store,
            start=start if executor is None else lambda: executor,
            builder=RecordBuilder.of(probes, settings, code, left),
            retry_failed=retry_failed,
            names=KnownNames(store, probe_hash, replace),
            signals=signals,
            bar=bar,
            on_event=on_event,
            summary=ScanSummary.of(listing, unrestricted_parts(() if is_restricted else None, devices[0])),
            known_events=known_events,
        )
        if on_event is not None:
            for event in listing.events():
                on_event(event)
        return scan.run(listing.entries, metric, comparison, sources)


def _probe_hash(probes: Probes | ProbeFile | str) -> str:
    if not isinstance(probes, (str, ProbeFile)):
        from ..probes import ProbeSet, RecordedInputs

        if not isinstance(probes, (ProbeSet, RecordedInputs)):
            raise TypeError(
                f"probes must be a ProbeSet, RecordedInputs or the hash of one, got {type(probes).__name__}"
            )
    probe_hash = probes if isinstance(probes, str) else probes.content_hash
    if not is_hash(probe_hash):
        raise ValueError(f'probes must be a ProbeSet or "sha256:" and 64 digits, got {probes!r}')
    return probe_hash


def _check_choices(metric: Metric, comparison: Comparison) -> None:
    check_choice("metric", metric, get_args(Metric))
    check_choice("comparison", comparison, get_args(Comparison))


def _start_workers(
    probes: Probes | ProbeFile | str,
    devices: Sequence[str],
    settings: WorkerSettings,
    entries: Sequence[ModelEntry],
) -> Executor:
    """The processes that run models, once there is one to run."""
    from .fork_server import take_server
    from .pool import WorkerPool

    if settings.memory_bytes is None:
        settings = dataclasses.replace(settings, memory_bytes=default_memory(len(devices)))
    if settings.sandbox:
        places = [*places_of(entries, code_folder()), *(settings.readable or ())]
        settings = dataclasses.replace(settings, readable=places)
    server = take_server(scrub=settings.readable is not None)  # it imports torch; this process does without
    try:
        if isinstance(probes, ProbeFile):
            probes = probes.load()
        return WorkerPool(None if isinstance(probes, str) else probes, devices, settings, server)
    except BaseException:
        server.close()
        raise
