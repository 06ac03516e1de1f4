"""Worker processes on this machine: each has one model in hand and one waiting, a time limit and a memory limit."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence

from ..probes import ProbeSet
from ..probes.jpeg import Pixels
from .attempts import Try, Worker, is_guilty
from .fork_server import Nursery, ScanError, anonymous_bytes, signal_name
from .jobs import BAD_ARGUMENTS, Job, WorkerSettings, request_of
from .protocol import Answer, FrameReader, WireError, failed, pack, read_reply

_MOST_RESTARTS = 5
_TICK_SECONDS = 0.25
_SILENT_SECONDS = 5.0
_PIECE = 1 << 20
#: What a worker's own memory holds besides its model: copies of what the imports made.
_IMPORTS_BYTES = 256 << 20


class WorkerPool:
    """Runs jobs in worker processes; replaces those that crash, hang, or take too much memory.

    Args:
        probes: what the models answer, or their pixels; None: recorded outputs only.
        devices: one worker for each: ``["cpu", "cpu"]``, ``["cuda:0", "cuda:1"]``.
        settings: of the workers.
    """

    def __init__(self, probes: ProbeSet | Pixels | None, devices: Sequence[str], settings: WorkerSettings) -> None:
        if not devices:
            raise ValueError("devices must name at least one device, got none")
        self._pixels = probes.images if isinstance(probes, ProbeSet) else probes
        self._rows = None if probes is None else len(probes)
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[Try] = deque()
        self._done: list[tuple[Job, Answer]] = []
        self._workers: list[Worker] = []
        self._devices = list(devices)
        self._restarts = 0
        self._draining = False
        self._last_look = 0.0
        self._nursery = self._start()

    def _start(self) -> Nursery:
        nursery = Nursery(self._pixels)
        self._ready = False
        self._selector.register(nursery.control, selectors.EVENT_READ, None)
        return nursery

    def room(self) -> int:
        """How many more jobs it would take now: two for each worker, so that none has to wait for the next."""
        return 0 if self._draining else 2 * len(self._devices) - self.in_hand()

    def in_hand(self) -> int:
        """How many jobs it has taken and not answered."""
        return len(self._waiting) + sum(len(worker.tries) for worker in self._workers) + len(self._done)

    def submit(self, job: Job) -> None:
        """Take a job."""
        try:
            message = b"".join(pack(request_of(job)))
        except (TypeError, ValueError, WireError) as error:
            self._done.append((job, failed(BAD_ARGUMENTS, f"{type(error).__name__}: {error}")))
            return
        self._waiting.append(Try(job, message=message))

    def drop_waiting(self) -> None:
        """Forget the jobs that nobody has begun; what is in hand is still answered."""
        self._draining = True
        self._waiting.clear()
        for worker in self._workers:
            while len(worker.tries) > 1:
                worker.tries.pop()

    def poll(self, seconds: float) -> list[tuple[Job, Answer]]:
        """What has been done, after waiting at most so long for the first."""
        until = time.monotonic() + seconds
        while True:
            self._feed()
            left = until - time.monotonic()
            if self._done or not self.in_hand():
                left = 0.0
            for key, events in self._selector.select(max(0.0, min(left, _TICK_SECONDS))):
                self._handle(key.data, events)
            self._look_after()
            if left <= 0 or self._done:
                done, self._done = self._done, []
                return done

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._nursery.close()
        self._selector.close()

    # --- giving out ---------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Start the workers that are missing and give everybody something to do."""
        missing = list(self._devices)
        for worker in self._workers:
            missing.remove(worker.device)
        for device in missing:
            if len(self._waiting) > sum(not worker.tries for worker in self._workers):
                self._hire(device)
        # First one for each, then one more to wait.
        for depth in (1,) if self._draining else (1, 2):
            for worker in self._workers:
                if self._waiting and worker.verdict is None and len(worker.tries) < depth:
                    self._give(worker)

    def _give(self, worker: Worker) -> None:
        alone = self._waiting[0].alone
        if worker.tries and (alone or worker.tries[0].alone):
            return
        if alone and worker.used:
            self._end(worker, "", "")  # the next one is new
            return
        given = self._waiting.popleft()
        if not worker.tries:
            worker.since = time.monotonic()
        worker.tries.append(given)
        worker.used = True
        self._send(worker, given.message)

    def _hire(self, device: str) -> None:
        try:
            serial, connection = self._nursery.spawn()
        except ScanError:
            self._nursery_is_gone()
            return
        shape = None if self._pixels is None else self._pixels.shape
        setup = self._settings.setup(device, shape)
        worker = Worker(device, serial, connection, FrameReader(self._settings.max_body_bytes), setup["overlap"])
        self._workers.append(worker)
        self._selector.register(connection, selectors.EVENT_READ, worker)
        self._send(worker, b"".join(pack(setup)))

    def _send(self, worker: Worker, message: bytes) -> None:
        worker.unsent += message
        self._push(worker)

    def _push(self, worker: Worker) -> None:
        """Send what the socket takes now; the rest when it can take more."""
        # A worker that is gone is noticed by its end.
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while worker.unsent:
                del worker.unsent[: worker.connection.send(worker.unsent)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
        with contextlib.suppress(KeyError):
            self._selector.modify(worker.connection, events, worker)

    # --- taking back --------------------------------------------------------------------------------------------

    def _handle(self, worker: Worker | None, events: int) -> None:
        if worker is None:
            self._listen()
            return
        if worker not in self._workers:
            return
        if events & selectors.EVENT_WRITE:
            self._push(worker)
        if events & selectors.EVENT_READ:
            self._read(worker)

    def _read(self, worker: Worker) -> None:
        try:
            piece = worker.connection.recv(_PIECE)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            # How it ended comes with the nursery's message.
            worker.silent_since = time.monotonic()
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.connection)
            return
        if worker.verdict is not None:
            return
        try:
            for header, body in worker.reader.feed(piece):
                if not worker.tries or header.get("number") != worker.tries[0].job.number:
                    if self._draining:
                        continue  # of a job that was dropped
                    raise WireError("a reply must be to the model in hand")
                answer = read_reply(header, body, self._rows)
                if answer.inferred is not None and answer.inferred >= len(self._settings.architectures):
                    raise WireError("a reply must infer one of the architectures")
                self._answered(worker, answer)
        except WireError as error:
            self._end(worker, "bad-answer", str(error))

    def _answered(self, worker: Worker, answer: Answer) -> None:
        tried = worker.tries[0]
        self._restarts = 0
        if answer.reason == "out-of-memory" and not tried.alone:
            # Perhaps others before it or beside it took the memory.
            tried.alone = True
            self._end(worker, "", "")
            return
        worker.tries.popleft()
        worker.since = time.monotonic()
        self._done.append((tried.job, answer))

    def _listen(self) -> None:
        messages = self._nursery.messages()
        if messages is None:
            self._nursery_is_gone()
            return
        for message in messages:
            if "ready" in message:
                self._ready = True
            elif "spawned" in message:
                for worker in self._workers:
                    if worker.serial == message["spawned"]:
                        worker.pid, worker.since = message["pid"], time.monotonic()
                        if worker.verdict is not None:
                            self._nursery.kill(worker.pid)
            elif "ended" in message:
                for worker in [worker for worker in self._workers if worker.pid == message["ended"]]:
                    self._read_rest(worker)
                    self._bury(worker, message["status"])

    def _read_rest(self, worker: Worker) -> None:
        """Answers that a worker sent before it ended count."""
        while worker.verdict is None and worker.tries:
            before = len(worker.tries)
            self._read(worker)
            try:
                more = worker.connection.recv(1, socket.MSG_PEEK)
            except OSError:
                more = b""
            if not more and len(worker.tries) == before:
                return

    def _bury(self, worker: Worker, status: int) -> None:
        """Take a worker off the list and decide what becomes of its jobs."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.connection)
        worker.connection.close()
        self._workers.remove(worker)
        again = list(worker.tries)
        suspects = again[: 2 if worker.overlap else 1]  # who loads ahead has two in hand
        if suspects and is_guilty(suspects, worker.verdict, status):
            reason, message = worker.verdict or ("crashed", f"the worker process ended by {signal_name(status)}")
            self._done.append((again.pop(0).job, failed(reason, message)))
        if self._draining:
            again = [tried for tried in again if tried is suspects[0]]
        self._waiting.extendleft(reversed(again))

    def _nursery_is_gone(self) -> None:
        """Start again with new workers; all models in hand were ended with the old ones."""
        self._restarts += 1
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._nursery.control)
        workers = list(self._workers)
        for worker in workers:
            self._read_rest(worker)
            worker.verdict = worker.verdict or ("", "")
            self._bury(worker, -signal.SIGKILL)
        if self._restarts > _MOST_RESTARTS or not (self._ready or self._nursery.was_killed()):
            raise self._nursery.gone()
        self._nursery.close()
        self._nursery = self._start()

    def _end(self, worker: Worker, reason: str, message: str) -> None:
        """End a worker because of the model that it has in hand."""
        if worker.verdict is None:
            worker.verdict = (reason, message)
            if worker.pid is not None:
                self._nursery.kill(worker.pid)

    def _look_after(self) -> None:
        """Time and memory limits."""
        now = time.monotonic()
        if now - self._last_look < _TICK_SECONDS / 2:
            return
        self._last_look = now
        most = self._settings.memory_bytes
        for worker in [worker for worker in self._workers if worker.silent_since is not None]:
            silent = now - (worker.silent_since or now)
            if silent > _SILENT_SECONDS and worker.pid is not None:
                self._nursery.kill(worker.pid)  # whoever hung up has nothing more to say
            if silent > 20 * _SILENT_SECONDS:  # no word of its end
                worker.verdict = worker.verdict or ("", "")
                self._bury(worker, -signal.SIGKILL)
        for worker in self._workers:
            if not worker.tries or worker.pid is None or worker.verdict is not None:
                continue
            if now - worker.since > self._settings.timeout:
                self._end(worker, "timed-out", f"the model must answer within {self._settings.timeout:g} seconds")
            elif most is not None and anonymous_bytes(worker.pid) > most + _IMPORTS_BYTES:
                self._end(worker, "out-of-memory", f"the worker must stay under {most:,} bytes of memory")
