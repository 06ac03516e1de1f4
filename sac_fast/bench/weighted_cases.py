"""correlation_distance_weighted: a bootstrap over probes beside R distances of resampled rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from ..ops import correlation_distance, correlation_distance_weighted, reference
from . import peers, targets
from .harness import OURS, Case, Implementation
from .limits import MATRIX_PRODUCT
from .pair_cases import (
    NAIVE_LOOP,
    ONE_THREAD,
    OUR_TOLERANCE,
    PAIR_CALLS,
    PEER_TOLERANCE,
    SAME_BITS,
    on_one_thread,
    same_bits,
)
from .sizes import Sizes

STORED = "PyTorch, D stored"


def weighted_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of correlation_distance_weighted."""
    yield partial(bootstrap, *sizes.weighted, judged=sizes.judged)


def bootstrap(n: int, k: int, replicates: int, *, judged: bool) -> Case:
    """R resamples of the probes of one pair of models."""
    generator = torch.Generator().manual_seed(n + replicates)
    a, b = (torch.randn(n, k, generator=generator) for _ in range(2))
    drawn = torch.randint(n, (replicates, n), generator=generator)
    weights = torch.stack([torch.bincount(rows, minlength=n) for rows in drawn]).double()
    expected = reference.correlation_distance_weighted(a.double(), b.double(), weights)

    def ours() -> Tensor:
        return correlation_distance_weighted(a, b, weights)

    def stored() -> Tensor:
        c_a, c_b = (peers.correlations(torch.nn.functional.normalize(x), "cosine") for x in (a, b))
        counts = weights.float()
        return ((counts @ (c_a - c_b).abs()) * counts).sum(dim=1) / n**2

    calls = f"{replicates} {PAIR_CALLS}"
    return Case(
        name=f"{replicates:,} resamples of n = {n:,} probes, k = {k:,}",
        op="correlation_distance_weighted",
        shape={"n": n, "k": k, "R": replicates},
        metric="cosine",
        implementations=[
            Implementation(OURS, ours, limit=MATRIX_PRODUCT, tolerance=OUR_TOLERANCE),
            Implementation(ONE_THREAD, on_one_thread(ours), tolerance=OUR_TOLERANCE),
            Implementation(
                NAIVE_LOOP, lambda: torch.stack([peers.naive(a[rows], b[rows], "cosine") for rows in drawn])
            ),
            Implementation(calls, lambda: torch.stack([correlation_distance(a[rows], b[rows]) for rows in drawn])),
            Implementation(STORED, stored),
        ],
        error=lambda distances: float((distances.double() - expected).abs().max()),
        checked="all resamples",
        tolerance=PEER_TOLERANCE,
        work=n * n * (2 * k + replicates) / 1e9,
        unit="GFLOP/s",
        targets=[targets.times(NAIVE_LOOP, 50), targets.times(calls, 10), SAME_BITS] if judged else [],
        agreement=same_bits,
    )
