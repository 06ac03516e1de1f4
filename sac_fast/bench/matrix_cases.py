"""correlation_matrix and correlation_vector of one model, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from ..ops import correlation_matrix, correlation_vector, reference
from . import peers
from .harness import OURS, Case, Implementation
from .limits import MATRIX_PRODUCT
from .pair_cases import NAIVE, ONE_THREAD, OUR_TOLERANCE, PEER_TOLERANCE, SAME_BITS, on_one_thread, same_bits
from .sizes import Sizes


def matrix_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of correlation_matrix."""
    yield partial(one_model, "correlation_matrix", *sizes.matrix, judged=sizes.judged)


def vector_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of correlation_vector."""
    yield partial(one_model, "correlation_vector", *sizes.matrix, judged=sizes.judged)


def one_model(op: str, n: int, k: int, *, judged: bool) -> Case:
    """All correlations of one model's outputs, as a matrix or as the vector of those above its diagonal."""
    outputs = torch.randn(n, k, generator=torch.Generator().manual_seed(n))
    above = tuple(torch.triu_indices(n, n, offset=1))
    matrix = op == "correlation_matrix"
    run, define = (
        (correlation_matrix, reference.correlation_matrix)
        if matrix
        else (correlation_vector, reference.correlation_vector)
    )
    expected = define(outputs.double())

    def ours() -> Tensor:
        return run(outputs)

    def naive() -> Tensor:
        c = peers.correlations(torch.nn.functional.normalize(outputs), "cosine")
        return c if matrix else c[above]

    return Case(
        name=f"{op}, n = {n:,}, k = {k:,}",
        op=op,
        shape={"n": n, "k": k},
        metric="cosine",
        implementations=[
            Implementation(OURS, ours, limit=MATRIX_PRODUCT, tolerance=OUR_TOLERANCE),
            Implementation(ONE_THREAD, on_one_thread(ours), tolerance=OUR_TOLERANCE),
            Implementation(NAIVE, naive),
        ],
        error=lambda found: float((found.double() - expected).abs().max()),
        checked="all entries",
        tolerance=PEER_TOLERANCE,
        work=n * n * k / 1e9,
        unit="GFLOP/s",
        targets=[SAME_BITS] if judged else [],
        agreement=same_bits,
    )
