"""What a suspect shares with the source beyond what independents share with it: similarity given a cohort.

Independent models of one task agree because the task is the same. A cohort of independents of the owner's own shows
what that agreement looks like: its mean is taken away, and the directions in which independents differ among
themselves count less. All of it follows from inner products of pairs of models, so nothing of size n×n is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.arguments import check_choice, outputs_list
from ..ops.reference import normalised_rows
from .transforms import centred_within, transform_rows

Floats = NDArray[np.float64]
#: "correlations": models as their centred correlation matrices (any k); "answers": as their outputs (the same classes).
SPACES = ("correlations", "answers")
# As many columns (models × outputs) as one product may have at once: 4096² float64 are 128 MiB.
_COLUMNS = 4096


def inner_products(
    models: Sequence[Tensor],
    space: str,
    transform: str,
    metric: str = "pearson",
    classes: Tensor | None = None,
) -> Floats:
    """Cosines between all pairs of m models, each model taken as one vector.

    * ``correlations``: ``<HC^aH, HC^bH> / (|HC^aH| |HC^bH|)``, which is 1 − the distance "cka";
    * ``answers``: ``<A, B> / (|A| |B|)`` of the transformed outputs themselves, centred on their columns' means.

    With ``classes``, H takes away the mean of each true class instead of the mean of all probes: what is left is how a
    model treats images of one class differently, which the task does not tell it.

    Args:
        models: m of (n, k_i) outputs on the same probes; for ``answers`` all of the same k.
        space: ``"correlations"`` or ``"answers"``.
        transform: see `transform_rows`.
        metric: of the correlations, ``"cosine"``, ``"pearson"`` or ``"spearman"``; of no effect on answers.
        classes: (n,) int64 ≥ 0, the probes' true classes; None: all are one.

    Returns:
        (m, m) float64, symmetric; 0 beside a model without variation.

    Raises:
        TypeError, ValueError: outputs that do not fit, unknown names.

    Source: Kornblith et al. 2019 (linear CKA); <AAᵀ, BBᵀ> = |AᵀB|².
    """
    check_choice("space", space, SPACES)
    check_choice("metric", metric, ("cosine", "pearson", "spearman"))
    outputs = outputs_list("models", list(models))
    if classes is not None and (classes.ndim != 1 or len(classes) != len(outputs[0]) or int(classes.min()) < 0):
        raise ValueError(f"classes must be {len(outputs[0])} numbers of at least 0, got {tuple(classes.shape)}")
    rows = [transform_rows(model, transform).double() for model in outputs]
    if space == "answers":
        widths = {row.shape[1] for row in rows}
        if len(widths) > 1:
            raise ValueError(f"models must all have the same number of outputs for answers, got {sorted(widths)}")
        flat = torch.stack([_centred(row, classes).flatten() for row in rows])
        return _cosines((flat @ flat.T).numpy())
    centred = [_centred(normalised_rows(row, metric), classes) for row in rows]
    return _cosines(_squared_products(centred))


def _centred(rows: Tensor, classes: Tensor | None) -> Tensor:
    return rows - rows.mean(dim=0) if classes is None else centred_within(rows, classes)


def _squared_products(rows: Sequence[Tensor]) -> Floats:
    """|AᵀB|² for all pairs, some models at a time."""
    widths = [row.shape[1] for row in rows]
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    found = np.empty((len(rows), len(rows)))
    step = max(1, _COLUMNS // max(widths))
    for i in range(0, len(rows), step):
        left = torch.cat(list(rows[i : i + step]), dim=1)
        left_starts = starts[i : i + step] - starts[i]
        for j in range(0, i + 1, step):
            right = torch.cat(list(rows[j : j + step]), dim=1)
            squares = (left.T @ right).square_().numpy()
            block = np.add.reduceat(np.add.reduceat(squares, left_starts, 0), starts[j : j + step] - starts[j], 1)
            found[i : i + block.shape[0], j : j + block.shape[1]] = block
            found[j : j + block.shape[1], i : i + block.shape[0]] = block.T
    return found


def _cosines(products: Floats) -> Floats:
    norms = np.sqrt(np.diagonal(products))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = products / norms[:, None] / norms
    cosines[(norms == 0), :] = 0.0
    cosines[:, (norms == 0)] = 0.0
    return (cosines + cosines.T) / 2


def similarity_given_cohort(products: Floats, source: int, suspects: Sequence[int], cohort: Sequence[int],
                            shrinkage: float) -> Floats:  # fmt: skip
    """Similarity of suspects to the source once what a cohort of independents shares is taken away.

    With φ a model as a vector, μ the cohort's mean and R its residuals as columns,

        ``<a, b>_λ = <a, b> − <a, R> (RᵀR + λ s I)⁻¹ <R, b>``,  s = the mean of |R_c|²,
        ``similarity = <φ(source) − μ, φ(x) − μ>_λ / √(<φ(source) − μ, ·>_λ <φ(x) − μ, ·>_λ)``.

    λ → ∞ is the plain cosine of the residuals, λ → 0 the partial correlation given the cohort: the inverse of the
    cohort's shrunken covariance is a matched filter's weight.

    Args:
        products: (m, m) inner products of all models, see `inner_products`.
        source: index of the source.
        suspects: indices of the suspects. A suspect that is in the cohort is judged by the cohort without it.
        cohort: indices of the independents, at least 3.
        shrinkage: λ > 0; infinity is allowed.

    Returns:
        (number of suspects,) float64 in −1 … 1; 0 where a residual vanishes.

    Raises:
        ValueError: a cohort of fewer than 3 (without the suspect itself), the source in it, or λ not positive.
    """
    if not shrinkage > 0:
        raise ValueError(f"shrinkage must be positive, got {shrinkage!r}")
    if source in cohort:
        raise ValueError("cohort must not hold the source")
    outside = [x for x in suspects if x not in cohort]
    found: dict[int, float] = {}
    if outside:
        found.update(zip(outside, _similarity(products, source, outside, cohort, shrinkage), strict=True))
    for x in set(suspects) - set(outside):
        rest = [c for c in cohort if c != x]
        found[x] = float(_similarity(products, source, [x], rest, shrinkage)[0])
    return np.array([found[x] for x in suspects])


def _similarity(products: Floats, source: int, suspects: Sequence[int], cohort: Sequence[int],
                shrinkage: float) -> Floats:  # fmt: skip
    if len(cohort) < 3:
        raise ValueError(f"cohort must hold at least 3 independents besides the suspect, got {len(cohort)}")
    index = np.array([source, *suspects, *cohort])
    k = products[np.ix_(index, index)]
    to_mean = k[:, 1 + len(suspects) :].mean(axis=1)
    centred = k - to_mean[:, None] - to_mean + to_mean[1 + len(suspects) :].mean()
    head, tail = centred[: 1 + len(suspects)], centred[1 + len(suspects) :, 1 + len(suspects) :]
    mine, theirs = head[0], head[1:]
    split = 1 + len(suspects)
    numerator = theirs[:, 0].copy()
    squares = np.array([theirs[i, 1 + i] for i in range(len(suspects))])
    own = mine[0]
    if np.isfinite(shrinkage):
        scale = shrinkage * np.trace(tail) / len(cohort)
        if scale > 0:
            solved = np.linalg.solve(tail + scale * np.eye(len(cohort)), head[:, split:].T)
            numerator -= theirs[:, split:] @ solved[:, 0]
            squares = squares - np.einsum("ij,ji->i", theirs[:, split:], solved[:, 1:])
            own -= mine[split:] @ solved[:, 0]
    scales = np.sqrt(np.clip(squares, 0.0, None) * max(own, 0.0))
    return np.where(scales > 1e-12, numerator / np.where(scales > 1e-12, scales, 1.0), 0.0).clip(-1.0, 1.0)
