"""One run: the machine, its limits, and every case of the ops that are asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..io.progress import ProgressBar
from . import peers
from .batch_cases import all_pairs_cases
from .growth import growth_exponents
from .harness import Case, measure
from .limits import measure_limits
from .machine import KERNEL_THREADS, environment
from .matrix_cases import one_model
from .memory import memory_record
from .neighbour_cases import neighbour_cases
from .pair_cases import one_source, pair_cases
from .results import start_result
from .sizes import FULL, QUICK, Sizes
from .weighted_cases import bootstrap

KIND = "sac_fast benchmark"
# name of the op -> from sizes and number of threads to builders of its cases; inputs are made when these are called
_CASES: dict[str, Callable[[Sizes, int], Iterable[Callable[[], Case]]]] = {
    "correlation_distance": pair_cases,
    "correlation_distances": lambda s, _: [partial(one_source, *s.source, judged=s.judged)],
    "correlation_distance_weighted": lambda s, _: [partial(bootstrap, *s.weighted, judged=s.judged)],
    "pairwise_correlation_distances": all_pairs_cases,
    "nearest_models": neighbour_cases,
    "correlation_matrix": lambda s, _: [partial(one_model, "correlation_matrix", *s.matrix, judged=s.judged)],
    "correlation_vector": lambda s, _: [partial(one_model, "correlation_vector", *s.matrix, judged=s.judged)],
}
OPS = tuple(_CASES)
_DEFAULT_THREADS = 2


def run_bench(
    ops: Sequence[str] = OPS,
    *,
    quick: bool = False,
    threads: int | None = None,
    progress: bool = True,
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Check and time the ops beside their peers.

    Args:
        ops: names among `OPS`.
        quick: small sizes, for which no targets are judged.
        threads: of the kernels and of the peers that have threads; None: 2, or 1 where there is one core only.
        progress: a bar on stderr; a line for each case where stderr is no terminal.
        keep: takes the results after each case, and once more at the end: `complete` says which it is.

    Returns:
        A JSON-able dict: what every result has (see `start_result`), `limits` (with `limits_missing`),
        `peers_missing`, `records` (see `measure`), `exponents` (see `growth_exponents`), and how the run was made.

    Raises:
        ValueError: a wrong argument.
        WrongResultError: an op gave a wrong result.
    """
    for op in ops:
        if op not in OPS:
            raise ValueError(f"ops must be among {', '.join(OPS)}, got {op!r}")
    if threads is None:
        threads = min(_DEFAULT_THREADS, os.cpu_count() or 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be an integer of at least 1, got {threads!r}")
    return _run(ops, QUICK if quick else FULL, threads, progress, quick, keep or (lambda _: None))


def _run(
    ops: Sequence[str],
    sizes: Sizes,
    threads: int,
    progress: bool,
    quick: bool,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    start = time.perf_counter()
    records: list[dict[str, Any]] = []
    with _threads(threads):
        result = start_result(KIND, threads)
        limits, limits_missing = measure_limits(threads, quick)
        result |= {
            "ops": list(ops),
            "quick": quick,
            "rounds": sizes.rounds,
            "peer_budget_seconds": sizes.peer_budget,
            "limits": {name: {"rate": limit.rate, "unit": limit.unit} for name, limit in limits.items()},
            "limits_missing": limits_missing,
            "peers_missing": _peers_missing(),
        }

        def results(complete: bool) -> dict[str, Any]:
            seconds = round(time.perf_counter() - start, 1)
            exponents = growth_exponents(records)
            return result | {"complete": complete, "seconds": seconds, "records": records, "exponents": exponents}

        todo = {op: _records_of(op, sizes, threads, limits, records) for op in ops}
        total = sum(len(cases) for cases in todo.values())
        with ProgressBar("benchmarks", total, enabled=progress, line_seconds=0) as bar:
            for cases in todo.values():
                for one in cases:
                    records.append(one())
                    bar.advance(note=records[-1]["case"])
                    keep(results(complete=False))
    result["hardware"]["load_average_after"] = os.getloadavg()[0]
    keep(results(complete=True))
    return results(complete=True)


def _records_of(
    op: str, sizes: Sizes, threads: int, limits: Any, records: Sequence[dict[str, Any]]
) -> list[Callable[[], dict[str, Any]]]:
    todo: list[Callable[[], dict[str, Any]]] = [
        partial(_measured, case, limits, sizes, records) for case in _CASES[op](sizes, threads)
    ]
    if op == "correlation_distance":
        todo.append(partial(memory_record, *sizes.memory, threads, sizes.judged))
    return todo


def _measured(case: Callable[[], Case], limits: Any, sizes: Sizes, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # the inputs live no longer than the case
    return measure(case(), limits, sizes.rounds, sizes.peer_budget, records)


def _peers_missing() -> dict[str, str]:
    found = {name: peers.available(name)[1] for name in ("pykeops.torch", "scipy", "sklearn", "faiss", "usearch")}
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
