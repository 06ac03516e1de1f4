"""Loads the compiled module, if it is there, and says what this installation can do."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import torch

from .errors import BackendError

_module: ModuleType | None = None
_load_error: str | None = None
try:
    from . import _C as _module
except ImportError as error:
    _load_error = str(error)

_instruction_sets: tuple[str, ...] = tuple(_module.instruction_sets()) if _module is not None else ()
_cuda_architectures: list[str] = [a for a in getattr(_module, "cuda_architectures", "").split(",") if a]
# Kernels that no GPU has run yet: `backend="auto"` does not choose them, `sac-fast info` names them.
CUDA_KERNELS_NOT_RUN = (
    "correlation_distance",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "jpeg_roundtrip",
    "nearest_models",
    "pairwise_correlation_distances",
)


def is_compiled() -> bool:
    """True if the compiled module is there and loads."""
    return _module is not None


def compiled(backend: str = "cpu") -> ModuleType:
    """Return the compiled module with the kernels of `backend`, "cpu" or "cuda".

    Raises:
        BackendError: it is not installed, does not load, or was built without them; the message says why.
    """
    if _module is None:
        missing = f"the compiled module sac_fast._C, which is missing: {_load_error}"
        raise BackendError(f"backend {backend!r} needs {missing}")
    if backend == "cuda" and not _cuda_architectures:
        raise BackendError("backend 'cuda' needs a build with CUDA (SAC_FAST_CUDA=ON), got one without")
    return _module


def chooses_cuda(op: str) -> bool:
    """True if `backend="auto"` may take the CUDA kernel of `op`."""
    return bool(_cuda_architectures) and op not in CUDA_KERNELS_NOT_RUN


def cpu_threads() -> int:
    """Threads of the CPU kernels: SAC_FAST_NUM_THREADS, else torch's own number."""
    asked = os.environ.get("SAC_FAST_NUM_THREADS")
    if not asked:
        return torch.get_num_threads()
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


def capabilities() -> dict[str, Any]:
    """What this installation can run, as a JSON-able dict.

    Returns:
        `compiled` and `load_error` (why not), `backends` usable besides "auto", `instruction_sets` of this
        processor that the build has, best first, `instruction_set` and `threads` in use, `cuda_compiled`,
        `cuda_architectures` of the build, `cuda_kernels_not_run_yet` (no GPU has run them: "auto" does not choose
        them), `cuda_devices` that torch sees.
    """
    return {
        "compiled": is_compiled(),
        "load_error": _load_error,
        "backends": [
            *(["cpu"] if is_compiled() else []),
            *(["cuda"] if _cuda_architectures and torch.cuda.is_available() else []),
            "reference",
        ],
        "instruction_sets": list(_instruction_sets),
        "instruction_set": cpu_instruction_set() if is_compiled() else None,
        "threads": cpu_threads(),
        "cuda_compiled": bool(_cuda_architectures),
        "cuda_architectures": _cuda_architectures,
        "cuda_kernels_not_run_yet": list(CUDA_KERNELS_NOT_RUN) if _cuda_architectures else [],
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
