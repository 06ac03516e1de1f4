"""The scan's side of the fork server, the process that forks its workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .named_modules import FORK_SERVER_MAIN
from .sandbox import scrubbed

if TYPE_CHECKING:  # a command starts the process before it imports anything else
    import numpy as np
    import numpy.typing as npt

    from .jobs import ScanError

_MAX_MESSAGE_BYTES = 1 << 16
_CLOSE_SECONDS = 1.0
# The search path comes as an argument: a process that looked into the current folder first, as `python -m` does,
# would import untrusted files there.
_MODULE, _, _FUNCTION = FORK_SERVER_MAIN.partition(":")
# Nothing that is imported is garbage: `main` collects once, then enables collections for what models leave.
# The process dies with the scan from its first moment on (PR_SET_PDEATHSIG), not only once its imports are done.
_PROGRAM = (
    "import ctypes, gc, json, sys; gc.disable(); getattr(ctypes.CDLL(None), 'prctl', print)(1, 9, 0, 0, 0); "
    "sys.path[:] = json.loads(sys.argv[3]); "
    f"from {_MODULE} import {_FUNCTION}; {_FUNCTION}(int(sys.argv[1]), int(sys.argv[2]))"
)
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SAC_FAST_NUM_THREADS")


class ForkServer:
    """Forks worker processes, reports their end, and kills them.

    Args:
        scrub: give the process no more of the environment than it needs.
    """

    def __init__(self, *, scrub: bool = False) -> None:
        self.scrub = scrub
        self._block_fd: int | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open while the process runs)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [os.path.abspath(folder) for folder in sys.path]
        inherited = scrubbed(os.environ) if scrub else dict(os.environ)
        environment = inherited | dict.fromkeys(_ONE_THREAD, "1") | {"PYTHONDONTWRITEBYTECODE": "1"}
        environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        command = [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid()), json.dumps(path)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
                env=environment,
                start_new_session=True,  # Ctrl-C goes to the scan, which stops its workers
            )
        self._serial = 0

    def share(self, block: npt.NDArray[np.uint8]) -> None:
        """Share bytes with all workers that are spawned from now on."""
        self._block_fd = _share(block)

    def spawn(self) -> tuple[int, socket.socket]:
        """Request a worker.

        Returns:
            The serial number that `messages` reports with its pid, and our end of its socket, non-blocking.

        Raises:
            ScanError: the fork server has ended.
        """
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno()] + ([] if self._block_fd is None else [self._block_fd])
        self._serial += 1
        with theirs:
            try:
                socket.send_fds(self.control, [json.dumps({"spawn": self._serial}).encode()], descriptors)
            except OSError as error:
                ours.close()
                raise self.end_error() from error
        ours.setblocking(False)
        return self._serial, ours

    def kill(self, pid: int) -> None:
        """Kill a worker and its children; a worker that has ended is ignored."""
        with contextlib.suppress(OSError):
            self.control.send(json.dumps({"kill": pid}).encode())

    def messages(self) -> list[dict[str, Any]] | None:
        """New messages of the process, ``ready``, ``spawned`` and ``ended``; None once it has ended."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                text = self.control.recv(_MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError:
                return None
            if not text:
                return found or None
            found.append(json.loads(text))

    def was_killed(self) -> bool:
        """Whether the process was killed from outside, so that a new one may work."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=5) == -signal.SIGKILL
        return False

    def end_error(self) -> ScanError:
        """The error with the reason why the process ended."""
        from .jobs import ScanError

        self._process.kill()
        self._process.wait()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "?"
        return ScanError(f"the process that forks workers must keep running, got its end: {last}")

    def close(self, *, wait: bool = True) -> None:
        """End the process, and with it all workers.

        Args:
            wait: let it end its workers and their children; False: it has none.
        """
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_CLOSE_SECONDS if wait else 0)
        self._process.kill()
        self._process.wait()
        self._errors.close()
        if self._block_fd is not None:
            os.close(self._block_fd)
            self._block_fd = None


_ahead: list[ForkServer] = []


@contextlib.contextmanager
def started_ahead(*, scrub: bool) -> Iterator[None]:
    """Start the process that the body will need, so that it imports torch while the body prepares its work.

    Args:
        scrub: of `ForkServer`.
    """
    _ahead.append(ForkServer(scrub=scrub))
    try:
        yield
    finally:
        while _ahead:
            _ahead.pop().close(wait=False)


def take_server(*, scrub: bool) -> ForkServer:
    """The process that was started ahead for this, else a new one."""
    fitting = [server for server in _ahead if server.scrub == scrub]
    if not fitting:
        return ForkServer(scrub=scrub)
    _ahead.remove(fitting[0])
    return fitting[0]


def _share(block: npt.NDArray[np.uint8]) -> int:
    """A descriptor of sealed memory with the bytes, which no worker can change for the others."""
    import fcntl

    descriptor = os.memfd_create("sac_fast probes", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(descriptor, "wb", closefd=False) as handle:
        handle.write(block.data)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def signal_name(status: int) -> str:
    """How a process ended: ``"SIGSEGV"`` or ``"exit code 3"``."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
