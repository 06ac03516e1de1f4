"""Runs cases of a target, each with limits of time and memory."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import resource
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sac_fast.io.process import status_bytes

from .mutations import Mutation, mutated, mutations
from .targets import Target

MAX_SECONDS = 10
_FREE_BYTES = 200 << 20
_CEILING = 3 << 30  # of the address space, so that a fault costs no machine
_ROUND = 50


def run_one(target: Target, content: bytes) -> None:
    """Read one file; raises whatever is a fault."""
    with tempfile.TemporaryDirectory() as folder, _limits(len(content)):
        target.read(content, Path(folder))


def run_cases(target: Target, seconds: float, start: int, current: Path | None = None, most: float = math.inf) -> int:
    """Damage the target's seeds and read them until the time is up.

    Args:
        target: see `Target`.
        seconds: of all cases.
        start: seed of the first round; the cases are a function of it.
        current: each file is written there before it is read.
        most: cases.

    Returns:
        The number of cases.
    """
    files = target.seeds()
    for content in files:
        run_one(target, content)
    end, done = time.monotonic() + seconds, 0
    folder = Path(tempfile.mkdtemp())

    def case(index: int, changes: list[Mutation]) -> None:
        nonlocal done
        if time.monotonic() > end or done >= most:
            return
        content = mutated(files[index], changes, files)
        if current is not None:
            current.write_bytes(content)
        with _limits(len(content)):
            target.read(content, folder)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        done += 1

    try:
        for number in itertools.count(start):
            if time.monotonic() > end or done >= most:
                return done
            _round(case, len(files), number)
    finally:
        shutil.rmtree(folder)
    raise AssertionError("unreachable")


def _round(case: object, files: int, number: int) -> None:
    options = settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    seed(number)(options(given(st.integers(0, files - 1), mutations)(case)))()  # type: ignore[arg-type]


@contextlib.contextmanager
def _limits(file_bytes: int) -> Iterator[None]:
    """Ends the process by SIGALRM after `MAX_SECONDS`, and raises for too much memory."""
    before, soft = status_bytes("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resource.setrlimit(resource.RLIMIT_AS, (status_bytes("VmSize") + _CEILING, soft[1]))
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # no exception of Python's would end a loop in C
    signal.alarm(MAX_SECONDS * int(os.environ.get("SAC_FAST_FUZZ_SLOWNESS", "1")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, soft)
    growth = status_bytes("VmHWM") - before
    if growth > 2 * file_bytes + _FREE_BYTES:
        gc.collect()
        raise MemoryError(f"{file_bytes:,} bytes of input took {growth:,} of memory")
