"""Peak memory of one pair, measured in a process of its own: `python -m sac_fast.bench.memory N K THREADS`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..io.process import status_bytes
from .harness import OURS, Case, Target, WrongResultError, judge

_MAX_BYTES = 300_000_000
# The probes are so many copies of the first ones, whose distance is then the distance of all.
_COPIES = 100
_TOLERANCE = 1e-6


def memory_record(n: int, k: int, threads: int, judged: bool) -> dict[str, Any]:
    """A record like those of `measure`, whose `agreement` holds `peak_bytes_above_inputs`.

    Args:
        n, k: probes, a multiple of 100, and outputs of the pair.
        threads: of the kernels.
        judged: whether the target is for this size.

    Raises:
        WrongResultError: the distance is wrong.
        RuntimeError: the process failed.
    """
    command = [sys.executable, "-m", "sac_fast.bench.memory", str(n), str(k), str(threads)]
    # as this process found it: installed or on a path of its own
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"the process that measures memory failed: {run.stderr.strip()[-500:]}")
    found = json.loads(run.stdout)
    name = f"memory, pair, n = {n:,}, k = {k:,}"
    error = abs(found["distance"] - found["expected"])
    if not error <= _TOLERANCE:
        raise WrongResultError(f"{name}: must lie within {_TOLERANCE:g} of the definition, got {error:.3g}")
    work = n * n * 2 * k / 1e9
    checked = f"all entries ({_COPIES} copies of {n // _COPIES:,} probes)"
    case = Case(name, "correlation_distance", {"n": n, "k": k}, (), float, work, checked=checked)
    record: dict[str, Any] = case.describe() | {
        "limits": {},
        "implementations": {
            OURS: {
                "seconds": found["seconds"],
                "all_seconds": [found["seconds"]],
                "calls_a_block": 1,
                "error": error,
                "tolerance": _TOLERANCE,
                "rate": work / found["seconds"],
                "ratio": 1.0,
            }
        },
        "agreement": {name: found[name] for name in ("peak_bytes_above_inputs", "input_bytes")},
        "targets": [],
    }
    if judged:
        target = Target(
            f"less than {_MAX_BYTES / 1e6:g} MB above the inputs",
            lambda r: float(r["agreement"]["peak_bytes_above_inputs"]),
            at_most=_MAX_BYTES,
        )
        record["targets"] = [judge(target, record)]
    return record


def _resident(field: str) -> int:
    """VmRSS or VmHWM of this process, bytes."""
    found = status_bytes(field)
    if not found:
        raise RuntimeError(f"/proc/self/status must name {field}")
    return found


def _main(n: int, k: int, threads: int) -> None:
    import torch

    from ..ops import correlation_distance, reference
    from .machine import KERNEL_THREADS, environment

    generator = torch.Generator().manual_seed(0)
    few = [torch.randn(n // _COPIES, k, generator=generator) for _ in range(2)]
    a, b = (x.repeat(_COPIES, 1) for x in few)
    with environment(KERNEL_THREADS, threads):
        correlation_distance(few[0], few[1])
        before = _resident("VmRSS")
        # the peak starts again from here, where the system allows it
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        start = time.perf_counter()
        distance = float(correlation_distance(a, b))
        seconds = time.perf_counter() - start
    peak = _resident("VmHWM") - before
    expected = float(reference.correlation_distance(few[0].double(), few[1].double()))
    found = {"distance": distance, "expected": expected, "seconds": seconds}
    print(json.dumps(found | {"peak_bytes_above_inputs": peak, "input_bytes": a.nbytes + b.nbytes}))


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
