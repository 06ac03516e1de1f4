"""pairwise_correlation_distances: the rows of the table and the sweep over m."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from ..ops import correlation_vector, pairwise_correlation_distances, reference
from . import peers, targets
from .harness import Case, Implementation, Target
from .limits import DIFFERENCES
from .pair_cases import SAME_BITS, our_implementations, same_bits
from .sizes import Sizes

UNIT = "G abs-diff/s"
CDIST = "torch.cdist(p=1)"
PDIST = "scipy pdist('cityblock')"
FORMED = "NumPy correlations, then scipy pdist"
SKLEARN = "scikit-learn pairwise_distances('manhattan')"
LOOP = "naive PyTorch loop"
_K = 10
_MAX_LOOP_MODELS = 100
_CHECKED_MODELS = 8


def all_pairs_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of pairwise_correlation_distances."""
    full = [
        targets.times(CDIST, 40),
        targets.times(PDIST, 20),
        targets.rate(30, UNIT),
        targets.fraction(DIFFERENCES, 0.95),
        SAME_BITS,
    ]
    yield partial(all_pairs, *sizes.all_pairs, threads, judged=full if sizes.judged else [])
    for m, n in sizes.few_models:
        judged = [targets.times(FORMED, 1)] if sizes.judged else []
        yield partial(all_pairs, m, n, _K, threads, judged=judged)
    for m in sizes.sweep_m:
        yield partial(all_pairs, m, sizes.sweep_m_n, _K, threads, sweep="m")


def random_models(m: int, n: int, k: int) -> Tensor:
    return torch.randn(m, n, k, generator=torch.Generator().manual_seed(m))


def count_differences(m: int, n: int) -> float:
    return m * (m - 1) / 2 * n * (n - 1) / 2 / 1e9


def all_pairs(
    m: int, n: int, k: int, threads: int, *, sweep: str | None = None, judged: list[Target] | None = None
) -> Case:
    """All pairs of m models; ours starts from the outputs, peers but one from ready-made correlation vectors."""
    models = random_models(m, n, k)
    vectors = torch.stack([correlation_vector(model) for model in models])
    wide, outputs = vectors.double().numpy(), models.numpy()
    # cosine has equal diagonals, so twice the sum over the vectors is the sum over all n²
    scale = 2 / n**2
    sample = torch.linspace(0, m - 1, min(m, _CHECKED_MODELS)).long()
    expected = reference.pairwise_correlation_distances(list(models[sample].double()))

    def square(condensed: np.ndarray) -> Tensor:
        return torch.from_numpy(import_module("scipy.spatial.distance").squareform(condensed)) * scale

    ours = partial(pairwise_correlation_distances, models)
    implementations = [
        *our_implementations(ours, DIFFERENCES, one_thread=sweep is None),
        Implementation(CDIST, lambda: torch.cdist(vectors, vectors, p=1), result=lambda sums: sums * scale),
        Implementation(PDIST, lambda: import_module("scipy.spatial.distance").pdist(wide, "cityblock"), result=square),
        Implementation(FORMED, lambda: peers.vectors_then_pdist(outputs), result=square),
        Implementation(
            SKLEARN,
            lambda: import_module("sklearn.metrics").pairwise_distances(wide, metric="manhattan", n_jobs=threads),
            result=lambda sums: torch.from_numpy(sums) * scale,
        ),
        Implementation(
            LOOP,
            (lambda: peers.vectors_loop(vectors)) if m <= _MAX_LOOP_MODELS else None,
            missing=f"not run with more than {_MAX_LOOP_MODELS} models: minutes",
            result=lambda sums: sums * scale,
        ),
    ]
    return Case(
        name=f"all pairs, m = {m:,}, n = {n:,}, k = {k:,}" + (f" (sweep over {sweep})" if sweep else ""),
        op="pairwise_correlation_distances",
        shape={"m": m, "n": n, "k": k},
        implementations=implementations,
        error=lambda distances: float((distances[sample][:, sample].double() - expected).abs().max()),
        checked=f"all pairs of {len(sample)} of the models",
        work=count_differences(m, n),
        unit=UNIT,
        sweep=sweep,
        targets=judged or [],
        agreement=same_bits if sweep is None else None,
    )
