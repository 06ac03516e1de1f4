"""`pairwise_correlation_distances`: all pairs of a batch of models, with the l1 comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _backend
from ..io.choices import Backend, Metric, Precision
from . import reference
from .arguments import DEFAULT_SIGMA, Models, as_models, check_models, check_options, check_stack, result_dtype
from .cuda import pairwise_correlation_distances as cuda_pairwise
from .cuda.tiles import StackedModels
from .dispatch import cpu_arguments, held, ranked_models, register, view


@held
def pairwise_correlation_distances(
    models: Models,
    *,
    metric: Metric = "cosine",
    sigma: float = DEFAULT_SIGMA,
    precision: Precision = "highest",
    backend: Backend = "auto",
) -> Tensor:
    """`correlation_distance` of all pairs of m models.

    For each tile of sample pairs the m correlations are formed once, and the L1 distances of all pairs of models are
    accumulated from them: m²/2 · n²/2 absolute differences. Memory: the inputs once more, m × one tile, and m²; on a
    GPU the correlation vectors of all models, a quarter of its memory at a time.

    Args:
        models: (m, n, k), or a sequence of (n, k_i), m ≥ 1; the k_i may differ.
        metric, sigma, backend: see `correlation_distance`.
        precision: of the GPU's kernels: "highest" and "high" sum float32 correlations (|error| ≤ 1e-6), "medium"
            float16 ones (≤ 2e-3). float64 inputs, and the other backends, always take "highest".

    Returns:
        (m, m) float32, float64 if any input is float64; symmetric, zeros on the diagonal.

    Raises:
        TypeError, ValueError, BackendError: as `correlation_distance`; messages name the model.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.ones(2, 3)
        >>> pairwise_correlation_distances([a, b, b])
        tensor([[0.0000, 0.5000, 0.5000],
                [0.5000, 0.0000, 0.0000],
                [0.5000, 0.0000, 0.0000]])
    """
    # on a GPU a stack of models stays one tensor: ten thousand views take longer than their distances
    stacked = isinstance(models, Tensor) and models.is_cuda
    listed = [models] if stacked else as_models("models", models)
    sigma = check_options(sigma, metric=metric, precision=precision, backend=backend)
    return _op(listed, metric, sigma, backend, precision)


def _is_stack(models: list[Tensor]) -> bool:
    return len(models) == 1 and models[0].dim() == 3


def _check(models: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> None:
    if _is_stack(models):
        check_stack("models", models[0])
    else:
        check_models("models", models)
    check_options(sigma, metric=metric, precision=precision)


def _fake(models: list[Tensor], *options: object) -> Tensor:
    m = models[0].shape[0] if _is_stack(models) else len(models)
    return models[0].new_empty((m, m), dtype=result_dtype(*models))


def _cuda(models: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> Tensor:
    batch = StackedModels(models[0]) if _is_stack(models) else models
    return cuda_pairwise.pairwise_correlation_distances(batch, metric, sigma, precision)


def _cpu(models: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> Tensor:
    dtype = result_dtype(*models)
    metric, models = ranked_models("models", _unstacked(models), metric)
    distances = torch.empty(len(models), len(models), dtype=dtype)
    _backend.compiled().pairwise_correlation_distances_cpu(
        [view(x) for x in models], metric, sigma, dtype == torch.float64, *cpu_arguments(), distances.data_ptr()
    )
    return distances


def _reference(models: list[Tensor], metric: str, sigma: float, precision: str = "highest") -> Tensor:
    return reference.pairwise_correlation_distances(_unstacked(models), metric=metric, sigma=sigma)


def _unstacked(models: list[Tensor]) -> list[Tensor]:
    return list(models[0].unbind(0)) if _is_stack(models) else models


_op = register("pairwise_correlation_distances", check=_check, fake=_fake, cpu=_cpu, cuda=_cuda, reference=_reference)
