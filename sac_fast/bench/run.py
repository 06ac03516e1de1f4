"""One run: the machine, its limits, and every case of the parts that are asked for."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..io.progress import track
from . import peers
from .harness import measure
from .limits import measure_limits
from .machine import KERNEL_THREADS, describe, environment
from .memory import memory_record
from .pair_cases import pair_cases
from .sizes import FULL, QUICK, Sizes
from .weighted_cases import weighted_cases
from .zoo_cases import zoo_cases

KIND = "sac_fast benchmark"
FORMAT = 1
PARTS = ("pair", "weighted", "zoo")
_DEFAULT_THREADS = 2


def run_bench(
    parts: Sequence[str] = PARTS, *, quick: bool = False, threads: int | None = None, progress: bool = True
) -> dict[str, Any]:
    """Check and time the ops beside their peers.

    Args:
        parts: "pair" (correlation_distance, correlation_distances), "weighted" (correlation_distance_weighted) and
            "zoo" (pairwise_correlation_distances, nearest_models).
        quick: small sizes, for which no targets are judged.
        threads: of the kernels and of the peers that have threads; None: 2, or 1 where there is one core only.
        progress: a bar on stderr.

    Returns:
        A JSON-able dict: `machine`, `limits` (with `limits_missing`), `peers_missing`, `records` (see `measure`), and
        how the run was made.

    Raises:
        ValueError: a wrong argument.
        WrongResultError: an op gave a wrong result.
    """
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"parts must be among {', '.join(PARTS)}, got {part!r}")
    if threads is None:
        threads = min(_DEFAULT_THREADS, os.cpu_count() or 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be an integer of at least 1, got {threads!r}")
    return _run(parts, QUICK if quick else FULL, threads, progress, quick)


def _run(parts: Sequence[str], sizes: Sizes, threads: int, progress: bool, quick: bool) -> dict[str, Any]:
    start = time.perf_counter()
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    with _threads(threads):
        machine = describe(threads)
        limits, limits_missing = measure_limits(threads, quick)
        todo: list[Callable[[], dict[str, Any]]] = []
        if "pair" in parts:
            todo += [partial(_measured, case, limits, sizes.rounds) for case in pair_cases(sizes)]
            todo.append(partial(memory_record, *sizes.memory, threads, sizes.judged))
        if "weighted" in parts:
            todo += [partial(_measured, case, limits, sizes.rounds) for case in weighted_cases(sizes)]
        if "zoo" in parts:
            todo += [partial(_measured, case, limits, sizes.rounds) for case in zoo_cases(sizes, threads)]
        records = [one() for one in track(todo, "benchmarks", enabled=progress)]
    return {
        "kind": KIND,
        "format": FORMAT,
        "parts": list(parts),
        "quick": quick,
        "rounds": sizes.rounds,
        "started": started,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": machine | {"load_average_after": os.getloadavg()[0]},
        "limits": {name: {"rate": limit.rate, "unit": limit.unit} for name, limit in limits.items()},
        "limits_missing": limits_missing,
        "peers_missing": _peers_missing(),
        "records": records,
    }


def _measured(case: Callable[[], Any], limits: Any, rounds: int) -> dict[str, Any]:
    # the inputs live no longer than the case
    return measure(case(), limits, rounds)


def _peers_missing() -> dict[str, str]:
    found = {name: peers.available(name)[1] for name in ("pykeops.torch", "scipy", "sklearn")}
    return {name.split(".")[0]: reason for name, reason in found.items() if reason is not None}


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """The same number of threads for torch, our kernels and, if it is not loaded yet, pykeops' OpenMP."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with environment("OMP_NUM_THREADS", threads), environment(KERNEL_THREADS, threads):
            yield
    finally:
        torch.set_num_threads(before)
