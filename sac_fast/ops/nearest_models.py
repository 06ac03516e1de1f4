"""`nearest_models`: the nearest of many models for each query, with the l1 comparison."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Metric
from ..neighbours.search import nearest_by_subset
from . import reference
from .arguments import (
    DEFAULT_SIGMA,
    Models,
    as_models,
    as_vectors,
    check_choice,
    check_models,
    check_options,
    check_vectors,
    probes_of,
    result_dtype,
)
from .cuda import nearest_models as cuda_nearest
from .dispatch import cpu_arguments, held, ranked_models, register, view

# How many more candidates than asked for the uint8 pass hands on
_SPARE_CANDIDATES = 10


# Values and indices
Found = tuple[Tensor, Tensor]


class NearestModels(NamedTuple):
    """What `nearest_models` found, in the manner of `torch.topk`."""

    values: Tensor
    indices: Tensor


@held
def nearest_models(
    models: Models,
    queries: Models | None = None,
    top: int = 10,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    first_pass: str = "none",
    backend: Backend = "auto",
) -> NearestModels:
    """The `top` nearest of a batch of models for each query, without ever holding m×m distances.

    Args:
        models: outputs (m, n, k) or a sequence of (n, k_i); or correlation vectors (m, n(n−1)/2) of float32, float16 or
            uint8, as `correlation_vector` makes them: a NumPy memory map may be larger than the memory.
        queries: of the same form as `models`; None: every model, itself left out.
        top: number of neighbours, 1 ≤ top ≤ m (m − 1 without queries).
        metric, sigma: see `correlation_distance`; of no effect on vectors, which have theirs already.
        first_pass: "none": exact; "uint8": a sweep over 8-bit correlations finds `top` + 10 candidates or 2·`top`, if
            that is more, which are then ranked exactly. uint8 vectors are ranked as they are. "subset", for very many
            outputs on the CPU: the sweep is over 512 random correlations, and the recall, which is measured, is at
            least 99 % (see `sac_fast.neighbours.search.nearest_by_subset`).
        backend: see `correlation_distance`. "cuda" by name takes vectors from the host's memory too: more
            than the GPU's memory holds pass through it in segments. float16 vectors find candidates there, which are
            ranked in float32.

    Returns:
        values (q, top), ascending, and indices (q, top) int64; ties by index. Distances of outputs are those of
        `correlation_distance`; of vectors (2/n²) Σ|v^a − v^b|.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the model.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.ones(2, 3)
        >>> found = nearest_models([a, b, b], top=1)
        >>> found.indices.tolist()
        [[1], [2], [1]]
        >>> found.values.flatten()
        tensor([0.5000, 0.0000, 0.0000])
    """
    sigma = check_options(sigma, metric=metric, backend=backend)
    check_choice("first_pass", first_pass, ("none", "uint8", "subset"))
    if isinstance(top, bool) or not isinstance(top, int):
        raise TypeError(f"top must be an integer, got {type(top).__name__}")
    candidates = top + max(_SPARE_CANDIDATES, top) if first_pass == "uint8" else 0
    if isinstance(models, Tensor | np.ndarray) and models.ndim == 2:
        check_choice("first_pass", first_pass, ("none", "uint8"))
        vectors = as_vectors("models", models)
        asked = None if queries is None else as_vectors("queries", queries)
        return NearestModels(*_vectors_op(vectors, asked, top, candidates, backend))
    listed = as_models("models", models)
    wanted = [] if queries is None else as_models("queries", queries)
    if first_pass == "subset":
        return NearestModels(*_by_subset(listed, wanted, metric, sigma, top, backend))
    return NearestModels(*_op(listed, wanted, metric, sigma, top, candidates, backend))


def _by_subset(models: list[Tensor], queries: list[Tensor], metric: str, sigma: float, top: int, backend: str) -> Found:
    check_choice("backend", backend, ("auto", "cpu"))
    _check(models, queries, metric, sigma, top, 0)
    dtype = result_dtype(*models, *queries)
    ranked_metric, models = ranked_models("models", models, metric)
    _, queries = ranked_models("queries", queries, metric)
    found = nearest_by_subset(models, queries or None, top, metric=ranked_metric, sigma=sigma)
    return torch.from_numpy(found.distances).to(dtype), torch.from_numpy(found.indices)


def _check_top(top: int, candidates: int, models: int, leave_itself_out: bool) -> None:
    largest = models - leave_itself_out
    if not 1 <= top <= largest:
        raise ValueError(f"top must be within 1 … {largest} (the models to choose from), got {top}")
    if candidates < 0:
        raise ValueError(f"candidates must be at least 0, got {candidates}")


def _check(models: list[Tensor], queries: list[Tensor], metric: str, sigma: float, top: int, candidates: int) -> None:
    check_models("models", models)
    if queries:
        check_models("queries", queries, like=models[0])
    check_options(sigma, metric=metric)
    _check_top(top, candidates, len(models), not queries)


def _fake(models: list[Tensor], queries: list[Tensor], metric: str, sigma: float, top: int, candidates: int) -> Found:
    shape, like = (len(queries or models), top), models[0]
    return like.new_empty(shape, dtype=result_dtype(*models, *queries)), like.new_empty(shape, dtype=torch.int64)


def _cpu(models: list[Tensor], queries: list[Tensor], metric: str, sigma: float, top: int, candidates: int) -> Found:
    dtype = result_dtype(*models, *queries)
    ranked_metric, models = ranked_models("models", models, metric)
    _, queries = ranked_models("queries", queries, metric)
    (values, indices), results = _empty_results(len(queries or models), top)
    views = [view(x) for x in models], [view(x) for x in queries]
    _backend.compiled().nearest_models_cpu(*views, ranked_metric, sigma, top, candidates, *cpu_arguments(), *results)
    return values.to(dtype), indices


def _check_of_vectors(models: Tensor, queries: Tensor | None, top: int, candidates: int) -> None:
    check_vectors("models", models)
    if queries is not None:
        check_vectors("queries", queries, like=models)
        # the CUDA kernel reads vectors of the host's memory for queries on the device, and the other way round
        if not (queries.is_cuda or models.is_cuda):
            _check_same_device(models, queries)
    _check_top(top, candidates, len(models), queries is None)


def _check_same_device(models: Tensor, queries: Tensor | None) -> None:
    if queries is not None and queries.device != models.device:
        raise ValueError(f"queries must be on {models.device} like models, got {queries.device}")


def _fake_of_vectors(models: Tensor, queries: Tensor | None, top: int, candidates: int) -> Found:
    like = models if queries is None else queries
    shape = (len(like), top)
    return like.new_empty(shape, dtype=torch.float32), like.new_empty(shape, dtype=torch.int64)


def _cpu_of_vectors(models: Tensor, queries: Tensor | None, top: int, candidates: int) -> Found:
    _check_same_device(models, queries)
    models = models.contiguous()
    asked = models[:0] if queries is None else queries.contiguous()
    (values, indices), results = _empty_results(len(models if queries is None else asked), top)
    vectors = (models.data_ptr(), len(models), asked.data_ptr(), len(asked), str(models.dtype).removeprefix("torch."))
    _backend.compiled().nearest_vectors_cpu(
        *vectors, probes_of(models.shape[1]), top, candidates, *cpu_arguments(), *results
    )
    return values.to(torch.float32), indices


def _reference_of_vectors(models: Tensor, queries: Tensor | None, top: int, candidates: int) -> Found:
    _check_same_device(models, queries)
    return reference.nearest_vectors(models, queries, top)


def _empty_results(queries: int, top: int) -> tuple[Found, tuple[int, int]]:
    """Values and indices to be filled, and where they are."""
    values, indices = torch.empty(queries, top, dtype=torch.float64), torch.empty(queries, top, dtype=torch.int64)
    return (values, indices), (values.data_ptr(), indices.data_ptr())


_op = register("nearest_models", check=_check, fake=_fake, cpu=_cpu, cuda=cuda_nearest.nearest_models)
_vectors_op = register(
    "nearest_models",
    "nearest_vectors",
    check=_check_of_vectors,
    fake=_fake_of_vectors,
    cpu=_cpu_of_vectors,
    cuda=cuda_nearest.nearest_vectors,
    reference=_reference_of_vectors,
)
