"""correlation_distance and correlation_distances: the rows of the table and the sweeps over n and k."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..io.choices import Metric
from ..ops import correlation_distance, correlation_distances, reference
from . import peers, targets
from .harness import OUR_TOLERANCE, OURS, Case, Implementation, Target
from .limits import MATRIX_PRODUCT
from .machine import KERNEL_THREADS, environment
from .sizes import Sizes

ONE_THREAD = f"{OURS}, 1 thread"
NAIVE = "naive PyTorch"
NAIVE_LOOP = "naive PyTorch loop"
TILED = "tiled PyTorch"
PYKEOPS = "pykeops"
PAIR_CALLS = "calls of correlation_distance"

# naive has two matrices of n×n beside it
_MAX_NAIVE_PROBES = 20_000
# generated code of several hundred coordinates takes minutes a call
_MAX_PYKEOPS_OUTPUTS = 128


def on_one_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    """The same call on one thread."""

    def call() -> Any:
        with environment(KERNEL_THREADS, 1):
            return run()

    return call


def our_implementations(
    run: Callable[[], Any], limit: str = MATRIX_PRODUCT, *, one_thread: bool = True
) -> list[Implementation]:
    """Ours, and ours on one thread."""
    found = [Implementation(OURS, run, limit=limit, tolerance=OUR_TOLERANCE)]
    if one_thread:
        found.append(Implementation(ONE_THREAD, on_one_thread(run), tolerance=OUR_TOLERANCE))
    return found


def largest_difference(expected: Tensor) -> Callable[[Tensor], float]:
    """Gives the largest |difference| of a result from the expected one."""
    return lambda found: float((found.double() - expected).abs().max())


def same_bits(results: Mapping[str, Any]) -> dict[str, float]:
    """1.0 if one thread gives the bits of all threads."""
    return {"same_bits_on_1_thread": float(torch.equal(results[OURS], results[ONE_THREAD]))}


SAME_BITS = targets.agreed("same_bits_on_1_thread", "the same bits on 1 thread", 1.0)


def pair_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of correlation_distance; inputs are made when they are called."""
    full = {
        (10_000, 10, "cosine"): [targets.times(NAIVE, 35), targets.times(TILED, 2.2), targets.times(PYKEOPS, 50)],
        (10_000, 512, "cosine"): [
            targets.times(NAIVE, 3.6),
            targets.times(TILED, 1.15),
            targets.fraction(MATRIX_PRODUCT, 0.8),
        ],
        (800, 7, "cosine"): [targets.times(NAIVE, 3)],
        (10_000, 10, "rbf"): [targets.times(NAIVE, 25)],
        (50, 10, "cosine"): [targets.times(NAIVE, 1)],
    }
    for n, k, metric in sizes.pairs:
        judged = [*full.get((n, k, metric), []), SAME_BITS] if sizes.judged else []
        yield partial(pair, n, k, metric, judged=judged)
    for n in sizes.sweep_n:
        yield partial(pair, n, sizes.sweep_n_k, "cosine", sweep="n")
    for k in sizes.sweep_k:
        yield partial(pair, sizes.sweep_k_n, k, "cosine", sweep="k")


def pair(n: int, k: int, metric: Metric, *, sweep: str | None = None, judged: list[Target] | None = None) -> Case:
    """One pair of models, normally distributed outputs."""
    generator = torch.Generator().manual_seed(n + k)
    a, b = (torch.randn(n, k, generator=generator) for _ in range(2))
    expected = float(reference.correlation_distance(a.double(), b.double(), metric=metric))
    ours = partial(correlation_distance, a, b, metric=metric)
    fits = n <= _MAX_NAIVE_PROBES
    too_large = f"two matrices of {n}×{n} numbers do not fit beside the rest"
    implementations = [
        *our_implementations(ours, one_thread=sweep is None),
        Implementation(NAIVE, (lambda: peers.naive(a, b, metric)) if fits else None, missing=too_large),
        Implementation(TILED, lambda: peers.tiled(a, b, metric)),
        _pykeops(a, b, metric),
    ]
    return Case(
        name=f"pair, n = {n:,}, k = {k:,}, {metric}" + (f" (sweep over {sweep})" if sweep else ""),
        op="correlation_distance",
        shape={"n": n, "k": k},
        metric=metric,
        implementations=implementations,
        error=lambda distance: abs(float(distance) - expected),
        work=n * n * 2 * k / 1e9,
        sweep=sweep,
        targets=judged or [],
        agreement=same_bits if sweep is None else None,
    )


def _pykeops(a: Tensor, b: Tensor, metric: Metric) -> Implementation:
    k = a.shape[1]
    module, missing = peers.available("pykeops.torch")
    if module is None:
        return Implementation(PYKEOPS, None, missing=missing)
    if k > _MAX_PYKEOPS_OUTPUTS:
        return Implementation(PYKEOPS, None, missing=f"not run with more than {_MAX_PYKEOPS_OUTPUTS} outputs: minutes")
    return Implementation(PYKEOPS, peers.keops(a, b, metric))


def one_source(m: int, n: int, k: int, *, judged: bool) -> Case:
    """One source, m suspects."""
    generator = torch.Generator().manual_seed(m)
    source, suspects = torch.randn(n, k, generator=generator), torch.randn(m, n, k, generator=generator)
    expected = reference.correlation_distances(source.double(), list(suspects.double()))
    calls = f"{m} {PAIR_CALLS}"
    return Case(
        name=f"one source, {m} suspects, n = {n:,}, k = {k:,}",
        op="correlation_distances",
        shape={"m": m, "n": n, "k": k},
        implementations=[
            *our_implementations(partial(correlation_distances, source, suspects)),
            Implementation(NAIVE_LOOP, lambda: peers.naive_loop(source, suspects)),
            Implementation(f"{NAIVE_LOOP}, source kept", lambda: peers.naive_loop_source_kept(source, suspects)),
            Implementation(
                "tiled PyTorch loop",
                lambda: torch.stack([peers.tiled(source, suspect, "cosine") for suspect in suspects]),
            ),
            Implementation(calls, lambda: torch.stack([correlation_distance(source, suspect) for suspect in suspects])),
        ],
        error=largest_difference(expected),
        checked="all suspects",
        work=n * n * k * (m + 1) / 1e9,
        targets=[targets.times(NAIVE_LOOP, 4), targets.times(calls, 1.6), SAME_BITS] if judged else [],
        agreement=same_bits,
    )
