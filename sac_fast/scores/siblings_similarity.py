"""Similarity of suspects to each member of a group of siblings, given the other members, in closed form.

A group is a source and its siblings: J models as vectors s_j, all treated alike. `similarity_given_cohort` with the
other members as cohort would solve J² systems of size J; here one inverse serves all pairs, since leaving out one or
two members changes a covariance by a matrix of rank 1 or 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .weights import Floats

#: λ of the shrinkage of the members' covariance.
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class Similarities:
    """One channel of evidence: similarities to every member.

    Attributes:
        suspects: (S, J) of suspect b to member j; NaN where there is none.
        among: (J, J) of member i to member j, symmetric or not; NaN on the diagonal. None: there are none by which
            to standardise.
    """

    suspects: Floats
    among: Floats | None


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of models as vectors of length 1.

    Attributes:
        members: (J, J) of the members with each other.
        crossed: (S, J) of suspects with members; rows of zeros for suspects with constant outputs.
    """

    members: Floats
    crossed: Floats


def similarities_given_members(products: Products, shrinkage: float = SHRINKAGE) -> Similarities:
    """Similarities to each member given all other members.

    With r_j = s_j − mean of all s, τ = λ · mean of |r_j|², C the members without j (and without i), μ_C their mean and
    ``M_C = τ I + Σ_{c in C} (s_c − μ_C)(s_c − μ_C)ᵀ``,

        ``<u, v>_C = uᵀ M_C⁻¹ v``,  ``similarity(x, j) = <s_j − μ_C, x − μ_C>_C / (|s_j − μ_C|_C |x − μ_C|_C)``.

    It is `similarity_given_cohort`, but with one τ for all C: how alike two models are beyond what the other members
    have in common with both.

    Args:
        products: of at least 4 members.
        shrinkage: λ > 0.

    Returns:
        (S, J) of the suspects, C being all members but j, and (J, J) of the members, C being all but i and j. 0 where
        a vector is zero.

    Example::

        >>> rows = np.random.default_rng(0).standard_normal((6, 20))
        >>> rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        >>> found = similarities_given_members(Products(rows[:5] @ rows[:5].T, rows[:1] @ rows[:5].T))
        >>> found.suspects.argmax(), float(found.suspects.max().round(6))
        (np.int64(0), 1.0)
    """
    gram = products.members
    count = len(gram)
    to_mean = gram.mean(axis=1)
    centred = gram - to_mean[:, None] - to_mean + to_mean.mean()
    tau = shrinkage * max(float(np.trace(centred)) / count, np.finfo(np.float64).tiny)
    inverse = np.linalg.inv(centred + tau * np.eye(count))
    inverse = (inverse + inverse.T) / 2
    inner = centred @ inverse  # <r_i, r_j> under τ I + Σ r rᵀ over all members
    inner = (inner + inner.T) / 2

    # r_j and x − mean of all; the suspects' own vectors have length 1
    x = products.crossed
    zero = ~x.any(axis=1)
    with_residuals = x - x.mean(axis=1, keepdims=True) - (to_mean - to_mean.mean())
    squares = 1.0 - 2.0 * x.mean(axis=1) + to_mean.mean()
    weighed = with_residuals @ inverse
    lengths = (squares - np.einsum("sj,sj->s", weighed, with_residuals)) / tau

    own = np.diagonal(inner)
    factor = count / (count - 1)
    crossed = weighed + own / (count - 1)  # <r_j, x − μ_C>
    theirs = lengths[:, None] + 2 * weighed / (count - 1) + own / (count - 1) ** 2
    left_out = 1.0 - factor * own  # Sherman and Morrison's denominator, > 0
    theirs = theirs + crossed**2 * factor / left_out
    found = _ratio(crossed, np.sqrt(np.maximum(own * left_out * theirs, 0.0)))
    found[zero] = 0.0
    return Similarities(found.clip(-1.0, 1.0), _among(inner))


def _among(inner: Floats) -> Floats:
    """Similarities of all pairs of members given the rest, by Woodbury's formula for matrices of rank 2."""
    count = len(inner)
    i, j = np.triu_indices(count, 1)
    block = np.empty((len(i), 2, 2))
    block[:, 0, 0], block[:, 1, 1] = inner[i, i], inner[j, j]
    block[:, 0, 1] = block[:, 1, 0] = inner[i, j]
    weight = np.eye(2) + 1.0 / (count - 2)
    # W B (I − W B)⁻¹ W, the 2×2 inner products of both residuals
    weighed = weight @ block
    found = np.linalg.solve(np.eye(2) - weighed, weighed @ weight)
    scale = np.asarray(np.sqrt(np.maximum(found[:, 0, 0] * found[:, 1, 1], 0.0)))
    among = np.full((count, count), np.nan)
    among[i, j] = among[j, i] = _ratio(np.asarray(found[:, 0, 1], dtype=np.float64), scale).clip(-1.0, 1.0)
    return among


def _ratio(numerator: Floats, scale: Floats) -> Floats:
    positive = scale > 1e-12
    return np.asarray(np.where(positive, numerator / np.where(positive, scale, 1.0), 0.0))
