"""Loads the compiled module, if it is there, and says with how many threads and which instructions."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from .errors import BackendError
from .io.exit_gate import GatedModule

_module: ModuleType | None = None
_load_error: str | None = None
try:
    from . import _C as _module
except ImportError as error:
    _load_error = str(error)

_instruction_sets: tuple[str, ...] = tuple(_module.instruction_sets()) if _module is not None else ()
_gated: GatedModule | None = None if _module is None else GatedModule(_module)
_cuda_architectures: list[str] = [a for a in getattr(_module, "cuda_architectures", "").split(",") if a]


def is_compiled() -> bool:
    """True if the compiled module is there and loads."""
    return _module is not None


def compiled(backend: str = "cpu") -> GatedModule:
    """Return the compiled module with the kernels of `backend`, "cpu" or "cuda".

    The interpreter's end waits for other threads inside of its functions.

    Raises:
        BackendError: it is not installed, does not load, or was built without them; the message says why.
    """
    if _module is None or _gated is None:
        missing = f"the compiled module sac_fast._C, which is missing: {_load_error}"
        raise BackendError(f"backend {backend!r} needs {missing}")
    if backend == "cuda" and not _cuda_architectures:
        raise BackendError("backend 'cuda' needs a build with CUDA (SAC_FAST_CUDA=ON), got one without")
    return _gated


def load_error() -> str | None:
    """Why the compiled module is not there; None if it is."""
    return _load_error


def instruction_sets() -> list[str]:
    """Instruction sets of this processor that the build has, best first."""
    return list(_instruction_sets)


def cuda_architectures() -> list[str]:
    """Architectures that the CUDA kernels are built for; none in a build without CUDA."""
    return _cuda_architectures


def cpu_threads() -> int:
    """Threads of the CPU kernels: SAC_FAST_NUM_THREADS, else torch's own number; without torch, that of the cores."""
    asked = os.environ.get("SAC_FAST_NUM_THREADS")
    if not asked:
        torch_threads = getattr(sys.modules.get("torch"), "get_num_threads", None)
        if torch_threads is not None:
            return int(torch_threads())
        asked = os.environ.get("OMP_NUM_THREADS", "")
        return int(asked) if asked.isdecimal() and 1 <= int(asked) <= 4096 else len(os.sched_getaffinity(0))
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked) <= 4096):
        raise ValueError(f"SAC_FAST_NUM_THREADS must be a number of threads, 1 to 4096, got {asked!r}")
    return int(asked)


def cpu_instruction_set() -> str:
    """Instruction set of the CPU kernels: SAC_FAST_INSTRUCTION_SET, else the best that the processor has."""
    asked = os.environ.get("SAC_FAST_INSTRUCTION_SET")
    if asked and asked not in _instruction_sets:
        there = f"{', '.join(_instruction_sets)} (what this processor and build have)"
        raise ValueError(f"SAC_FAST_INSTRUCTION_SET must be one of {there}, got {asked!r}")
    return asked or _instruction_sets[0]
