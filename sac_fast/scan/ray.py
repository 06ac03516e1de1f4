"""The jobs of a scan as tasks of a Ray cluster (extra ``ray``).

A task opens and runs one model in a worker process beside the Ray worker, with the same limits as on one machine:
untrusted code never runs in a process where Ray unpickles objects, and a task returns `bytes`, which Ray passes on
without pickling. Only the scan writes the store. Files must have the same paths on all nodes, and sac_fast must be
installed there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError
from ..io.hashing import canonical_json
from ..io.ray_cluster import connect_ray
from ..models import ModelEntry
from ..models.code_path import allow_code_in, code_folder
from ..probes import Probes
from .budgets import default_memory
from .jobs import Job, ScanError, WorkerSettings, pack_request
from .pool import WorkerPool
from .protocol import WORKER_LOST, FrameReader, RunResult, WireError, failed, pack, read_reply, reply_of
from .shared_probes import SharedProbes
from .worker import entry_of

# Repetitions of a task whose worker or node was lost.
_MAX_RETRIES = 5
# Submitted tasks for each one that the cluster can run at once.
_QUEUE_DEPTH = 2


class RayPool:
    """Runs jobs as Ray tasks.

    Args:
        address: ``"host:port"`` or ``"ray://…"``; ``"auto"``: the cluster that is found, else a new one here.
        probes: the inputs of the models; None: recorded outputs only.
        device: ``"cpu"`` or ``"cuda"``: the resource of a task.
        settings: of the workers.

    Raises:
        ScanError: ray is not installed, or there is no cluster at the address or nothing in it to run on.
        ValueError: another device.
    """

    def __init__(self, address: str, probes: Probes | None, device: str, settings: WorkerSettings) -> None:
        if device not in ("cpu", "cuda"):
            raise ValueError(f'device must be "cpu" or "cuda" on Ray, which chooses the GPUs, got {device!r}')
        try:
            self._ray, self._owns = connect_ray(address)
        except BackendError as error:
            raise ScanError(str(error)) from error
        self._unit = "CPU" if device == "cpu" else "GPU"
        resources: dict[str, Any] = {"num_cpus": 1} if device == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        self._task = self._ray.remote(max_retries=_MAX_RETRIES, **resources)(run_task)
        self._rows = None if probes is None else len(probes)
        shared = None if probes is None else SharedProbes.of(probes)
        self._settings = settings
        setup = {
            "settings": settings.to_dict(),
            "device": device if device == "cpu" else "cuda:0",  # Ray shows a task its own GPU only
            "probes": None if shared is None else shared.layout,
            "path": [os.path.abspath(folder) for folder in sys.path],
            "started_in": os.getcwd(),
            "code_folder": code_folder(),
        }
        self._setup = canonical_json(setup).encode()
        self._block = None if shared is None else self._ray.put(shared.block.tobytes())
        self._running: dict[Any, Job] = {}
        self._done: list[tuple[Job, RunResult]] = []
        if self._slots() < 1:
            self.close()
            raise ScanError(f"the Ray cluster must have a {self._unit} to run on, got none")

    def _slots(self) -> int:
        return int(self._ray.cluster_resources().get(self._unit, 0))

    def capacity(self) -> int:
        """How many more jobs it takes now; the cluster may grow and shrink."""
        return max(1, self._slots()) * _QUEUE_DEPTH - self.pending()

    def pending(self) -> int:
        """The number of submitted jobs whose result was not returned yet."""
        return len(self._running) + len(self._done)

    def submit(self, job: Job) -> None:
        """Take a job."""
        request = pack_request(dataclasses.replace(job, entry=_absolute(job.entry)))
        if isinstance(request, bytes):
            self._running[self._task.remote(self._setup, self._block, request)] = job
        else:
            self._done.append((job, request))

    def cancel_queued(self) -> None:
        """Drop nothing: Ray does not report which tasks have started, and few are queued."""

    def poll(self, seconds: float) -> list[tuple[Job, RunResult]]:
        """The jobs that have ended, after waiting at most so long for the first."""
        done, self._done = self._done, []
        if self._running and not done:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
            if ready:  # and all others that have ended
                ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            done += [(self._running.pop(reference), self._result(reference)) for reference in ready]
        return done

    def _result(self, reference: Any) -> RunResult:
        try:
            frame = self._ray.get(reference)
            if type(frame) is not bytes:
                raise WireError("a task must return bytes")
            ((header, body),) = FrameReader(self._settings.max_body_bytes).feed(frame)
            return read_reply(header, body, self._rows, len(self._settings.architectures))
        except self._ray.exceptions.RayError as error:
            return failed(WORKER_LOST, f"{type(error).__name__} after {_MAX_RETRIES} retries")
        except (WireError, ValueError) as error:
            return failed("bad-answer", str(error))

    def close(self) -> None:
        """Cancel all tasks and leave the cluster, or end it if it was started here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._owns:
            self._ray.shutdown()


def _absolute(entry: ModelEntry) -> ModelEntry:
    """The entry with paths that mean the same file in another process's folder."""
    root = None if entry.root is None else Path(os.path.abspath(entry.root))
    return dataclasses.replace(entry, path=Path(os.path.abspath(entry.path)), root=root)


_pools: dict[bytes, WorkerPool] = {}


def run_task(setup: bytes, block: bytes | None, request: bytes) -> bytes:
    """The task: run one job in a worker process, which is kept for the next task.

    Args:
        setup: settings, device and layout of the probes as canonical JSON.
        block: bytes of the probes.
        request: frame of `request_of`.

    Returns:
        The frame of the reply.
    """
    ((header, _),) = FrameReader().feed(request)
    number: int = header["number"]
    try:
        pool = _pools.get(setup)
        if pool is None:
            _close_pools()
            pool = _pools[setup] = _make_pool(setup, block)
        pool.submit(Job(number, entry_of(header)))
        while True:
            for _, result in pool.poll(1.0):
                return b"".join(pack(*reply_of(result, number)))
    except Exception as error:  # Ray would pickle the exception
        _close_pools()
        return b"".join(pack(*reply_of(failed(WORKER_LOST, f"{type(error).__name__}: {error}"), number)))


def _close_pools() -> None:
    while _pools:
        _pools.popitem()[1].close()


def _make_pool(setup: bytes, block: bytes | None) -> WorkerPool:
    values = json.loads(setup)
    # Ray lets workers search the folder in which the command was started first: that is for `allow_code_in` to say.
    own = [folder for folder in sys.path if os.path.abspath(folder) != values["started_in"]]
    sys.path[:] = own + [folder for folder in values["path"] if folder not in own]
    allow_code_in(values["code_folder"])
    settings = WorkerSettings.from_dict(values["settings"])
    if settings.memory_bytes is None:
        settings = dataclasses.replace(settings, memory_bytes=default_memory(os.cpu_count() or 1))
    probes = None if block is None else SharedProbes(np.frombuffer(block, np.uint8), values["probes"])
    return WorkerPool(probes, [values["device"]], settings)
