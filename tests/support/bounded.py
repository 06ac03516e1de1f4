"""What hostile input may cost: memory and time, measured around the call that reads it."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from sac_fast.io.process import status_bytes

FREE_BYTES = 200 << 20
# So that a failing test does not take the machine with it.
_CEILING = 3 << 30


@contextlib.contextmanager
def bounded(file_bytes: int = 0, seconds: float = 5.0) -> Iterator[None]:
    """Fails where resident memory grows by more than twice the file and 200 MB, or the time is up."""
    before, soft = status_bytes("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resource.setrlimit(resource.RLIMIT_AS, (status_bytes("VmSize") + _CEILING, soft[1]))
    start = time.monotonic()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, soft)
    taken, growth = time.monotonic() - start, status_bytes("VmHWM") - before
    assert growth < 2 * file_bytes + FREE_BYTES, f"{file_bytes:,} bytes of input took {growth:,} of memory"
    assert taken < seconds, f"took {taken:.1f} s"
