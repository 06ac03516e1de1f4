"""Inner products of suspects and members of a group of siblings; suspects are never multiplied with each other.

Which probes count is decided by all members alike: the verdict is exact only if no member has a special role.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.reference import normalised_rows
from .siblings_similarity import Products
from .weights import Floats

Transform = Callable[[Tensor], Tensor]
#: Outputs of several models: (n, k) each, or (models, n, k) in one tensor, quicker for thousands of small ones.
Models = Sequence[Tensor] | Tensor
# Elements of one block of transformed outputs: 4M float64 are 32 MiB.
_MAX_ELEMENTS = 1 << 22
#: Probes by which correlations of embeddings are judged as disputed.
_ANCHORS = 128
# A model whose outputs vary by less than this share of their squares is constant.
_CONSTANT = 1e-10


def label_disagreement(labels: NDArray[np.int64], count: int) -> Floats:
    """Entropy of the members' labels at each probe.

    Args:
        labels: (J, n) predicted labels of the members.
        count: k, the number of classes.

    Returns:
        (n,) float64 in nats, 0 where all members agree.

    Example::

        >>> label_disagreement(np.array([[0, 1], [0, 2]]), 3).round(4).tolist()
        [-0.0, 0.6931]
    """
    probes = np.arange(labels.shape[1])
    votes = np.zeros((labels.shape[1], count))
    for row in labels:
        votes[probes, row] += 1.0 / len(labels)
    return np.asarray(-(votes * np.log(np.maximum(votes, 1e-9))).sum(axis=1))


def correlation_disagreement(members: Models, metric: str) -> Floats:
    """Variance over the members of each probe's correlations with up to 128 evenly spaced probes.

    Args:
        members: (n, k_j) outputs; k may differ.
        metric: ``"cosine"``, ``"pearson"`` or ``"spearman"``.

    Returns:
        (n,) float64, the mean variance of a probe's correlations.
    """
    n = len(members[0])
    anchors = evenly_spaced_rows(n, _ANCHORS)
    total = torch.zeros(n, len(anchors), dtype=torch.float64)
    squares = torch.zeros_like(total)
    for member in members:
        rows = normalised_rows(member.double(), metric)
        correlations = rows @ rows[anchors].T
        total += correlations
        squares += correlations.square()
    variance = squares / len(members) - (total / len(members)).square()
    return np.asarray(variance.mean(dim=1).numpy())


def most_disputed(disagreement: Floats, most: int) -> NDArray[np.int64]:
    """Indices of the `most` probes of greatest disagreement, in ascending order; ties go to the earlier probe."""
    # Rounded, so that the order of the members, by which sums differ in the last bits, cannot decide.
    order = np.argsort(-disagreement.round(9), kind="stable")[:most]
    return np.sort(order)


def evenly_spaced_rows(count: int, most: int) -> Tensor:
    """Indices of at most `most` rows, evenly spaced over `count`."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()


def output_products(members: Models, suspects: Models, transform: Transform) -> Products:
    """Cosines of the transformed outputs as vectors, centred on the means of their columns.

    Args:
        members: J of (n, k) outputs.
        suspects: S of (n, k) outputs.
        transform: from (models, k, rows) float64 to the same shape, along its dimension 1.

    Returns:
        (J, J) and (S, J) float64.
    """
    n, k = members[0].shape
    step = max(1, _MAX_ELEMENTS // (k * len(members)))
    count = len(members)
    products = np.zeros((count + len(suspects), count))
    squares = np.zeros(len(products))
    sums = np.zeros((len(products), k))
    for start in range(0, n, step):
        part = slice(start, start + step)
        head = _block(members, part, transform)
        block = max(1, _MAX_ELEMENTS // (k * min(step, n)))
        others = ((count + i, _block(suspects[i : i + block], part, transform)) for i in range(0, len(suspects), block))
        for first, rows in itertools.chain([(0, head)], others):
            at = slice(first, first + len(rows))
            flat = rows.reshape(len(rows), -1)
            products[at] += flat @ head.reshape(count, -1).T
            squares[at] += np.einsum("si,si->s", flat, flat)
            sums[at] += rows.sum(axis=2)
    products -= sums @ sums[:count].T / n
    centred = squares - np.einsum("sk,sk->s", sums, sums) / n
    return _normalised(products, np.where(centred > _CONSTANT * squares, centred, 0.0), count)


def correlation_products(members: Models, suspects: Models, metric: str) -> Products:
    """Cosines of the centred correlation matrices, ``<HC^aH, HC^bH> / (|HC^aH| |HC^bH|)``; k may differ.

    Args:
        members: J of (n, k_j) outputs.
        suspects: S of (n, k_s) outputs.
        metric: ``"cosine"``, ``"pearson"`` or ``"spearman"``.

    Returns:
        (J, J) and (S, J) float64.
    """
    heads = [_centred_rows(member, metric) for member in members]
    starts = np.concatenate([[0], np.cumsum([head.shape[1] for head in heads])[:-1]])
    joined = np.concatenate(heads, axis=1)
    products = np.empty((len(members) + len(suspects), len(members)))
    squares = np.empty(len(products))
    for i, rows in enumerate(heads):
        products[i] = np.add.reduceat(np.square(rows.T @ joined).sum(axis=0), starts)
        squares[i] = products[i, i]
    for i, suspect in enumerate(suspects, start=len(members)):
        rows = _centred_rows(suspect, metric)
        products[i] = np.add.reduceat(np.square(rows.T @ joined).sum(axis=0), starts)
        squares[i] = np.square(rows.T @ rows).sum()
    return _normalised(products, np.where(squares > _CONSTANT, squares, 0.0), len(members))


def _block(models: Models, rows: slice, transform: Transform) -> Floats:
    """(models, k, rows) float64, transformed: with k before rows softmax runs along contiguous values."""
    stacked = models[:, rows] if isinstance(models, Tensor) else torch.stack([model[rows] for model in models])
    return np.asarray(transform(stacked.transpose(1, 2).double().contiguous()).numpy())


def _centred_rows(outputs: Tensor, metric: str) -> Floats:
    rows = normalised_rows(outputs.double(), metric)
    return np.asarray((rows - rows.mean(dim=0)).numpy())


def _normalised(products: Floats, squares: Floats, count: int) -> Products:
    lengths = np.sqrt(squares)
    scales = np.where(lengths > 0, lengths, np.inf)
    cosines = products / scales[:, None] / scales[:count]
    gram = (cosines[:count] + cosines[:count].T) / 2
    np.fill_diagonal(gram, (lengths[:count] > 0).astype(np.float64))
    return Products(gram, cosines[count:])
