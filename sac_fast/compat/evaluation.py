"""The main loop of the scripts, without their n×n matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from .functions import Batches, model_outputs, one_minus_cosine

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_GROUP_BYTES = 64 << 20
_EPSILON = 1e-12  # smallest norm for which F.normalize gives unit rows


def correlation_differences(
    models: Iterable[Any], dataloader: Batches, *, load: Callable[[Any], nn.Module] | None = None, halved: bool = False
) -> Tensor:
    """Distance of the correlations of each model from those of the first: the scripts' main loop.

    d_i = mean |C_i − C_0|, i = 1 … m − 1, with C_i = `cal_cor` (model i)

    Each model runs once, only its outputs (n, k) are kept, and no n×n matrix is formed. Models are processed one by
    one: with a generator, or with paths and `load`, only one model is in memory at a time.

    Args:
        models: m ≥ 1 modules, the source first; an entry that is no module is passed to `load`, or, without
            `load`, called without arguments (``functools.partial(load_model, 3, "irrelevant")``).
        dataloader: pairs of images and labels (not used), in the same order in every iteration.
        load: function from an entry to its module.
        halved: False for the values of SAC_JC (``1 − cos``), True for those of SAC (half of them).

    Returns:
        (m − 1,) on the CPU in PyTorch's default dtype (float32): the scripts' `diff` without its last entry, which
        belongs to no model. Half-precision outputs are compared in float32, since the scripts' sum would overflow.

    Raises:
        ValueError: no model.
        TypeError: an entry that is neither a module nor gives one.
        RuntimeError: no batch, or different numbers of outputs.

    In PyTorch:

        o = torch.nn.functional.normalize(outputs[i])
        c_i = 1 - o @ o.T
        d_i = (c_i - c_0).abs().mean()

    Source: SAC.py of SAC_JC (Guan et al., arXiv 2412.20768), correlation_wrong.py of SAC (arXiv 2210.15427).
    """
    return output_differences(_outputs_of(models, dataloader, load, to_cpu=halved), halved=halved)


def output_differences(outputs: Iterable[Tensor], *, halved: bool = False) -> Tensor:
    """`correlation_differences` from given outputs.

    d_i = mean |C_i − C_0|, i = 1 … m − 1

    Args:
        outputs: m ≥ 1 tensors (n, k_i), floating point, the source's first; a list or a generator.
        halved: False for the values of SAC_JC, True for those of SAC.

    Returns:
        (m − 1,) on the CPU in PyTorch's default dtype (float32).

    Raises:
        ValueError: no tensor.
        RuntimeError, IndexError: incompatible shapes or dtypes; the exceptions are PyTorch's.

    Source: as for `correlation_differences`.
    """
    with torch.no_grad():
        remaining = iter(outputs)
        source = next(remaining, None)
        if source is None:
            raise ValueError("models must hold at least the source, got none")
        differences: list[float] = []
        for suspects in _groups(remaining):
            differences += _mean_differences(source, suspects)
    return torch.tensor(differences, dtype=torch.get_default_dtype()).mul_(0.5 if halved else 1.0)


def _groups(outputs: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    """Groups of suspects for the batched op, of about _GROUP_BYTES."""
    group: list[Tensor] = []
    size = 0
    for suspect in outputs:
        group.append(suspect)
        size += suspect.nbytes
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    yield group


def _mean_differences(source: Tensor, suspects: list[Tensor]) -> list[float]:
    """`mean_difference` of each suspect and the source, with one call of the fused op for all that it supports."""
    fits = is_regular(source)
    fused = [fits and _is_like(suspect, source) and is_regular(suspect) for suspect in suspects]
    served = [suspect for suspect, fuse in zip(suspects, fused, strict=True) if fuse]
    distances = iter(ops.correlation_distances(source, served).tolist() if served else ())
    return [
        next(distances) if fuse else float(_formula(suspect, source))
        for suspect, fuse in zip(suspects, fused, strict=True)
    ]


def mean_difference(a: Tensor, b: Tensor) -> Tensor:
    """mean |C_a − C_b| of two models' outputs, 0-d; the 1 cancels, so it is the fused cosine distance."""
    if _is_like(a, b) and is_regular(a) and is_regular(b):
        return ops.correlation_distance(a, b)
    return _formula(a, b)


def _is_like(a: Tensor, b: Tensor) -> bool:
    return a.shape[:1] == b.shape[:1] and a.device == b.device


def _formula(a: Tensor, b: Tensor) -> Tensor:
    # PyTorch's formula for what the op refuses, and for tiny or huge norms, where the op is more accurate.
    difference = one_minus_cosine(a, a) - one_minus_cosine(b, b)
    return torch.sum(torch.abs(difference)) / (a.shape[0] * a.shape[0])


def is_regular(outputs: Tensor) -> bool:
    """Whether `F.normalize` gives unit rows, or zero for zero rows, so that the fused op is the same formula."""
    if outputs.dim() != 2 or outputs.dtype not in _FLOATING or outputs.shape[0] < 2 or outputs.shape[1] < 1:
        return False
    # NaN fails the comparison.
    smallest, largest = (float(norm) for norm in torch.aminmax(torch.linalg.vector_norm(outputs, dim=1)))
    if smallest >= _EPSILON:
        return largest < math.inf
    # 1e-12 is 0 in float16, whose zero rows become NaN.
    if outputs.dtype == torch.float16 or not 0 <= smallest <= largest < math.inf:
        return False
    directed = outputs[(outputs != 0).any(dim=1)]
    return bool((torch.linalg.vector_norm(directed, dim=1) >= _EPSILON).all())


def _outputs_of(
    models: Iterable[Any], dataloader: Batches, load: Callable[[Any], nn.Module] | None, *, to_cpu: bool
) -> Iterator[Tensor]:
    index = 0
    for entry in models:  # enumerate would keep a reference to the last model while the next one is made
        model = entry
        if not isinstance(model, nn.Module):
            if load is None and not callable(entry):
                raise TypeError(f"models[{index}] must be a module, or load= given, got {type(entry).__name__}")
            model = entry() if load is None else load(entry)
        if not isinstance(model, nn.Module):
            raise TypeError(f"models[{index}] must give a module, got {type(model).__name__}")
        yield model_outputs(model, dataloader, to_cpu=to_cpu)
        del model, entry  # free the memory before the next model is loaded
        index += 1  # noqa: SIM113
