"""correlation_matrix and correlation_vector of one model, beside PyTorch."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..ops import correlation_matrix, correlation_vector, reference
from . import peers
from .harness import Case, Implementation
from .pair_cases import NAIVE, SAME_BITS, largest_difference, our_implementations, same_bits


def one_model(op: str, n: int, k: int, *, judged: bool) -> Case:
    """All correlations of one model's outputs, as a matrix or as the vector of those above its diagonal."""
    outputs = torch.randn(n, k, generator=torch.Generator().manual_seed(n))
    above = tuple(torch.triu_indices(n, n, offset=1))
    matrix = op == "correlation_matrix"
    run = correlation_matrix if matrix else correlation_vector
    define = reference.correlation_matrix if matrix else reference.correlation_vector

    def naive() -> Tensor:
        c = peers.correlations(torch.nn.functional.normalize(outputs), "cosine")
        return c if matrix else c[above]

    return Case(
        name=f"{op}, n = {n:,}, k = {k:,}",
        op=op,
        shape={"n": n, "k": k},
        implementations=[*our_implementations(partial(run, outputs)), Implementation(NAIVE, naive)],
        error=largest_difference(define(outputs.double())),
        work=n * n * k / 1e9,
        targets=[SAME_BITS] if judged else [],
        agreement=same_bits,
    )
