"""Ops on many models: one source against many suspects, all pairs. Both with the l1 comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .. import _backend
from . import reference
from .arguments import (
    DEFAULT_SIGMA,
    METRICS,
    PRECISIONS,
    bandwidth,
    check_choice,
    outputs_list,
    outputs_stack,
    outputs_tensor,
    result_dtype,
)
from .cuda import sweep, tiles
from .cuda.tiles import StackedModels
from .dispatch import check_backend, cpu_arguments, fake_kernel, kernel, ranked, takes_cpu, takes_cuda, view
from .pair import distance_wide

Zoo = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]


def correlation_distances(
    source: Tensor | np.ndarray,
    suspects: Zoo,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
    backend: str = "auto",
    precision: str = "highest",
) -> Tensor:
    """`correlation_distance` of one source to each of m suspects.

    d_s = (1/n²) Σ_ij |C^source_ij − C^s_ij|. Each tile of the source's correlations is formed once for all suspects.

    Args:
        source: (n, k) outputs, float16, bfloat16, float32 or float64; tensor or NumPy array.
        suspects: (m, n, k), or a sequence of (n, k_s), m ≥ 1; the k_s may differ.
        metric, sigma, backend, precision: see `correlation_distance`.

    Returns:
        (m,) float32, float64 if any input is float64.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the suspect.

    In PyTorch: ``torch.stack([correlation_distance(source, s) for s in suspects])``.
    """
    source = outputs_tensor("source", source)
    models = outputs_list("suspects", suspects, like=source)
    check_choice("metric", metric, METRICS)
    check_choice("precision", precision, PRECISIONS)
    check_backend(backend, source.device)
    sigma = bandwidth(sigma)
    result: Tensor = torch.ops.sac_fast.correlation_distances(source, models, metric, sigma, backend, precision)
    return result


def pairwise_correlation_distances(
    zoo: Zoo,
    *,
    metric: str = "cosine",
    sigma: float = DEFAULT_SIGMA,
    precision: str = "highest",
    backend: str = "auto",
) -> Tensor:
    """`correlation_distance` of all pairs of m models.

    For each tile of sample pairs the m correlations are formed once, and the L1 distances of all pairs of models are
    accumulated from them: m²/2 · n²/2 absolute differences. Memory: the inputs once more, m × one tile, and m²; on a
    GPU the correlation vectors of all models, a quarter of its memory at a time.

    Args:
        zoo: (m, n, k), or a sequence of (n, k_i), m ≥ 1; the k_i may differ.
        metric, sigma, backend: see `correlation_distance`.
        precision: of the GPU's kernels: "highest" and "high" sum float32 correlations (|error| ≤ 1e-6), "medium"
            float16 ones (≤ 2e-3). float64 inputs, and the other backends, always take "highest".

    Returns:
        (m, m) float32, float64 if any input is float64; symmetric, zeros on the diagonal.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the model.
    """
    # on a GPU a stack of models stays one tensor: ten thousand views take longer than their distances
    models = [outputs_stack("zoo", zoo)] if isinstance(zoo, Tensor) and zoo.is_cuda else outputs_list("zoo", zoo)
    check_choice("metric", metric, METRICS)
    check_backend(backend, models[0].device)
    check_choice("precision", precision, PRECISIONS)
    sigma = bandwidth(sigma)
    result: Tensor = torch.ops.sac_fast.pairwise_correlation_distances(models, metric, sigma, backend, precision)
    return result


def ranked_models(name: str, models: list[Tensor], metric: str) -> tuple[str, list[Tensor]]:
    """The models and metric that stand for these: "spearman" is "pearson" of ranks."""
    if metric != "spearman":
        return metric, models
    return "pearson", [ranked(f"{name}[{i}]", model) for i, model in enumerate(models)]


@kernel(
    "correlation_distances(Tensor source, Tensor[] suspects, str metric, float sigma, str backend,"
    ' str precision="highest") -> Tensor'
)
def _correlation_distances(
    source: Tensor, suspects: list[Tensor], metric: str, sigma: float, backend: str, precision: str = "highest"
) -> Tensor:
    if takes_cuda("correlation_distances", backend, source.device):
        return _correlation_distances_cuda(source, suspects, metric, sigma, precision)
    if not takes_cpu(backend, source.device):
        return reference.correlation_distances(source, suspects, metric=metric, sigma=sigma)
    dtype = result_dtype(source, *suspects)
    if metric == "spearman":
        source = ranked("source", source)
    metric, suspects = ranked_models("suspects", suspects, metric)
    distances = torch.empty(len(suspects), dtype=torch.float64)
    _backend.compiled().correlation_distances_cpu(
        view(source), [view(x) for x in suspects], metric, sigma, *cpu_arguments(), distances.data_ptr()
    )
    return distances.to(dtype)


@fake_kernel("correlation_distances")
def _(
    source: Tensor, suspects: list[Tensor], metric: str, sigma: float, backend: str, precision: str = "highest"
) -> Tensor:
    return source.new_empty(len(suspects), dtype=result_dtype(source, *suspects))


def _correlation_distances_cuda(
    source: Tensor, suspects: list[Tensor], metric: str, sigma: float, precision: str
) -> Tensor:
    dtype = result_dtype(source, *suspects)
    if tiles.serves(dtype, metric, sigma, max(x.shape[1] for x in (source, *suspects)), precision):
        names = ["source", *(f"suspects[{i}]" for i in range(len(suspects)))]
        return tiles.distances(source, suspects, metric, sigma, precision, names).to(dtype)
    named = [(x, ("source", f"suspects[{i}]")) for i, x in enumerate(suspects)]
    return torch.stack([distance_wide(source, x, metric, sigma, names) for x, names in named]).to(dtype)


@kernel(
    "pairwise_correlation_distances(Tensor[] zoo, str metric, float sigma, str backend,"
    ' str precision="highest") -> Tensor'
)
def _pairwise_correlation_distances(
    zoo: list[Tensor], metric: str, sigma: float, backend: str, precision: str = "highest"
) -> Tensor:
    if takes_cuda("pairwise_correlation_distances", backend, zoo[0].device):
        models = StackedModels(zoo[0]) if zoo[0].dim() == 3 else zoo
        return sweep.pairwise_correlation_distances(models, metric, sigma, precision)
    if zoo[0].dim() == 3:
        zoo = list(zoo[0].unbind(0))
    if not takes_cpu(backend, zoo[0].device):
        return reference.pairwise_correlation_distances(zoo, metric=metric, sigma=sigma)
    dtype = result_dtype(*zoo)
    metric, zoo = ranked_models("zoo", zoo, metric)
    distances = torch.empty(len(zoo), len(zoo), dtype=dtype)
    _backend.compiled().pairwise_correlation_distances_cpu(
        [view(x) for x in zoo], metric, sigma, dtype == torch.float64, *cpu_arguments(), distances.data_ptr()
    )
    return distances


@fake_kernel("pairwise_correlation_distances")
def _(zoo: list[Tensor], metric: str, sigma: float, backend: str, precision: str = "highest") -> Tensor:
    m = zoo[0].shape[0] if zoo[0].dim() == 3 else len(zoo)
    return zoo[0].new_empty((m, m), dtype=result_dtype(*zoo))
