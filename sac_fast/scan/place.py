"""Where a scan's workers run, and how much memory each may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch


def device_list(device: str, workers: int | None) -> list[str]:
    """The device of each worker.

    Args:
        device, workers: as in `scan`.

    Raises:
        ValueError: no such device, or no worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    named = [part.strip() for part in device.split(",")]
    kinds = {part.split(":")[0] for part in named}
    if kinds == {"cpu"}:
        return ["cpu"] * (workers or usable_cores())
    if kinds != {"cuda"}:
        raise ValueError(f'device must be "cpu", "cuda" or GPUs such as "cuda:0,cuda:1", got {device!r}')
    there = torch.cuda.device_count()
    gpus = [f"cuda:{number}" for number in range(there)] if named == ["cuda"] else named
    bad = [gpu for gpu in gpus if not gpu[5:].isdecimal() or int(gpu[5:]) >= there]
    if bad or not gpus:
        raise ValueError(f"device must be of the {there} GPUs that torch sees, got {', '.join(bad) or device}")
    return [gpus[number % len(gpus)] for number in range(workers or len(gpus))]


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def default_memory(workers: int) -> int:
    """A worker's share of four fifths of the memory of this machine or container, at least 1 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(1 << 30, total * 4 // 5 // workers)
