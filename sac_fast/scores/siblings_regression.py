"""How much of a suspect each member of a group of siblings explains beyond all others, by one linear regression.

The suspect's outputs may mean anything: other classes, or the same ones in another order. A model that was moved to
other classes reads its new outputs from what the source computes; whatever they are, the source's own deviations from
its siblings help to predict them, and a sibling's do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .siblings_products import evenly_spaced_rows
from .siblings_similarity import Similarities

#: λ of the ridge regression.
RIDGE = 0.01
# Probes, and columns of all members together, that a regression takes at most.
_MAX_PROBES = 4000
_MAX_COLUMNS = 1024
# Shares of explained variance below it are rounding.
_SMALLEST = 1e-12

Transform = Callable[[Tensor], Tensor]


def explained_by_members(members: Sequence[Tensor], suspects: Sequence[Tensor], transform: Transform) -> Similarities:
    """The part of each suspect's outputs that only one member explains.

    With X_0 the members' mean, X_j = member j minus the mean, all columns centred, Y a suspect's centred outputs of
    length 1, X = [X_0 X_1 … X_J], τ = λ times the mean squared length of X's columns and ``RSS(X) = min_W |Y − XW|² + τ
    |W|²``,

        ``similarity(b, j) = log(RSS(X without X_j) − RSS(X))``,

    which is ``log tr(W_jᵀ (A_jj)⁻¹ W_j)`` with ``A = (XᵀX + τI)⁻¹`` and ``W = AXᵀY``: one inverse serves all suspects.
    All members are treated alike, and a permutation, rotation or rescaling of a suspect's outputs changes little or
    nothing.

    Args:
        members: J ≥ 2 of (n, k) outputs whose columns mean the same.
        suspects: S of (n, k_s) outputs; k_s may differ.
        transform: of outputs, row by row.

    Returns:
        (S, J) values, −∞-free; without similarities among the members. At most 4,000 evenly spaced probes are taken.
        Where all members together have more columns than probes, or than 1,024, each is reduced to its leading
        principal components, as many for each.

    Example::

        >>> _ = torch.manual_seed(0)
        >>> members = list(torch.randn(5, 300, 6) + 2 * torch.randn(300, 6))
        >>> moved = torch.tanh(members[3]) @ torch.randn(6, 2) + torch.randn(300, 2)
        >>> int(explained_by_members(members, [moved], lambda rows: rows).suspects.argmax())
        3
    """
    at = evenly_spaced_rows(len(members[0]), _MAX_PROBES)
    blocks = _blocks(members, at, transform)
    count, width = len(members), blocks[0].shape[1]
    x = torch.cat(blocks, dim=1)
    gram = x.T @ x
    penalty = RIDGE * max(float(gram.diagonal().mean()), torch.finfo(torch.float64).tiny)
    inverse = torch.linalg.inv(gram + penalty * torch.eye(len(gram), dtype=torch.float64))
    own = [slice(width * (1 + j), width * (2 + j)) for j in range(count)]
    freed = torch.stack([torch.linalg.inv(inverse[part, part]) for part in own])
    found = np.empty((len(suspects), count))
    for i, suspect in enumerate(suspects):
        y = _centred(transform(suspect[at].double()))
        length = float(y.norm())
        weights = inverse @ (x.T @ (y / length if length > 0 else y))
        parts = weights[width:].reshape(count, width, -1)
        found[i] = torch.einsum("jac,jab,jbc->j", parts, freed, parts).clamp_min(_SMALLEST).log().numpy()
    return Similarities(found, None)


def _blocks(members: Sequence[Tensor], at: Tensor, transform: Transform) -> list[Tensor]:
    """(n, r) columns of the members' mean and of what each member adds to it."""
    mean = sum((transform(member[at].double()) for member in members), torch.zeros(())) / len(members)
    room = min(_MAX_COLUMNS, len(at)) // (len(members) + 1)
    rank = max(1, min(mean.shape[1], room))
    return [_leading(mean, rank), *(_leading(transform(member[at].double()) - mean, rank) for member in members)]


def _leading(rows: Tensor, rank: int) -> Tensor:
    """The centred columns; their leading principal components where there are more than `rank`."""
    rows = _centred(rows)
    n, k = rows.shape
    if k <= rank:
        return rows
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh(rows.T @ rows if k <= n else rows @ rows.T)
    leading = vectors[:, -rank:]
    return rows @ leading if k <= n else leading * values[-rank:].clamp_min(0).sqrt()


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=0)
