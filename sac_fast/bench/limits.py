"""What this machine can do at most, measured in the run: matrix products, absolute differences, the clock."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from ..ops import capabilities

MATRIX_PRODUCT = "float32 matrix product"
DIFFERENCES = "float32 |a − b| in registers"
MINIMA = "int32 min(a, b) in registers"
BYTE_DIFFERENCES = "uint8 |a − b| in registers"
CLOCK = "clock"

_SOURCE = Path(__file__).with_name("limits.cpp")
_FLAGS = ["-std=c++17", "-O2", "-ffinite-math-only", "-fno-signed-zeros", "-shared", "-fPIC"]
# Instruction set of the kernels -> bytes of a vector, and flags beside them: the limit of what the kernels may use
_SETS: dict[str | None, tuple[int, list[str]]] = {
    "avx512": (64, ["-march=native"]),
    "avx2": (32, ["-march=native", "-mno-avx512f"]),
}
# name -> (function, function that gives its work a turn, unit)
_LOOPS = {
    DIFFERENCES: ("absolute_differences", "differences_a_turn", "G abs-diff/s"),
    MINIMA: ("minima", "differences_a_turn", "G abs-diff/s"),
    BYTE_DIFFERENCES: ("byte_differences", "byte_differences_a_turn", "G abs-diff/s"),
    CLOCK: ("cycles", "cycles_a_turn", "GHz"),
}
_TURNS = 400_000


@dataclass(frozen=True)
class Limit:
    """A call that does nothing but the machine's best at one thing.

    Attributes:
        run: the call.
        work: what one call does, in 10⁹.
        unit: of work a second.
        seconds: the best of a few calls.
        rate: work / seconds.
    """

    run: Callable[[], object]
    work: float
    unit: str
    seconds: float
    rate: float


def _limit(run: Callable[[], object], work: float, unit: str, calls: int) -> Limit:
    best = float("inf")
    for _ in range(calls + 1):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return Limit(run, work, unit, best, work / best)


def measure_limits(threads: int, quick: bool) -> tuple[dict[str, Limit], dict[str, str]]:
    """Measure the limits of `threads` threads.

    The loops in registers are C++, compiled by the machine's own compiler (`CXX`, else c++) for its own processor and
    the instruction set that the kernels use (`SAC_FAST_INSTRUCTION_SET`). torch's product takes the best one unless
    `ATEN_CPU_CAPABILITY=avx2` and `MKL_ENABLE_INSTRUCTIONS=AVX2` are set before torch is imported.

    Args:
        threads: as torch and the kernels use them.
        quick: a smaller matrix product.

    Returns:
        Limits by name, and for each that could not be measured the reason.
    """
    size = 1024 if quick else 4096
    a, b = torch.randn(size, size), torch.randn(size, size)
    limits = {MATRIX_PRODUCT: _limit(lambda: a @ b, 2 * size**3 / 1e9, "GFLOP/s", 3)}
    missing: dict[str, str] = {}
    try:
        library = _compiled_loops()
    except (OSError, RuntimeError) as error:
        return limits, dict.fromkeys(_LOOPS, str(error))
    for name, (function, work, unit) in _LOOPS.items():
        a_turn = getattr(library, work)()
        if a_turn == 0:
            why = "not known how to tell" if name == CLOCK else "no instruction for it"
            missing[name] = f"{why} on this processor"
            continue
        used = 1 if name == CLOCK else threads
        run = _on_threads(getattr(library, function), used)
        limits[name] = _limit(run, used * _TURNS * a_turn / 1e9, unit, 10)
    return limits, missing


def _on_threads(function: Callable[[int], float], threads: int) -> Callable[[], object]:
    # ctypes releases the interpreter's lock during the call
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(function, [_TURNS] * threads))


def _compiled_loops() -> ctypes.CDLL:
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise RuntimeError(f"a C++ compiler (CXX, c++) must be there to measure it, got none named {compiler!r}")
    vector_bytes, flags = _SETS.get(capabilities()["instruction_set"], (16, []))
    with tempfile.TemporaryDirectory(prefix="sac_fast-bench-") as folder:
        library = Path(folder) / "limits.so"
        command = [*compiler, *_FLAGS, *flags, f"-DVECTOR_BYTES={vector_bytes}", "-o", str(library), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command[:1])} must compile {_SOURCE.name}, got: {done.stderr[:500]}")
        # the mapping outlives the file
        loops = ctypes.CDLL(str(library))
    for function, work, _ in _LOOPS.values():
        getattr(loops, function).argtypes = [ctypes.c_int64]
        getattr(loops, function).restype = ctypes.c_double
        getattr(loops, work).restype = ctypes.c_int64
    return loops
