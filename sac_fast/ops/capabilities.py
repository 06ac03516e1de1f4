"""What this installation can run."""

from __future__ import annotations

from typing import Any

import torch

from .. import _backend
from .table import cuda_kernels_not_run


def capabilities() -> dict[str, Any]:
    """What this installation can run, as a JSON-able dict.

    Returns:
        `compiled` and `load_error` (why not), `backends` usable besides "auto", `instruction_sets` of this
        processor that the build has, best first, `instruction_set` and `threads` in use, `cuda_compiled`,
        `cuda_architectures` of the build, `cuda_kernels_not_run_yet` (no GPU has run them: "auto" does not choose
        them), `cuda_devices` that torch sees.

    Example:
        >>> capabilities()["backends"][-1]
        'reference'
    """
    built = _backend.cuda_architectures()
    return {
        "compiled": _backend.is_compiled(),
        "load_error": _backend.load_error(),
        "backends": [
            *(["cpu"] if _backend.is_compiled() else []),
            *(["cuda"] if built and torch.cuda.is_available() else []),
            "reference",
        ],
        "instruction_sets": _backend.instruction_sets(),
        "instruction_set": _backend.cpu_instruction_set() if _backend.is_compiled() else None,
        "threads": _backend.cpu_threads(),
        "cuda_compiled": bool(built),
        "cuda_architectures": built,
        "cuda_kernels_not_run_yet": cuda_kernels_not_run() if built else [],
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
