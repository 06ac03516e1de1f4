"""How much of a suspect's outputs the source's outputs explain, by linear regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Directions of the source's outputs whose variance is this share of the largest are rounding, not variation.
_MIN_SHARE = 1e-12


def min_probes(outputs: int) -> int:
    """How many probes a regression on so many outputs needs: with fewer everything would be explained."""
    return outputs + 2


def unexplained_share(source: Tensor, suspect: Tensor) -> float:
    """Share of the suspect's variance over the probes that no linear function of the source's outputs explains.

    With S and X the outputs, columns centred, ``d = 1 − |P_S X|² / |X|²``, where P_S projects onto the columns of S:
    1 − R² of the regression of X on S, over all outputs. A derived model computes its answers from what it has of the
    source; an independent one has a part of its own, which the source's answers do not tell. The k's may differ, so
    that a model that was moved to other classes is compared as well. Only k×k products are formed.

    Args:
        source: (n, k) outputs, finite, n ≥ k + 2: with fewer probes everything would be explained.
        suspect: (n, k') outputs, finite.

    Returns:
        0 … 1; 0 for equal outputs, 1 where one of both does not vary.

    Raises:
        ValueError: rows that differ, or too few of them.

    Source: the linear regression of Kornblith et al. 2019 (arXiv 1905.00414), section 4, as a distance.
    """
    n, k = source.shape
    if len(suspect) != n:
        raise ValueError(f"suspect must have {n} rows like source, got {len(suspect)}")
    if n < (least := min_probes(k)):
        raise ValueError(f"source must have at least {least} rows (probes) for a regression on {k} outputs, got {n}")
    if torch.equal(source, suspect):
        return 0.0
    mine, theirs = (_centred(x) for x in (source, suspect))
    total = theirs.square().sum()
    values, directions = torch.linalg.eigh(mine.T @ mine)
    kept = values > _MIN_SHARE * values[-1].clamp(min=torch.finfo(torch.float64).tiny)
    if not bool(kept.any()) or not bool(total > 0):
        return 1.0
    along = (directions[:, kept].T @ (mine.T @ theirs)) / values[kept].sqrt()[:, None]
    return float((1.0 - along.square().sum() / total).clamp(0.0, 1.0))


def _centred(x: Tensor) -> Tensor:
    x = x.double()
    # magnitude 1 before anything is squared; shifted first, so that a constant column becomes exactly zero
    x = x - x[:1]
    x = x - x.mean(dim=0)
    largest = x.abs().max()
    return x / torch.where(largest > 0, largest, 1.0)


def unexplained_shares_weighted(source: Tensor, suspects: Sequence[Tensor], weights: Tensor) -> Tensor:
    """`unexplained_share` under many weightings of the probes: of the rows as often as the weights say.

    Args:
        source: (n, k) outputs, finite.
        suspects: m of (n, k_s) outputs, finite.
        weights: (R, n) ≥ 0, each row of a sum above 0.

    Returns:
        (m, R) float64.

    Raises:
        ValueError: rows that differ.
    """
    w = weights.double()
    w = w / w.sum(dim=1, keepdim=True)
    mine = _centred(source)
    squares, mean = _moments(mine, mine, w), w @ mine
    values, directions = torch.linalg.eigh(squares - mean[:, :, None] * mean[:, None, :])
    largest = values[:, -1:].clamp(min=torch.finfo(torch.float64).tiny)
    kept = values > _MIN_SHARE * largest
    scale = torch.where(kept, values.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0.0)
    found = []
    for suspect in suspects:
        if len(suspect) != len(source):
            raise ValueError(f"suspect must have {len(source)} rows like source, got {len(suspect)}")
        theirs = _centred(suspect)
        other = w @ theirs
        cross = _moments(mine, theirs, w) - mean[:, :, None] * other[:, None, :]
        total = w @ theirs.square().sum(dim=1) - other.square().sum(dim=1)
        explained = ((directions.transpose(1, 2) @ cross) * scale[:, :, None]).square().sum(dim=(1, 2))
        varies = kept.any(dim=1) & (total > 0)
        share = 1.0 - explained / torch.where(varies, total, 1.0)
        found.append(torch.where(varies, share, 1.0).clamp(0.0, 1.0))
    return torch.stack(found)


def _moments(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """Σ_i w_ri a_i b_iᵀ for all r: (R, k_a, k_b), one column of b at a time so that nothing of size n·k² is kept."""
    return torch.stack([w @ (a * b[:, j : j + 1]) for j in range(b.shape[1])], dim=2)
