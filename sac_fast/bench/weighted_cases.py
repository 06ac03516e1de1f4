"""correlation_distance_weighted: a bootstrap over probes beside R distances of resampled rows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..ops import correlation_distance, correlation_distance_weighted, reference
from . import peers, targets
from .harness import Case, Implementation
from .pair_cases import NAIVE_LOOP, PAIR_CALLS, SAME_BITS, largest_difference, our_implementations, same_bits

STORED = "PyTorch, D stored"


def bootstrap(n: int, k: int, replicates: int, *, judged: bool) -> Case:
    """R resamples of the probes of one pair of models."""
    generator = torch.Generator().manual_seed(n + replicates)
    a, b = (torch.randn(n, k, generator=generator) for _ in range(2))
    drawn = torch.randint(n, (replicates, n), generator=generator)
    weights = torch.stack([torch.bincount(rows, minlength=n) for rows in drawn]).double()
    expected = reference.correlation_distance_weighted(a.double(), b.double(), weights)

    def stored() -> Tensor:
        c_a, c_b = (peers.correlations(torch.nn.functional.normalize(x), "cosine") for x in (a, b))
        counts = weights.float()
        return ((counts @ (c_a - c_b).abs()) * counts).sum(dim=1) / n**2

    calls = f"{replicates} {PAIR_CALLS}"
    return Case(
        name=f"{replicates:,} resamples of n = {n:,} probes, k = {k:,}",
        op="correlation_distance_weighted",
        shape={"n": n, "k": k, "R": replicates},
        implementations=[
            *our_implementations(partial(correlation_distance_weighted, a, b, weights)),
            Implementation(
                NAIVE_LOOP, lambda: torch.stack([peers.naive(a[rows], b[rows], "cosine") for rows in drawn])
            ),
            Implementation(calls, lambda: torch.stack([correlation_distance(a[rows], b[rows]) for rows in drawn])),
            Implementation(STORED, stored),
        ],
        error=largest_difference(expected),
        checked="all resamples",
        work=n * n * (2 * k + replicates) / 1e9,
        targets=[targets.times(NAIVE_LOOP, 50), targets.times(calls, 10), SAME_BITS] if judged else [],
        agreement=same_bits,
    )
