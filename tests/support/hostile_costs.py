"""What each hostile file costs a scan and the worker that opens it: python -m support.hostile_costs FOLDER.

Each file is read in forked children: as the driver of a scan looks at it; as a worker of a scan, which
`sac-fast fingerprint FILE` starts too, opens it and reads what it has recorded; and by that command as it is typed,
whose own process is the child. The peak of resident memory is the kernel's (VmHWM). One line of JSON for each file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

#: Of a driver or worker beyond twice the file's bytes on disk.
FREE_BYTES = 200 << 20
MAX_SECONDS = 60


@dataclass(frozen=True)
class Cost:
    """What a file cost.

    Attributes:
        name: of the file.
        disk: its bytes on disk.
        reason: for which it was refused; "" if it was opened.
        driver, worker, fingerprint: growth of the peak of resident memory, bytes.
        seconds: of the processor, of driver and worker; what waits is ended by an alarm.
        ended: the type of the error by which the command ended; "" if it wrote a fingerprint.
    """

    name: str
    disk: int
    reason: str
    driver: int
    worker: int
    fingerprint: int
    seconds: float
    ended: str

    @property
    def bound(self) -> int:
        """Growth that is allowed."""
        return 2 * self.disk + FREE_BYTES


def measure(path: Path, name: str, spec: str, probes: Path) -> Cost:
    """The cost of one file.

    Args:
        path: the file.
        name: what to call it.
        spec: architecture to which weights are fitted.
        probes: a file of them.
    """
    driver, ended, looking = _in_child(lambda: _look(path))
    worker, reason, opening = _in_child(lambda: _open(path, spec))
    fingerprint, end, _ = _in_child(lambda: _fingerprint(path, probes))
    disk, seconds = _disk_bytes(path), round(looking + opening, 2)
    return Cost(name, disk, ended or reason, driver, worker, fingerprint, seconds, end)


def _disk_bytes(path: Path) -> int:
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        return min(found.st_size, found.st_blocks * 512)
    return 0


def _in_child(work: Callable[[], str]) -> tuple[int, str, float]:
    """Growth of memory, what the work says, and seconds of the processor."""
    from sac_fast.io.process import status_bytes

    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(MAX_SECONDS)
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = status_bytes("VmRSS")
            said = work()
            os.write(sender, json.dumps([status_bytes("VmHWM") - before, said]).encode())
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as handle:
        answer = handle.read()
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    if not answer:
        return 0, f"ended by {os.waitstatus_to_exitcode(status)}", seconds
    growth, said = json.loads(answer)
    return int(growth), str(said), seconds


def _look(path: Path) -> str:
    """What the driver of a scan does with a file before a worker opens it."""
    from sac_fast.errors import SacFastError
    from sac_fast.scan.arguments import listing_of
    from sac_fast.scan.jobs import WorkerSettings
    from sac_fast.scan.known_names import stamp_of
    from sac_fast.scan.onnx_external import external_files

    with contextlib.suppress(SacFastError):
        for entry in listing_of(path, None, WorkerSettings()).entries:
            stamp_of(entry.path)
            external_files(entry.path, root=path.parent)
    return ""


def _open(path: Path, spec: str) -> str:
    import torch

    from sac_fast.formats.limits import Limits
    from sac_fast.models import ModelEntry
    from sac_fast.scan.jobs import Job, request_of
    from sac_fast.scan.worker import ModelRunner, PreparedProbes

    probes = PreparedProbes(None, torch.device("cpu"))
    runner = ModelRunner(probes, 64, None, [spec], Limits())
    request = request_of(Job(0, ModelEntry(path.name, path, root=path.parent)))
    opened = runner.open(request)
    if opened.model is not None and not opened.model.recorded:
        return ""
    return runner.run(request, opened).reason or ""


def _fingerprint(path: Path, probes: Path) -> str:
    """The command as it is typed."""
    from sac_fast.cli.main import app
    from sac_fast.errors import SacFastError

    words = ["fingerprint", path, "--probes", probes, "--out", probes.with_name("out"), "--force", "--json", "--quiet"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            app(list(map(str, words)), standalone_mode=False)
    except (SacFastError, OSError, click.ClickException) as error:
        return type(error).__name__
    return ""


def main() -> None:
    """Measure every file of a folder."""
    import h5py  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    from support import scan_models

    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        probes = Path(made) / "probes"
        scan_models.probes().save(probes)
        for name in sys.stdin.read().split("\0"):
            print(json.dumps(asdict(measure(folder / name, name, scan_models.SPEC, probes))), flush=True)


if __name__ == "__main__":
    main()
