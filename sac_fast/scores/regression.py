"""Share of a suspect's outputs that the source's outputs do not explain, by linear regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..ops.arguments import check_same_probes

# Directions of the source's outputs with at most this share of the largest variance are rounding errors.
_MIN_SHARE = 1e-12


def min_probes(outputs: int) -> int:
    """Smallest number of probes for a regression on so many outputs: fewer probes would be explained completely."""
    return outputs + 2


def unexplained_share(source: Tensor, suspect: Tensor) -> float:
    """Share of the suspect's variance over the probes that no linear function of the source's outputs explains.

    With S and X the outputs with centred columns, ``d = 1 − |P_S X|² / |X|²``, where P_S projects onto the columns of
    S: 1 − R² of the regression of X on S, over all outputs. The outputs of a derived model depend on features of the
    source; those of an independent model have a component of their own. k and k' may differ, so models that were
    transferred to other classes can be compared. Only k×k products are formed.

    Args:
        source: (n, k) outputs, finite, n ≥ k + 2.
        suspect: (n, k') outputs, finite.

    Returns:
        0 … 1; 0 for equal outputs, 1 if one of the models has constant outputs.

    Raises:
        ValueError: different numbers of rows, or too few rows.

    Example::

        >>> import torch
        >>> source = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [1.0, 3.0]])
        >>> unexplained_share(source, source), unexplained_share(source, source[:, :1].expand(4, 2)) < 1e-12
        (0.0, True)

    Source: the linear regression of Kornblith et al. 2019 (arXiv 1905.00414), section 4, as a distance.
    """
    n, k = source.shape
    check_same_probes("suspect", suspect, source, "source")
    if n < (needed := min_probes(k)):
        raise ValueError(f"source must have at least {needed} rows (probes) for a regression on {k} outputs, got {n}")
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
    # Scaled to magnitude 1 before squaring; shifted first, so that a constant column becomes exactly zero.
    x = x - x[:1]
    x = x - x.mean(dim=0)
    largest = x.abs().max()
    return x / torch.where(largest > 0, largest, 1.0)


def unexplained_shares_weighted(source: Tensor, suspects: Sequence[Tensor], weights: Tensor) -> Tensor:
    """`unexplained_share` for many weightings of the probes, where row i counts ``weights[r, i]`` times.

    Args:
        source: (n, k) outputs, finite.
        suspects: m of (n, k_s) outputs, finite.
        weights: (R, n) ≥ 0, each row with a sum above 0.

    Returns:
        (m, R) float64.

    Raises:
        ValueError: different numbers of rows.

    Example::

        >>> import torch
        >>> source = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        >>> unexplained_shares_weighted(source, [2 * source, source[:, :2]], torch.ones(4, 20)).shape
        torch.Size([2, 4])
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
        check_same_probes("suspect", suspect, source, "source")
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
    """Σ_i w_ri a_i b_iᵀ for all r: (R, k_a, k_b), by columns of b, so that no array of size n·k² is needed."""
    return torch.stack([w @ (a * b[:, j : j + 1]) for j in range(b.shape[1])], dim=2)
