"""What gpu_check.py compares of the ops that have no CUDA kernel: on a GPU torch's formulas serve them there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from gpu_check_results import FLOAT64, METRICS, Row, name_of, outputs, row
from torch import Tensor

import sac_fast
from sac_fast.ops import reference

DIFFERENTIABLE = ("cosine", "pearson", "rbf")
SIGMA = 0.8
SIZES = ((2, 3, 2), (31, 7, 7), (129, 30, 12), (300, 5, 40))
# |error| over the largest entry of the gradients
GRADIENT_TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-9}


def check_comparisons(device: str, backend: str) -> Iterator[Row]:
    """l2, rsa and cka, and the weighted distance, against the definition."""
    for n, k_a, k_b in SIZES:
        for metric in METRICS:
            for dtype in (torch.float32, torch.float64):
                a, b = outputs(n, k_a, n, dtype), outputs(n, k_b, n + 1, dtype)
                x, y = a.to(device), b.to(device)
                tolerance = FLOAT64 if dtype == torch.float64 else 1e-6
                for comparison in ("l2", "rsa", "cka"):
                    options = {"metric": metric, "comparison": comparison}
                    expected = float(reference.correlation_distance(a.double(), b.double(), **options))
                    got = float(sac_fast.correlation_distance(x, y, **options, backend=backend))
                    name = f"correlation_distance n={n} k={k_a} {metric} {comparison} {name_of(dtype)}"
                    yield row(name, abs(got - expected), tolerance)
                weights = weightings(n)
                expected = reference.correlation_distance_weighted(a.double(), b.double(), weights, metric=metric)
                got = sac_fast.correlation_distance_weighted(
                    x, y, weights.to(device), metric=metric, backend=weighted_backend(backend)
                )
                error = float((got.cpu().double() - expected).abs().max())
                yield row(f"correlation_distance_weighted n={n} k={k_a} {metric} {name_of(dtype)}", error, tolerance)


def check_gradients(device: str, backend: str) -> Iterator[Row]:
    """Gradients of the distance and of its weighted form against autograd on the plain formula; the same bits twice."""
    for comparison in ("l2", "l1", "weighted"):
        for n, k_a, k_b in SIZES:
            weights = weightings(n)
            for metric in DIFFERENTIABLE:
                for dtype, tolerance in GRADIENT_TOLERANCES.items():
                    pair = outputs(n, k_a, n, dtype), outputs(n, k_b, n + 1, dtype)
                    expected = gradients(partial(plain, metric, comparison, weights), *pair)
                    there = [x.to(device) for x in pair]
                    call = partial(distance, backend, metric, comparison, weights.to(device))
                    got = [gradients(call, *there) for _ in range(2)]
                    name = f"gradient n={n} k={k_a} {metric} {comparison} {name_of(dtype)}"
                    same = all(torch.equal(x, y) for x, y in zip(*got, strict=True))
                    right_place = all(x.device.type == device and x.dtype == dtype for x in got[0])
                    yield row(name, relative_error(got[0], expected), tolerance, same and right_place)
    x = outputs(40, 6, 1).to(device)
    found = gradients(partial(distance, backend, "cosine", "l1", None), x, x.clone())
    yield row("gradient of identical models", max(float(g.abs().max()) for g in found), 0)


def weightings(n: int) -> Tensor:
    return torch.randint(0, 4, (3, n), generator=torch.Generator().manual_seed(n)).double() + 0.25


def weighted_backend(backend: str) -> str:
    """There is no CUDA kernel of the weighted form: a GPU's tensors are served by the definition."""
    return "auto" if backend == "cuda" else backend


def distance(backend: str, metric: str, comparison: str, weights: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """What a user calls."""
    options: dict[str, Any] = {"metric": metric, "sigma": SIGMA}
    if comparison == "weighted":
        found = sac_fast.correlation_distance_weighted(a, b, weights, **options, backend=weighted_backend(backend))
        return found.sum()
    return sac_fast.correlation_distance(a, b, comparison=comparison, **options, backend=backend)


def plain(metric: str, comparison: str, weights: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The formula in float64 PyTorch on the CPU, which autograd goes through; rows must have a direction."""
    apart = plain_matrix(a.double(), metric) - plain_matrix(b.double(), metric)
    if comparison == "l2":
        return apart.square().mean().sqrt()
    if comparison == "l1":
        return apart.abs().mean()
    return (((weights @ apart.abs()) * weights).sum(dim=1) / weights.sum(dim=1) ** 2).sum()


def plain_matrix(x: Tensor, metric: str) -> Tensor:
    if metric == "pearson":
        x = x - x.mean(dim=1, keepdim=True)
    x = x / x.norm(dim=1, keepdim=True)
    if metric == "rbf":
        return torch.exp(-(x[:, None] - x[None]).square().sum(dim=2) / (2 * SIGMA**2))
    return x @ x.T


def gradients(call: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    leaves = tuple(x.detach().clone().requires_grad_() for x in (a, b))
    return torch.autograd.grad(3 * call(*leaves), leaves)


def relative_error(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    largest = max(float(x.abs().max()) for x in expected)
    apart = [(x.cpu().double() - y.double()).abs().max() for x, y in zip(got, expected, strict=True)]
    return float(torch.stack(apart).max()) / largest


FORMULAS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    "comparisons": check_comparisons,
    "gradients": check_gradients,
}
