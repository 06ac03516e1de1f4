"""The unit of work of a scan as tasks of a Ray cluster (extra ``ray``).

A task opens and runs one model, in a worker process of its own beside the Ray worker, with the same limits as on one
machine: strangers' code never runs where Ray unpickles objects, and what comes back is `bytes`, which Ray hands on as
they are. The scan alone writes the store. Files must have the same paths on all nodes, and sac_fast must be installed
there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

import numpy as np

from ..io.hashing import canonical_json
from ..probes import ProbeSet
from .fork_server import ScanError
from .jobs import BAD_ARGUMENTS, Job, WorkerSettings, request_of
from .place import default_memory
from .pool import WorkerPool
from .protocol import Answer, FrameReader, WireError, failed, pack, read_reply, reply_of
from .worker import entry_of

#: How often Ray tries a task again whose worker or node was lost.
_RETRIES = 5
#: Tasks in flight for each that the cluster can run at once.
_DEPTH = 2


class RayPool:
    """Runs jobs as Ray tasks.

    Args:
        address: ``"host:port"`` or ``"ray://…"``; ``"auto"``: the cluster that is found, else a new one here.
        probes: what the models answer; None: recorded outputs only.
        device: ``"cpu"`` or ``"cuda"``: what a task asks Ray for.
        settings: of the workers.

    Raises:
        ScanError: ray is not installed, or there is no cluster at the address or nothing in it to run on.
        ValueError: another device.
    """

    def __init__(self, address: str, probes: ProbeSet | None, device: str, settings: WorkerSettings) -> None:
        try:
            import ray
        except ImportError as error:
            raise ScanError(f"a scan on Ray needs ray: pip install 'sac-fast[ray]' ({error})") from error
        if device not in ("cpu", "cuda"):
            raise ValueError(f'device must be "cpu" or "cuda" on Ray, which chooses the GPUs, got {device!r}')
        self._ray: Any = ray
        self._owns = not ray.is_initialized()
        if self._owns:
            _connect(ray, address)
        self._unit = "CPU" if device == "cpu" else "GPU"
        resources: dict[str, Any] = {"num_cpus": 1} if device == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        self._task = self._ray.remote(max_retries=_RETRIES, **resources)(run_task)
        self._rows = None if probes is None else len(probes)
        self._settings = settings
        setup = {
            "settings": settings.to_dict(),
            "device": device if device == "cpu" else "cuda:0",  # Ray shows a task its own GPU only
            "shape": None if probes is None else list(probes.images.shape),
            "path": [os.path.abspath(folder) for folder in sys.path],
        }
        self._setup = canonical_json(setup).encode()
        self._pixels = None if probes is None else ray.put(probes.images.tobytes())
        self._running: dict[Any, Job] = {}
        self._done: list[tuple[Job, Answer]] = []
        if self._slots() < 1:
            self.close()
            raise ScanError(f"the Ray cluster must have a {self._unit} to run on, got none")

    def _slots(self) -> int:
        return int(self._ray.cluster_resources().get(self._unit, 0))

    def room(self) -> int:
        """How many more jobs it would take now: the cluster may grow and shrink."""
        return max(1, self._slots()) * _DEPTH - self.in_hand()

    def in_hand(self) -> int:
        """How many jobs it has taken and not answered."""
        return len(self._running) + len(self._done)

    def submit(self, job: Job) -> None:
        """Take a job."""
        try:
            request = b"".join(pack(request_of(job)))
        except (TypeError, ValueError, WireError) as error:
            self._done.append((job, failed(BAD_ARGUMENTS, f"{type(error).__name__}: {error}")))
            return
        self._running[self._task.remote(self._setup, self._pixels, request)] = job

    def drop_waiting(self) -> None:
        """Nothing is dropped: Ray does not tell which tasks it has begun, and there are few in flight."""

    def poll(self, seconds: float) -> list[tuple[Job, Answer]]:
        """What has been done, after waiting at most so long for the first."""
        done, self._done = self._done, []
        if self._running and not done:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
            if ready:  # and whatever else is there
                ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            done += [(self._running.pop(reference), self._answer(reference)) for reference in ready]
        return done

    def _answer(self, reference: Any) -> Answer:
        try:
            frame = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return failed("worker-lost", f"{type(error).__name__} after {_RETRIES} retries")
        try:
            if type(frame) is not bytes:
                raise WireError("a task must return bytes")
            ((header, body),) = FrameReader(self._settings.max_body_bytes).feed(frame)
            answer = read_reply(header, body, self._rows)
            if answer.inferred is not None and answer.inferred >= len(self._settings.architectures):
                raise WireError("a reply must infer one of the architectures")
        except (WireError, ValueError) as error:
            return failed("bad-answer", str(error))
        return answer

    def close(self) -> None:
        """Cancel what is running and leave the cluster, or end it if it was started here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._owns:
            self._ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address == "auto":
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:
                ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=None if address == "local" else address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ScanError(f"the address of a Ray cluster must lead to one, got {address!r}: {error}") from error


_crews: dict[bytes, WorkerPool] = {}


def run_task(setup: bytes, pixels: bytes | None, request: bytes) -> bytes:
    """What a Ray worker does: let its own worker process do the job, which stays for the next one.

    Args:
        setup: settings, device and shape of the probes as canonical JSON.
        pixels: of the probes.
        request: frame of `request_of`.

    Returns:
        The frame of the reply.
    """
    ((header, _),) = FrameReader().feed(request)
    number: int = header["number"]
    try:
        crew = _crews.get(setup)
        if crew is None:
            for old in _crews.values():
                old.close()
            _crews.clear()
            crew = _crews[setup] = _hire(setup, pixels)
        crew.submit(Job(number, entry_of(header)))
        while True:
            for _, answer in crew.poll(1.0):
                return b"".join(pack(*reply_of(answer, number)))
    except Exception as error:  # an object that Ray would pickle must not arise
        for old in _crews.values():
            old.close()
        _crews.clear()
        return b"".join(pack(*reply_of(failed("worker-lost", f"{type(error).__name__}: {error}"), number)))


def _hire(setup: bytes, pixels: bytes | None) -> WorkerPool:
    values = json.loads(setup)
    sys.path += [folder for folder in values["path"] if folder not in sys.path]
    settings = WorkerSettings.from_dict(values["settings"])
    if settings.memory_bytes is None:
        settings = dataclasses.replace(settings, memory_bytes=default_memory(os.cpu_count() or 1))
    images = None if pixels is None else np.frombuffer(pixels, np.uint8).reshape(values["shape"])
    return WorkerPool(images, [values["device"]], settings)
