"""Worker processes on this machine: each has one model running and one queued, a time limit and a memory limit."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence

from ..io.process import status_bytes
from ..probes import Probes
from .attempts import Attempt, Worker, is_failed
from .fork_server import ForkServer, signal_name, take_server
from .jobs import Job, ScanError, WorkerSettings, pack_request
from .protocol import FrameReader, RunResult, WireError, failed, pack, read_reply
from .shared_probes import SharedProbes

_MAX_RESTARTS = 5
_TICK_SECONDS = 0.25
_SILENT_SECONDS = 5.0
_PIECE_BYTES = 1 << 20
# A worker's own memory besides its model: copied pages of the imports.
_IMPORTS_BYTES = 256 << 20


class WorkerPool:
    """Runs jobs in worker processes; replaces those that crash, hang, or take too much memory.

    Args:
        probes: what the models are asked with; None: recorded outputs only.
        devices: one worker for each: ``["cpu", "cpu"]``, ``["cuda:0", "cuda:1"]``.
        settings: of the workers.
        server: that forks them, closed at the end; None: the one that was started ahead, else a new one.
    """

    def __init__(
        self,
        probes: Probes | SharedProbes | None,
        devices: Sequence[str],
        settings: WorkerSettings,
        server: ForkServer | None = None,
    ) -> None:
        if not devices:
            raise ValueError("devices must name at least one device, got none")
        self._probes = probes if probes is None or isinstance(probes, SharedProbes) else SharedProbes.of(probes)
        self._rows = None if self._probes is None else self._probes.layout["rows"]
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._queue: deque[Attempt] = deque()
        self._done: list[tuple[Job, RunResult]] = []
        self._workers: list[Worker] = []
        self._devices = list(devices)
        self._restarts = 0
        self._draining = False
        self._limits_checked = 0.0
        self._server = self._start_server(server)

    def _start_server(self, server: ForkServer | None = None) -> ForkServer:
        server = server or take_server(scrub=self._settings.readable is not None)
        if self._probes is not None:
            server.share(self._probes.block)
        self._ready = False
        self._selector.register(server.control, selectors.EVENT_READ, None)
        return server

    def capacity(self) -> int:
        """How many more jobs it takes now: two for each worker, so that none waits for its next job."""
        return 0 if self._draining else 2 * len(self._devices) - self.pending()

    def pending(self) -> int:
        """The number of submitted jobs whose result was not returned yet."""
        return len(self._queue) + sum(len(worker.attempts) for worker in self._workers) + len(self._done)

    def submit(self, job: Job) -> None:
        """Take a job."""
        message = pack_request(job)
        if isinstance(message, bytes):
            self._queue.append(Attempt(job, message=message))
        else:
            self._done.append((job, message))

    def cancel_queued(self) -> None:
        """Drop the jobs that have not started; running ones are finished."""
        self._draining = True
        self._queue.clear()
        for worker in self._workers:
            while len(worker.attempts) > (worker.pid is not None):  # a process that is not there yet runs nothing
                worker.attempts.pop()

    def poll(self, seconds: float) -> list[tuple[Job, RunResult]]:
        """The jobs that have ended, after waiting at most so long for the first."""
        until = time.monotonic() + seconds
        while True:
            self._dispatch()
            left = until - time.monotonic()
            if self._done or not self.pending():
                left = 0.0
            for key, events in self._selector.select(max(0.0, min(left, _TICK_SECONDS))):
                self._handle(key.data, events)
            self._enforce_limits()
            if left <= 0 or self._done:
                done, self._done = self._done, []
                return done

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._server.close(wait=self._ready)  # until then it has no workers
        self._selector.close()

    # --- dispatch -----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start missing workers and send each of them jobs."""
        missing = list(self._devices)
        for worker in self._workers:
            missing.remove(worker.device)
        for device in missing:
            if len(self._queue) > sum(not worker.attempts for worker in self._workers):
                self._spawn(device)
        # First one job for each worker, then one more to queue there.
        for depth in (1,) if self._draining else (1, 2):
            for worker in self._workers:
                if self._queue and worker.stopped is None and len(worker.attempts) < depth:
                    self._dispatch_to(worker)

    def _dispatch_to(self, worker: Worker) -> None:
        alone = self._queue[0].alone
        if worker.attempts and (alone or worker.attempts[0].alone):
            return
        if alone and worker.used:
            self._stop(worker, "", "")  # its replacement is a new process
            return
        attempt = self._queue.popleft()
        if not worker.attempts:
            worker.since = time.monotonic()
        worker.attempts.append(attempt)
        worker.used = True
        self._send(worker, attempt.message)

    def _spawn(self, device: str) -> None:
        try:
            serial, connection = self._server.spawn()
        except ScanError:
            self._restart_server()
            return
        setup = self._settings.setup(device, None if self._probes is None else self._probes.layout)
        worker = Worker(device, serial, connection, FrameReader(self._settings.max_body_bytes), setup["overlap"])
        self._workers.append(worker)
        self._selector.register(connection, selectors.EVENT_READ, worker)
        self._send(worker, b"".join(pack(setup)))

    def _send(self, worker: Worker, message: bytes = b"") -> None:
        """Send what the socket takes now of earlier messages and this one; the rest when it is writable again."""
        worker.unsent += message
        # The end of a worker is reported by the fork server.
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while worker.unsent:
                del worker.unsent[: worker.connection.send(worker.unsent)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
        with contextlib.suppress(KeyError):
            self._selector.modify(worker.connection, events, worker)

    # --- replies ------------------------------------------------------------------------------------------------

    def _handle(self, worker: Worker | None, events: int) -> None:
        if worker is None:
            self._receive_messages()
            return
        if worker not in self._workers:
            return
        if events & selectors.EVENT_WRITE:
            self._send(worker)
        if events & selectors.EVENT_READ:
            self._read(worker)

    def _read(self, worker: Worker) -> None:
        try:
            piece = worker.connection.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            # The exit status comes in a message of the fork server.
            worker.silent_since = time.monotonic()
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.connection)
            return
        if worker.stopped is not None:
            return
        try:
            for header, body in worker.reader.feed(piece):
                if not worker.attempts or header.get("number") != worker.attempts[0].job.number:
                    if self._draining:
                        continue  # of a job that was cancelled
                    raise WireError("a reply must be to the model that runs")
                self._finish(worker, read_reply(header, body, self._rows, len(self._settings.architectures)))
        except WireError as error:
            self._stop(worker, "bad-answer", str(error))

    def _finish(self, worker: Worker, result: RunResult) -> None:
        attempt = worker.attempts[0]
        self._restarts = 0
        if result.reason == "out-of-memory" and not attempt.alone:
            # Models before it or beside it may have taken the memory.
            attempt.alone = True
            self._stop(worker, "", "")
            return
        worker.attempts.popleft()
        worker.since = time.monotonic()
        self._done.append((attempt.job, result))

    def _receive_messages(self) -> None:
        messages = self._server.messages()
        if messages is None:
            self._restart_server()
            return
        for message in messages:
            if "ready" in message:
                self._ready = True
            elif "spawned" in message:
                for worker in self._workers:
                    if worker.serial == message["spawned"]:
                        worker.pid, worker.since = message["pid"], time.monotonic()
                        if worker.stopped is not None:
                            self._server.kill(worker.pid)
            elif "ended" in message:
                for worker in [worker for worker in self._workers if worker.pid == message["ended"]]:
                    self._read_rest(worker)
                    self._reap(worker, message["status"])

    def _read_rest(self, worker: Worker) -> None:
        """Read the replies that a worker sent before it ended."""
        while worker.stopped is None and worker.attempts:
            before = len(worker.attempts)
            self._read(worker)
            try:
                more = worker.connection.recv(1, socket.MSG_PEEK)
            except OSError:
                more = b""
            if not more and len(worker.attempts) == before:
                return

    def _reap(self, worker: Worker, status: int) -> None:
        """Remove a worker that ended; its attempts are final or repeated."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.connection)
        worker.connection.close()
        self._workers.remove(worker)
        again = list(worker.attempts)
        started = again[: 2 if worker.overlap else 1]  # a worker that loads ahead has started two
        if started and is_failed(started, worker.stopped, status):
            reason, message = worker.stopped or ("crashed", f"the worker process ended by {signal_name(status)}")
            self._done.append((again.pop(0).job, failed(reason, message)))
        if self._draining:
            again = [attempt for attempt in again if attempt is started[0]]
        self._queue.extendleft(reversed(again))

    def _restart_server(self) -> None:
        """Start a new fork server; all models that were running ended with the old one."""
        self._restarts += 1
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._server.control)
        workers = list(self._workers)
        for worker in workers:
            self._read_rest(worker)
            worker.stopped = worker.stopped or ("", "")
            self._reap(worker, -signal.SIGKILL)
        if self._restarts > _MAX_RESTARTS or not (self._ready or self._server.was_killed()):
            raise self._server.end_error()
        self._server.close()
        self._server = self._start_server()

    def _stop(self, worker: Worker, reason: str, message: str) -> None:
        """Kill a worker because of the model that it runs."""
        if worker.stopped is None:
            worker.stopped = (reason, message)
            if worker.pid is not None:
                self._server.kill(worker.pid)

    def _enforce_limits(self) -> None:
        """Stop workers beyond their time or memory limit."""
        now = time.monotonic()
        if now - self._limits_checked < _TICK_SECONDS / 2:
            return
        self._limits_checked = now
        max_bytes = self._settings.memory_bytes
        for worker in [worker for worker in self._workers if worker.silent_since is not None]:
            silent = now - (worker.silent_since or now)
            if silent > _SILENT_SECONDS and worker.pid is not None:
                self._server.kill(worker.pid)  # it closed its connection but has not ended
            if silent > 20 * _SILENT_SECONDS:  # the message of its end was lost
                worker.stopped = worker.stopped or ("", "")
                self._reap(worker, -signal.SIGKILL)
        for worker in self._workers:
            if not worker.attempts or worker.pid is None or worker.stopped is not None:
                continue
            if now - worker.since > self._settings.timeout:
                self._stop(worker, "timed-out", f"the model must end within {self._settings.timeout:g} seconds")
            elif max_bytes is not None and status_bytes("RssAnon", worker.pid) > max_bytes + _IMPORTS_BYTES:
                self._stop(worker, "out-of-memory", f"the worker must stay under {max_bytes:,} bytes of memory")
