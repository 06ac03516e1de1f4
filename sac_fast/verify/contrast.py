"""Scores for null pools that compare a suspect with other models too, suspect and nulls in symmetric roles.

* The *contrast*: similarity to the source minus the mean similarity to its siblings. What an honest model shares with
  the source it shares with a sibling as well; what a derived model shares with the source alone is left over.
* *Given the cohort*, for owners without siblings: similarity to the source beyond what the other models have in common
  with both (`similarity_given_cohort`). Every null is cohort and null at once.

Both have several channels. Each is standardised over suspect and nulls together, and the largest counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops import correlation_distances
from ..scores.cohort import inner_products, similarity_given_cohort
from ..scores.siblings_products import (
    correlation_disagreement,
    correlation_products,
    label_disagreement,
    output_products,
)
from ..scores.transforms import transform_rows
from ..scores.weights import Floats

#: Fewest nulls for a score given the cohort: 3 besides the null itself.
MIN_COHORT = 4
_SHRINKAGE = 0.1
# Most disputed probes of the published distance and of log-softmax(4).
_FEW, _MANY = 1000, 2000
_SOFT = (("softmax(1)", False), ("log-softmax(4)", True))
_UNCLASSIFIED = ("embeddings", "similarities")


def contrast_distances(source: Tensor, siblings: Sequence[Tensor], models: Sequence[Tensor], form: str) -> Floats:
    """Distances by the contrast with siblings: minus the largest standardised channel.

    With sim_c(b, s) the similarity of model b to member s in channel c, K siblings s_j,

        ``contrast_c(b) = sim_c(b, source) − (1/K) Σ_j sim_c(b, s_j)``,
        ``distance(b) = −max_c (contrast_c(b) − mean_c) / deviation_c``,  over all `models`.

    Channels: −log of the published distance (pearson, l1) on the 1,000 probes that the members dispute most; artanh of
    the cosines of softmax(1) outputs on all probes, and of log-softmax(4) outputs on the 2,000 most disputed. For
    labels the cosine of one-hot rows, for embeddings and other numbers of outputs that of correlation matrices, in
    place of the last two.

    Args:
        source: (n, k) rows.
        siblings: K ≥ 1 of (n, k) rows.
        models: the suspect and the nulls, in any order: the distance of one does not depend on it.
        form: their output form, one of `sac_fast.models.output_form.OUTPUT_FORMS`.

    Returns:
        (number of models,) float64, smaller for models that are more like the source than like its siblings.

    Raises:
        ValueError: no sibling, or siblings with other numbers of outputs than the source.

    Example::

        >>> _ = torch.manual_seed(0)
        >>> source, sibling, *models = torch.randn(8, 50, 4) + 2 * torch.randn(50, 4)
        >>> models[0] = source + 0.5 * torch.randn(50, 4)
        >>> int(contrast_distances(source, [sibling], models, "logits").argmin())
        0
    """
    if not siblings or any(sibling.shape != source.shape for sibling in siblings):
        shapes = [tuple(sibling.shape) for sibling in siblings]
        raise ValueError(f"siblings must have outputs like the source's {tuple(source.shape)}, got {shapes}")
    return largest_channel(contrast_channels(source, siblings, models, form))


def contrast_channels(source: Tensor, siblings: Sequence[Tensor], models: Sequence[Tensor], form: str) -> list[Floats]:
    """The channels of `contrast_distances`, each (number of models,) and not yet standardised.

    No other model has a part in a model's values.
    """
    members, models = ([model.double() for model in some] for some in ((source, *siblings), models))
    order = _disputed(members, form)
    few = torch.from_numpy(np.sort(order[:_FEW]))
    near = [model[few] for model in models]
    published = [correlation_distances(member[few], near, metric="pearson").double().numpy() for member in members]
    channels = [-np.log(np.maximum(np.stack(published, axis=1), 1e-12))]
    channels += [np.arctanh(cosines.clip(-1 + 1e-7, 1 - 1e-7)) for cosines in _cosines(members, models, form, order)]
    return [values[:, 0] - values[:, 1:].mean(axis=1) for values in channels]


def given_cohort_distances(source: Tensor, models: Sequence[Tensor], form: str) -> Floats:
    """Distances by the similarity to the source given all other models: minus the largest standardised channel.

    Channels: the transforms of `contrast_distances`, each `similarity_given_cohort` with all other models as cohort
    (full conformal: no model is set aside).

    Args:
        source: (n, k) rows.
        models: the suspect and at least 4 nulls, in any order: the distance of one does not depend on it.
        form: their output form.

    Returns:
        (number of models,) float64, smaller for more similar models.

    Raises:
        ValueError: fewer than 5 models.

    Example::

        >>> _ = torch.manual_seed(0)
        >>> source, *models = torch.randn(8, 50, 4) + 2 * torch.randn(50, 4)
        >>> models[0] = source + 0.5 * torch.randn(50, 4)
        >>> int(given_cohort_distances(source, models, "logits").argmin())
        0

    Source: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005 (full conformal prediction).
    """
    if len(models) <= MIN_COHORT:
        raise ValueError(f"models must be a suspect and at least {MIN_COHORT} nulls, got {len(models)} models")
    everyone = [model.double() for model in (source, *models)]
    order = _disputed(everyone, form)
    rows = list(range(1, len(everyone)))
    if not _same_classes(everyone, form):
        few = torch.from_numpy(np.sort(order[:_MANY]))
        metric = "cosine" if form == "embeddings" else "pearson"
        products = [inner_products([model[few] for model in everyone], "correlations", "raw", metric)]
    else:
        transforms = (("raw", False),) if form == "labels" else _SOFT
        products = []
        for transform, is_disputed in transforms:
            chosen = torch.from_numpy(np.sort(order[:_MANY] if is_disputed else order))
            products.append(inner_products([model[chosen] for model in everyone], "outputs", transform))
    return largest_channel([similarity_given_cohort(found, 0, rows, rows, _SHRINKAGE) for found in products])


def largest_channel(channels: Sequence[Floats]) -> Floats:
    """Minus the largest channel of each model, standardised over all models; a channel without spread says nothing."""
    standardised = []
    for values in channels:
        deviation = values.std()
        is_constant = deviation <= 1e-9 * np.abs(values).max()
        standardised.append(np.zeros_like(values) if is_constant else (values - values.mean()) / deviation)
    # Rounded, so that models which are equally near by definition tie: rounding errors would order them.
    return np.asarray(-np.max(standardised, axis=0).round(9))


def _same_classes(models: Sequence[Tensor], form: str) -> bool:
    return form not in _UNCLASSIFIED and len({model.shape[1] for model in models}) == 1


def _cosines(members: Sequence[Tensor], models: Sequence[Tensor], form: str, order: NDArray[np.int64]) -> list[Floats]:
    """(models, members) cosines, by channel."""
    many = torch.from_numpy(np.sort(order[:_MANY]))
    if not _same_classes([*members, *models], form):
        metric = "cosine" if form == "embeddings" else "pearson"
        few, all_few = ([model[many] for model in given] for given in (members, models))
        return [correlation_products(few, all_few, metric).crossed]
    if form == "labels":
        return [output_products(members, models, lambda rows: rows).crossed]
    found = []
    for transform, is_disputed in _SOFT:
        chosen = many if is_disputed else slice(None)
        few, all_few = ([model[chosen] for model in given] for given in (members, models))
        found.append(output_products(few, all_few, partial(transform_rows, name=transform)).crossed)
    return found


def _disputed(models: Sequence[Tensor], form: str) -> NDArray[np.int64]:
    """All probes, those first about which the models disagree most; the models' order does not matter."""
    if form in _UNCLASSIFIED:
        disagreement = correlation_disagreement(models, "cosine" if form == "embeddings" else "pearson")
    else:
        k = models[0].shape[1]
        voters = [model for model in models if model.shape[1] == k]
        labels = np.stack([model.argmax(dim=1).numpy() for model in voters])
        disagreement = label_disagreement(labels, k)
    return np.argsort(-disagreement.round(9), kind="stable")
