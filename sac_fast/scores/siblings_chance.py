"""Does a model agree with others better than chance? Noise and constants do not; they are no evidence of anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..ops.reference import normalised_rows
from .siblings_products import evenly_spaced_rows
from .weights import Floats

_MAX_PROBES = 2000
# Correlation matrices are compared on fewer probes, since their permutations cost n² each.
_MAX_CORRELATED = 300
_PERMUTATIONS = 40


def agreement_with_members(members: Sequence[Tensor], suspects: Sequence[Tensor], *, soft: bool) -> Floats:
    """Standardised agreement of suspects with the members' mean output, against permuted probes.

    With X and M the column-centred outputs of a suspect and of the members' mean,

        ``z = <X, M> / √(tr(XᵀX MᵀM) / (n − 1))``:

    mean 0 and deviation 1 over all n! assignments of the suspect's rows to probes. Symmetric in the members.

    Args:
        members: J of (n, k) outputs with the same columns.
        suspects: S of (n, k) outputs.
        soft: the outputs are logits or log-probabilities, compared as probabilities.

    Returns:
        (S,) float64; 0 for constant outputs. 2,000 evenly spaced probes are taken at most.

    Source: the permutation moments of an inner product (Heo and Gabriel 1998, for RV coefficients).
    """
    at = evenly_spaced_rows(len(members[0]), _MAX_PROBES)
    mean = sum((_rows(model, at, soft) for model in members), torch.zeros(())) / len(members)
    mean = mean - mean.mean(dim=0)
    wide = mean.shape[1] > len(at)
    inner = mean @ mean.T if wide else mean.T @ mean
    found = np.zeros(len(suspects))
    for i, model in enumerate(suspects):
        rows = _rows(model, at, soft)
        rows = rows - rows.mean(dim=0)
        squares = float(((rows @ rows.T if wide else rows.T @ rows) * inner).sum()) / max(len(at) - 1, 1)
        if squares > 0:
            found[i] = float((rows * mean).sum()) / np.sqrt(squares)
    return found


def correlation_agreement(members: Sequence[Tensor], suspects: Sequence[Tensor], metric: str) -> Floats:
    """The same for correlation matrices (Mantel's test), with 40 permutations; any number of outputs.

    Args:
        members: J of (n, k_j) outputs.
        suspects: S of (n, k_s) outputs.
        metric: ``"cosine"`` or ``"pearson"``.

    Returns:
        (S,) float64: (agreement − its mean over permutations) / deviation; 0 for constant outputs.

    Source: Mantel, "The detection of disease clustering and a generalized regression approach", 1967.
    """
    at = evenly_spaced_rows(len(members[0]), _MAX_CORRELATED)
    mean = sum((_centred_correlations(model[at], metric) for model in members), torch.zeros(())) / len(members)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(at), generator=generator) for _ in range(_PERMUTATIONS)]
    permuted = torch.stack([mean[order][:, order] for order in orders]).flatten(1)
    found = np.zeros(len(suspects))
    for i, model in enumerate(suspects):
        own = _centred_correlations(model[at], metric)
        by_chance = permuted @ own.flatten()
        deviation = float(by_chance.std())
        if deviation > 1e-12 * float(own.norm() * mean.norm()):
            found[i] = (float((own * mean).sum()) - float(by_chance.mean())) / deviation
    return found


def _rows(model: Tensor, at: Tensor, soft: bool) -> Tensor:
    rows = model[at].double()
    return torch.softmax(rows, dim=1) if soft else rows


def _centred_correlations(outputs: Tensor, metric: str) -> Tensor:
    rows = normalised_rows(outputs.double(), metric)
    rows = rows - rows.mean(dim=0)
    return rows @ rows.T
