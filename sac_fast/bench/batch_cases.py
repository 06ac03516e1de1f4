"""pairwise_correlation_distances and nearest_models: the rows of the table and the sweep over m."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ops import correlation_vector, nearest_models, pairwise_correlation_distances, reference
from . import peers, targets
from .harness import OUR_TOLERANCE, OURS, Case, Implementation
from .limits import BYTE_DIFFERENCES, DIFFERENCES
from .pair_cases import SAME_BITS, our_implementations, same_bits
from .sizes import Sizes

UNIT = "G abs-diff/s"
CDIST = "torch.cdist(p=1)"
PDIST = "scipy pdist('cityblock')"
SKLEARN = "scikit-learn pairwise_distances('manhattan')"
LOOP = "naive PyTorch loop"
EXACT = "exact sweep"
_K = 10
_MAX_LOOP_MODELS = 100
_CHECKED_MODELS = 8
_CHECKED_QUERIES = 3
# A neighbour that the 8-bit pass lost shifts the values after it by about the gap between neighbours.
_FIRST_PASS_TOLERANCE = 1e-3


def all_pairs_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of pairwise_correlation_distances."""
    yield partial(all_pairs, *sizes.all_pairs, threads, judged=sizes.judged)
    for m in sizes.sweep_m:
        yield partial(all_pairs, m, sizes.sweep_m_n, _K, threads, sweep="m")


def _models(m: int, n: int, k: int) -> Tensor:
    return torch.randn(m, n, k, generator=torch.Generator().manual_seed(m))


def _differences(m: int, n: int) -> float:
    return m * (m - 1) / 2 * n * (n - 1) / 2 / 1e9


def all_pairs(m: int, n: int, k: int, threads: int, *, sweep: str | None = None, judged: bool = False) -> Case:
    """All pairs of m models; ours starts from the outputs, the peers from ready-made correlation vectors."""
    models = _models(m, n, k)
    wanted = [targets.times(CDIST, 25), targets.times(PDIST, 20), targets.rate(30, UNIT), SAME_BITS]
    vectors = torch.stack([correlation_vector(model) for model in models])
    wide = vectors.double().numpy()
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
        work=_differences(m, n),
        unit=UNIT,
        sweep=sweep,
        targets=wanted if judged else [],
        agreement=same_bits if sweep is None else None,
    )


def nearest(m: int, n: int, k: int, top: int, *, judged: bool) -> Case:
    """The `top` nearest models of each: uint8 first pass and exact re-rank, beside the exact sweep."""
    models = _models(m, n, k)
    queries = torch.linspace(0, m - 1, _CHECKED_QUERIES).long().tolist()
    expected = torch.stack([_nearest_by_definition(models, query, top) for query in queries])

    def agreement(results: Mapping[str, Any]) -> dict[str, float]:
        if EXACT not in results:
            return {}
        return {"equal_entries": float((results[EXACT].indices == results[OURS].indices).double().mean())}

    equal = targets.agreed("equal_entries", "99.9 % of the exact sweep's entries", 0.999)
    return Case(
        name=f"nearest_models, m = {m:,}, n = {n:,}, k = {k:,}, top {top}, uint8 first pass",
        op="nearest_models",
        shape={"m": m, "n": n, "k": k, "top": top},
        implementations=[
            Implementation(
                OURS,
                lambda: nearest_models(models, top=top, first_pass="uint8"),
                limit=BYTE_DIFFERENCES,
                tolerance=_FIRST_PASS_TOLERANCE,
            ),
            Implementation(EXACT, lambda: nearest_models(models, top=top), limit=DIFFERENCES, tolerance=OUR_TOLERANCE),
        ],
        error=lambda found: float((found.values[queries].double() - expected).abs().max()),
        checked=f"all neighbours of {len(queries)} of the models",
        tolerance=OUR_TOLERANCE,
        work=_differences(m, n),
        unit=UNIT,
        targets=[targets.times(EXACT, 3), equal] if judged else [],
        agreement=agreement,
    )


def _nearest_by_definition(models: Tensor, query: int, top: int) -> Tensor:
    m, n, k = models.shape
    step = max(1, 20_000_000 // n**2)
    rows = reference.normalised_rows(models[query], "cosine")
    c = rows @ rows.T
    distances = torch.empty(m, dtype=torch.float64)
    for start in range(0, m, step):
        some = slice(start, start + step)
        rows = reference.normalised_rows(models[some].reshape(-1, k), "cosine").view(-1, n, k)
        distances[some] = (rows @ rows.mT - c).abs().mean(dim=(1, 2))
    distances[query] = torch.inf
    return distances.sort().values[:top]
