"""Similarity of two models given a cohort of independents: beyond what independents have in common with the source.

Independent models of one task are similar because of the task. A cohort of independents estimates this similarity: its
mean is subtracted, and directions in which independents vary get less weight. All values follow from inner products of
pairs of models, so no array of size n×n is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..ops.arguments import check_choice, outputs_list
from ..ops.reference import normalised_rows
from .transforms import centred_within, transform_rows
from .weights import Floats

#: "correlations": models as centred correlation matrices (any k); "outputs": as their outputs (the same classes).
SPACES = ("correlations", "outputs")
METRICS = ("cosine", "pearson", "spearman")
# Columns (models × outputs) of one product: 4096² float64 are 128 MiB.
_MAX_COLUMNS = 4096


def inner_products(
    models: Sequence[Tensor], space: str, transform: str, metric: str = "pearson", classes: Tensor | None = None
) -> Floats:
    """Cosines between all pairs of m models, each model as one vector.

    * ``correlations``: ``<HC^aH, HC^bH> / (|HC^aH| |HC^bH|)``, which is 1 − the distance "cka";
    * ``outputs``: ``<A, B> / (|A| |B|)`` of the transformed outputs, centred on the means of their columns.

    With ``classes``, H subtracts the mean of each true class instead of the mean of all probes. The rest is how a model
    distinguishes images of one class, which the task does not define.

    Args:
        models: m of (n, k_i) outputs on the same probes; for ``outputs`` all with the same k.
        space: ``"correlations"`` or ``"outputs"``.
        transform: see `transform_rows`.
        metric: of the correlations, ``"cosine"``, ``"pearson"`` or ``"spearman"``; not used for ``outputs``.
        classes: (n,) int64 ≥ 0, the probes' true classes. Default: one class.

    Returns:
        (m, m) float64, symmetric; 0 for a model with constant outputs.

    Raises:
        TypeError, ValueError: outputs of the wrong shape, or unknown names.

    Example::

        >>> import torch
        >>> o = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
        >>> inner_products([o, 3 * o], "correlations", "raw", "cosine").round(6).tolist()
        [[1.0, 1.0], [1.0, 1.0]]

    Source: Kornblith et al. 2019 (linear CKA); <AAᵀ, BBᵀ> = |AᵀB|².
    """
    check_choice("space", space, SPACES)
    check_choice("metric", metric, METRICS)
    outputs = outputs_list("models", list(models))
    if classes is not None and (classes.ndim != 1 or len(classes) != len(outputs[0]) or int(classes.min()) < 0):
        raise ValueError(f"classes must be {len(outputs[0])} numbers of at least 0, got {tuple(classes.shape)}")
    rows = [transform_rows(model, transform).double() for model in outputs]
    if space == "outputs":
        widths = {row.shape[1] for row in rows}
        if len(widths) > 1:
            raise ValueError(f"models must have the same number of outputs for space 'outputs', got {sorted(widths)}")
        flat = torch.stack([_centred(row, classes).flatten() for row in rows])
        return _cosines((flat @ flat.T).numpy())
    centred = [_centred(normalised_rows(row, metric), classes) for row in rows]
    return _cosines(_squared_products(centred))


def _centred(rows: Tensor, classes: Tensor | None) -> Tensor:
    return rows - rows.mean(dim=0) if classes is None else centred_within(rows, classes)


def _squared_products(rows: Sequence[Tensor]) -> Floats:
    """|AᵀB|² for all pairs, in blocks of models."""
    widths = [row.shape[1] for row in rows]
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    found = np.empty((len(rows), len(rows)))
    step = max(1, _MAX_COLUMNS // max(widths))
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
    norms = np.where(norms > 0, norms, np.inf)  # a model with constant outputs has the cosine 0 with all
    cosines = products / norms[:, None] / norms
    return (cosines + cosines.T) / 2


def similarity_given_cohort(
    products: Floats, source: int, suspects: Sequence[int], cohort: Sequence[int], shrinkage: float
) -> Floats:
    """Similarity of suspects to the source given a cohort of independents.

    With φ a model as a vector, μ the cohort's mean and R its residuals as columns,

        ``<a, b>_λ = <a, b> − <a, R> (RᵀR + λ s I)⁻¹ <R, b>``,  s = the mean of |R_c|²,
        ``similarity = <φ(source) − μ, φ(x) − μ>_λ / √(<φ(source) − μ, ·>_λ <φ(x) − μ, ·>_λ)``.

    λ → ∞ is the cosine of the residuals, λ → 0 the partial correlation given the cohort. The inverse of the cohort's
    shrunken covariance is the weight of a matched filter.

    Args:
        products: (m, m) inner products of all models, see `inner_products`.
        source: index of the source.
        suspects: indices of the suspects. A suspect in the cohort is left out of its own cohort.
        cohort: indices of the independents, at least 3.
        shrinkage: λ > 0; may be infinite.

    Returns:
        (number of suspects,) float64 in −1 … 1; 0 if a residual is zero.

    Raises:
        ValueError: a cohort of fewer than 3 (without the suspect itself), the source in it, or λ not positive.

    Example::

        >>> import numpy as np
        >>> rows = np.random.default_rng(0).standard_normal((6, 20))
        >>> similarity_given_cohort(rows @ rows.T, 0, [0, 1], [2, 3, 4, 5], shrinkage=0.1).round(6).tolist()[0]
        1.0
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


def _similarity(
    products: Floats, source: int, suspects: Sequence[int], cohort: Sequence[int], shrinkage: float
) -> Floats:
    if len(cohort) < 3:
        raise ValueError(f"cohort must hold at least 3 independents besides the suspect, got {len(cohort)}")
    index = np.array([source, *suspects, *cohort])
    split = 1 + len(suspects)
    k = products[np.ix_(index, index)]
    to_mean = k[:, split:].mean(axis=1)
    centred = k - to_mean[:, None] - to_mean + to_mean[split:].mean()
    head, tail = centred[:split], centred[split:, split:]
    mine, theirs = head[0], head[1:]
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
