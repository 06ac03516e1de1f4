"""nearest_models: by bytes beside the exact sweep, and beside libraries for nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ops import NearestModels, correlation_vector, nearest_models, reference
from . import peers, targets
from .batch_cases import UNIT, count_differences, random_models
from .harness import OUR_TOLERANCE, OURS, Case, Implementation
from .limits import BYTE_DIFFERENCES, DIFFERENCES
from .sizes import Sizes

EXACT = "exact sweep"
FAISS = "faiss-cpu IndexFlat, L1, from ready-made vectors"
USEARCH = "usearch, l2sq (it has no L1), index built from ready-made vectors"
_CHECKED_QUERIES = 3
_FAMILY = 20
# A neighbour that the 8-bit pass lost shifts the values after it by about the gap between neighbours.
_FIRST_PASS_TOLERANCE = 1e-3


def neighbour_cases(sizes: Sizes, threads: int) -> Iterator[Callable[[], Case]]:
    """Builders of the cases of nearest_models."""
    yield partial(nearest, *sizes.nearest, sizes.top, judged=sizes.judged)
    yield partial(libraries, *sizes.nearest_peers, sizes.top, threads, approximate=sizes.judged)


def nearest(m: int, n: int, k: int, top: int, *, judged: bool) -> Case:
    """The `top` nearest models of each: uint8 first pass and exact re-rank, beside the exact sweep."""
    models = random_models(m, n, k)
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
        work=count_differences(m, n),
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


def libraries(m: int, n: int, k: int, top: int, threads: int, *, approximate: bool) -> Case:
    """The `top` nearest of m models in families of 20, beside libraries that start from ready-made vectors."""
    generator = torch.Generator().manual_seed(m)
    parents = torch.randn(-(-m // _FAMILY), n, k, generator=generator).repeat_interleave(_FAMILY, dim=0)[:m]
    steps = (0.2 + 0.05 * (torch.arange(m) % _FAMILY))[:, None, None]
    models = parents + steps * torch.randn(m, n, k, generator=generator)
    queries = torch.linspace(0, m - 1, _CHECKED_QUERIES).long().tolist()
    expected = torch.stack([_nearest_by_definition(models, query, top) for query in queries])
    vectors = torch.stack([correlation_vector(model) for model in models]).numpy()

    def without_self(found: tuple[Any, Any]) -> NearestModels:
        # each model is its own nearest one
        sums, indices = (torch.from_numpy(each) for each in found)
        return NearestModels(sums[:, 1:].double() * 2 / n**2, indices[:, 1:])

    def recall(found: Any, results: Mapping[str, Any]) -> float:
        right = results[EXACT].indices
        return float((found[:, :, None] == right[:, None, :]).any(dim=2).double().mean())

    not_quick = None if approximate else "approximate ones are not run with small sizes"
    return Case(
        name=f"nearest_models beside libraries, m = {m:,}, n = {n:,}, k = {k:,}, top {top}",
        op="nearest_models",
        shape={"m": m, "n": n, "k": k, "top": top},
        implementations=[
            Implementation(OURS, lambda: nearest_models(models, top=top, first_pass="uint8"), limit=BYTE_DIFFERENCES),
            Implementation(EXACT, lambda: nearest_models(models, top=top), limit=DIFFERENCES, tolerance=OUR_TOLERANCE),
            _library(FAISS, "faiss", lambda: peers.faiss_l1(vectors, top + 1, threads), result=without_self),
            _library(
                USEARCH,
                "usearch",
                lambda: peers.usearch_l2(vectors, top + 1, threads),
                result=lambda indices: torch.from_numpy(indices.astype("int64"))[:, 1:],
                not_run=not_quick,
                recall=recall,
            ),
        ],
        error=lambda found: float((found.values[queries].double() - expected).abs().max()),
        checked=f"all neighbours of {len(queries)} of the models",
        tolerance=_FIRST_PASS_TOLERANCE,
        work=count_differences(m, n),
        unit=UNIT,
    )


def _library(
    name: str, module: str, run: Callable[[], Any], *, not_run: str | None = None, **options: Any
) -> Implementation:
    found, missing = peers.available(module)
    missing = missing if found is None else not_run
    return Implementation(name, run if missing is None else None, missing=missing, **options)
