"""The gradient of correlation_distance beside its forward pass and autograd through PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ops import correlation_distance, reference
from ..ops.arguments import DEFAULT_SIGMA
from . import peers
from .harness import OURS, Case, Implementation, Target

FORWARD = "the distance alone"
ONE = f"{OURS}, gradient of one input"
AUTOGRAD = "autograd of naive PyTorch, distance and both gradients"
# of the largest entry of a gradient
_TOLERANCE = 1e-4
# Where two correlations differ by less, rounding decides the sign of the difference, and the derivative jumps there.
_TIE = 1e-6
_BLOCK = 500


def rows_without_ties(a: Tensor, b: Tensor) -> Tensor:
    """Which rows have no cosine correlation in `a` that is about the one in `b`, (n,) bool."""
    rows_a, rows_b = (reference.normalised_rows(each.double(), "cosine") for each in (a, b))
    clear = []
    for start in range(0, len(a), _BLOCK):
        some = slice(start, start + _BLOCK)
        differences = (rows_a[some] @ rows_a.T - rows_b[some] @ rows_b.T).abs_()
        differences.diagonal(start).fill_(torch.inf)  # 1 in both
        clear.append(differences.amin(dim=1) >= _TIE)
    return torch.cat(clear)


def gradient(n: int, k: int, *, judged: bool) -> Case:
    """Both gradients of one pair of models, normally distributed outputs."""
    generator = torch.Generator().manual_seed(n + k)
    a, b = (torch.randn(n, k, generator=generator) for _ in range(2))
    one = torch.ones(())
    metric, comparison, sigma = "cosine", "l1", DEFAULT_SIGMA
    expected = reference.correlation_distance_backward(
        one, a.double(), b.double(), metric=metric, comparison=comparison, sigma=sigma
    )
    distance = float(reference.correlation_distance(a.double(), b.double()))
    clear = rows_without_ties(a, b)

    def ours(*wants: bool) -> Any:
        return torch.ops.sac_fast.correlation_distance_backward(one, a, b, metric, comparison, sigma, *wants, "auto")

    def autograd() -> tuple[Tensor, ...]:
        left, right = a.clone().requires_grad_(), b.clone().requires_grad_()
        return torch.autograd.grad(peers.naive(left, right, "cosine"), (left, right))

    def error(found: Any) -> float:
        if isinstance(found, Tensor):
            return abs(float(found) - distance)
        pairs = [(x.double(), y) for x, y in zip(found, expected, strict=True) if len(x)]
        return max(float((x - y)[clear].abs().max() / y.abs().max()) for x, y in pairs)

    return Case(
        name=f"gradient of a pair, n = {n:,}, k = {k:,}, cosine",
        op="correlation_distance",
        shape={"n": n, "k": k},
        implementations=[
            Implementation(OURS, partial(ours, True, True)),
            Implementation(ONE, partial(ours, True, False)),
            Implementation(FORWARD, lambda: correlation_distance(a, b)),
            Implementation(AUTOGRAD, autograd),
        ],
        error=error,
        checked=f"gradients of the {int(clear.sum()):,} of {n:,} rows without ties, relative to the largest entry",
        tolerance=_TOLERANCE,
        work=n * n * 6 * k / 1e9,
        targets=[_at_most(4.5, "both gradients", OURS), _at_most(3, "one gradient", ONE)] if judged else [],
    )


def _at_most(times: float, text: str, name: str) -> Target:
    """`name` must take at most so many times the time of the distance alone."""

    def value(record: Mapping[str, Any]) -> float | None:
        found = record["implementations"]
        seconds, forward = (found.get(which, {}).get("seconds") for which in (name, FORWARD))
        return seconds / forward if seconds and forward else None

    return Target(f"{text} in {times:g}× the distance's time", value, at_most=times)
