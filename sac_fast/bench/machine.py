"""What a run ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..io.version import package_version
from ..ops import capabilities

KERNEL_THREADS = "SAC_FAST_NUM_THREADS"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pykeops", "faiss-cpu", "usearch", "matplotlib")


@contextmanager
def environment(name: str, value: object) -> Iterator[None]:
    """Set an environment variable for a while.

    Args:
        name: of the variable.
        value: its value, written as text.
    """
    before = os.environ.get(name)
    os.environ[name] = str(value)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def describe_hardware(threads: int) -> dict[str, Any]:
    """Processor, cores, threads, memory and instruction sets, JSON-able.

    Args:
        threads: threads of the run.
    """
    able = capabilities()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_granted": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "instruction_set": able["instruction_set"],
        "instruction_sets": able["instruction_sets"],
        "torch_cpu": torch.backends.cpu.get_cpu_capability(),
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of those that it is timed against; None: not installed."""
    return {
        "sac_fast": package_version(),
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    numbers = [f"{key} {known[key]}" for key in ("cpu family", "model") if key in known]
    return ", ".join([known.get("model name", platform.machine()), *numbers])
