"""The process that forks a scan's workers, seen from the scan."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SacFastError

_MESSAGE_BYTES = 1 << 16
# The search path comes as an argument: a process that looked into the current folder first, as `python -m` does,
# would import what a stranger put there.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from sac_fast.scan.worker_main import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SAC_FAST_NUM_THREADS")


class ScanError(SacFastError, RuntimeError):
    """A scan that cannot go on: its workers cannot be started, or its arguments do not fit together."""


class Nursery:
    """Starts worker processes, tells when one ended, and ends them.

    Args:
        pixels: uint8 ``(n, H, W, 3)`` that all workers shall see, or None.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8] | None) -> None:
        self._pixels_fd = None if pixels is None else _shared(pixels)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process runs)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [os.path.abspath(folder) for folder in sys.path]
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1") | {"PYTHONDONTWRITEBYTECODE": "1"}
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
                start_new_session=True,  # Ctrl-C is for the scan, which tells its workers
            )
        self._serial = 0

    def spawn(self) -> tuple[int, socket.socket]:
        """Ask for a worker.

        Returns:
            The serial number that `messages` will give with its pid, and our end of its socket, non-blocking.

        Raises:
            ScanError: the process is gone.
        """
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno()] + ([] if self._pixels_fd is None else [self._pixels_fd])
        self._serial += 1
        with theirs:
            try:
                socket.send_fds(self.control, [json.dumps({"spawn": self._serial}).encode()], descriptors)
            except OSError as error:
                ours.close()
                raise self.gone() from error
        ours.setblocking(False)
        return self._serial, ours

    def kill(self, pid: int) -> None:
        """End a worker and what it started; nothing happens if it has ended already."""
        with contextlib.suppress(OSError):
            self.control.send(json.dumps({"kill": pid}).encode())

    def messages(self) -> list[dict[str, Any]] | None:
        """What the process has said since: ``spawned`` and ``ended`` messages; None once it is gone."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                text = self.control.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError:
                return None
            if not text:
                return found or None
            found.append(json.loads(text))

    def was_killed(self) -> bool:
        """Whether somebody else ended the process, so that a new one may do better."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=5) == -signal.SIGKILL
        return False

    def gone(self) -> ScanError:
        """The error that says why the process ended."""
        self._process.kill()
        self._process.wait()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return ScanError(f"the process that starts workers must keep running, got its end: {said[-1] if said else '?'}")

    def close(self) -> None:
        """End the process, and with it all workers."""
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._process.kill()
        self._process.wait()
        self._errors.close()
        if self._pixels_fd is not None:
            os.close(self._pixels_fd)
            self._pixels_fd = None


def _shared(pixels: npt.NDArray[np.uint8]) -> int:
    """A descriptor of memory that holds the pixels and that no worker can change for the others."""
    import fcntl

    descriptor = os.memfd_create("sac_fast probes", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = np.ascontiguousarray(pixels).reshape(-1).data
    done = 0
    while done < len(view):
        done += os.write(descriptor, view[done : done + (1 << 26)])
    fcntl.fcntl(
        descriptor,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE,
    )
    return descriptor


def signal_name(status: int) -> str:
    """How a process ended, in words: ``"SIGSEGV"`` or ``"exit code 3"``."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def anonymous_bytes(pid: int) -> int:
    """A process's own resident memory; 0 if it is gone."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as handle:
        for line in handle:
            if line.startswith(b"RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
