"""How much memory a worker may take, and how much a scan may add to a store."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from .jobs import WorkerSettings


def default_memory(workers: int) -> int:
    """A worker's share of four fifths of the memory of this machine or container, at least 1 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(1 << 30, total * 4 // 5 // workers)


def default_threads() -> int:
    """The threads that torch would take here: one a core, fewer where ``OMP_NUM_THREADS`` says so."""
    cores = {_core_of(cpu) for cpu in os.sched_getaffinity(0)}
    said = os.environ.get("MKL_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
    asked = re.match(r"\s*([1-9][0-9]{0,5})\b", said)
    return min(len(cores), int(asked[1])) if asked else len(cores)


def _core_of(cpu: int) -> str:
    """Which processors are on the core of one; only itself where that is not said."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def store_budget(settings: WorkerSettings, folder: Path) -> int:
    """How many bytes of outputs a scan may add to a store."""
    if settings.max_store_bytes is not None:
        return settings.max_store_bytes
    return shutil.disk_usage(folder).free // 2
