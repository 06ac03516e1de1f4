"""nearest_models: the nearest neighbours of each query in a zoo, with the l1 comparison."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from . import reference
from .arguments import DEFAULT_SIGMA, METRICS, bandwidth, check_choice, outputs_list, result_dtype, vectors_tensor
from .batch import Zoo, ranked_models
from .cuda import nearest_models as cuda_nearest
from .dispatch import check_backend, cpu_arguments, fake_kernel, kernel, takes_cpu, takes_cuda, view

# How many more candidates than asked for the uint8 pass hands on
_SPARE_CANDIDATES = 10


class NearestModels(NamedTuple):
    """What `nearest_models` found, in the manner of `torch.topk`."""

    values: Tensor
    indices: Tensor


def nearest_models(
    zoo: Zoo,
    queries: Zoo | None = None,
    top: int = 10,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
    first_pass: str = "none",
    backend: str = "auto",
) -> NearestModels:
    """The `top` nearest models of a zoo for each query, without ever holding m×m distances.

    Args:
        zoo: outputs (m, n, k) or a sequence of (n, k_i); or correlation vectors (m, n(n−1)/2) of float32, float16 or
            uint8, as `correlation_vector` makes them: a NumPy memory map may be larger than the memory.
        queries: of the same form as the zoo; None: every model of the zoo, itself left out.
        top: number of neighbours, 1 ≤ top ≤ m (m − 1 without queries).
        metric, sigma: see `correlation_distance`; of no effect on vectors, which have theirs already.
        first_pass: "none": exact; "uint8": a sweep over 8-bit correlations finds `top` + 10 candidates or 2·`top`, if
            that is more, which are then ranked exactly. uint8 vectors are ranked as they are.
        backend: see `correlation_distance`. "cuda" by name takes vectors from the host's memory too: a zoo larger than
            the GPU's passes through it in segments. float16 vectors find candidates there, which are ranked in float32.

    Returns:
        values (q, top), ascending, and indices (q, top) int64; ties by index. Distances of outputs are those of
        `correlation_distance`; of vectors (2/n²) Σ|v^a − v^b|.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the model.
    """
    check_choice("metric", metric, METRICS)
    check_choice("first_pass", first_pass, ("none", "uint8"))
    if isinstance(top, bool) or not isinstance(top, int):
        raise TypeError(f"top must be an integer, got {type(top).__name__}")
    spare = max(_SPARE_CANDIDATES, top) if first_pass == "uint8" else None
    candidates = 0 if spare is None else top + spare
    if isinstance(zoo, Tensor | np.ndarray) and zoo.ndim == 2:
        vectors = vectors_tensor("zoo", zoo)
        streamed = backend == "cuda" and torch.cuda.is_available() and not vectors.is_cuda
        asked = None if queries is None else vectors_tensor("queries", queries, like=vectors, anywhere=streamed)
        _check_top(top, len(vectors), queries is None)
        if not streamed:
            check_backend(backend, vectors.device)
        return NearestModels(*torch.ops.sac_fast.nearest_vectors(vectors, asked, top, candidates, backend))
    models = outputs_list("zoo", zoo)
    wanted = [] if queries is None else outputs_list("queries", queries, like=models[0])
    _check_top(top, len(models), queries is None)
    check_backend(backend, models[0].device)
    sigma = bandwidth(sigma)
    return NearestModels(*torch.ops.sac_fast.nearest_models(models, wanted, metric, sigma, top, candidates, backend))


def _check_top(top: int, models: int, leave_itself_out: bool) -> None:
    most = models - leave_itself_out
    if not 1 <= top <= most:
        raise ValueError(f"top must be within 1 … {most} (the models to choose from), got {top}")


@kernel(
    "nearest_models(Tensor[] zoo, Tensor[] queries, str metric, float sigma, int top, int candidates, str backend)"
    " -> (Tensor, Tensor)"
)
def _nearest_models(
    zoo: list[Tensor],
    queries: list[Tensor],
    metric: str,
    sigma: float,
    top: int,
    candidates: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    if takes_cuda("nearest_models", backend, zoo[0].device):
        return cuda_nearest.nearest_models(zoo, queries, metric, sigma, top, candidates)
    if not takes_cpu(backend, zoo[0].device):
        return reference.nearest_models(zoo, queries or None, top, metric=metric, sigma=sigma)
    dtype = result_dtype(*zoo, *queries)
    ranked_metric, zoo = ranked_models("zoo", zoo, metric)
    _, queries = ranked_models("queries", queries, metric)
    values, indices = _room(len(queries) or len(zoo), top)
    _backend.compiled().nearest_models_cpu(
        [view(x) for x in zoo],
        [view(x) for x in queries],
        ranked_metric,
        sigma,
        top,
        candidates,
        *cpu_arguments(),
        values.data_ptr(),
        indices.data_ptr(),
    )
    return values.to(dtype), indices


@fake_kernel("nearest_models")
def _(
    zoo: list[Tensor],
    queries: list[Tensor],
    metric: str,
    sigma: float,
    top: int,
    candidates: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    shape = (len(queries) or len(zoo), top)
    return zoo[0].new_empty(shape, dtype=result_dtype(*zoo, *queries)), zoo[0].new_empty(shape, dtype=torch.int64)


@kernel("nearest_vectors(Tensor zoo, Tensor? queries, int top, int candidates, str backend) -> (Tensor, Tensor)")
def _nearest_vectors(
    zoo: Tensor, queries: Tensor | None, top: int, candidates: int, backend: str
) -> tuple[Tensor, Tensor]:
    if takes_cuda("nearest_models", backend, zoo.device):
        return cuda_nearest.nearest_vectors(zoo, queries, top, candidates)
    if not takes_cpu(backend, zoo.device):
        return reference.nearest_vectors(zoo, queries, top)
    asked = 0 if queries is None else len(queries)
    values, indices = _room(asked or len(zoo), top)
    _backend.compiled().nearest_vectors_cpu(
        zoo.data_ptr(),
        len(zoo),
        0 if queries is None else queries.data_ptr(),
        asked,
        str(zoo.dtype).removeprefix("torch."),
        round((1 + (1 + 8 * zoo.shape[1]) ** 0.5) / 2),
        top,
        candidates,
        *cpu_arguments(),
        values.data_ptr(),
        indices.data_ptr(),
    )
    return values.to(torch.float32), indices


@fake_kernel("nearest_vectors")
def _(zoo: Tensor, queries: Tensor | None, top: int, candidates: int, backend: str) -> tuple[Tensor, Tensor]:
    shape = (len(zoo) if queries is None else len(queries), top)
    like = zoo if queries is None else queries
    return like.new_empty(shape, dtype=torch.float32), like.new_empty(shape, dtype=torch.int64)


def _room(queries: int, top: int) -> tuple[Tensor, Tensor]:
    return torch.empty(queries, top, dtype=torch.float64), torch.empty(queries, top, dtype=torch.int64)
