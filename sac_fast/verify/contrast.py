"""Scores for null pools that compare a suspect with other models too, suspect and nulls in symmetric roles.

* The *contrast*: similarity to the source minus the mean similarity to its siblings. What an honest model shares with
  the source it shares with a sibling as well; what a derived model shares with the source alone is left over.
* *Given the cohort*, for owners without siblings: similarity to the source beyond what the other models have in common
  with both (`similarity_given_cohort`). Every null is cohort and null at once.

Both have several channels. Each is standardised over suspect and nulls together, and the largest counts. Outputs can be
compared among models with the source's classes alone, correlations among all: a model of other classes is compared by
these, and takes no channel from the rest.
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
from ..scores.regression import SourceRegression
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
#: Place of the regression among the channels of the contrast.
REGRESSION = 1
#: Forms without a column for each class.
UNCLASSIFIED = ("embeddings", "similarities")


def contrast_distances(source: Tensor, siblings: Sequence[Tensor], models: Sequence[Tensor], form: str) -> Floats:
    """Distances by the contrast with siblings: minus the largest standardised channel.

    With sim_c(b, s) the similarity of model b to member s in channel c, K siblings s_j,

        ``contrast_c(b) = sim_c(b, source) − (1/K) Σ_j sim_c(b, s_j)``,
        ``distance(b) = −max_c (contrast_c(b) − mean_c) / deviation_c``,  over all `models`.

    Channels: −log of the published distance (pearson, l1) on the 1,000 probes that the members dispute most; −log of
    `unexplained_share` of log-softmax(4) outputs on the 2,000 most disputed; artanh of the cosines of softmax(1)
    outputs on all probes, and of log-softmax(4) outputs on the 2,000. For labels the cosine of one-hot rows, for
    embeddings that of correlation matrices, in place of the last three. Where some models have another number of
    outputs, all have the channel of correlation matrices, and the rest the cosines too.

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

    No other model has a part in a model's values; NaN where a model does not have the channel. The order is that of the
    docstring there: `REGRESSION` is the place of the regression, where the form allows it.
    """
    members, models = ([model.double() for model in some] for some in ((source, *siblings), models))
    order = _disputed(members, form)
    few = torch.from_numpy(np.sort(order[:_FEW]))
    near = [model[few] for model in models]
    published = [correlation_distances(member[few], near, metric="pearson").double().numpy() for member in members]
    channels = [_minus_log(published)]
    if form != "labels" and form not in UNCLASSIFIED:
        channels.append(_minus_log(_unexplained(members, models, torch.from_numpy(np.sort(order[:_MANY])))))
    for rows, cosines in _cosines(members, models, form, order):
        values = np.full((len(models), len(members)), np.nan)
        values[rows] = np.arctanh(cosines.clip(-1 + 1e-7, 1 - 1e-7))
        channels.append(values)
    return [values[:, 0] - values[:, 1:].mean(axis=1) for values in channels]


def given_cohort_distances(source: Tensor, models: Sequence[Tensor], form: str) -> Floats:
    """Distances by the similarity to the source given all other models: minus the largest standardised channel.

    Channels: the cosines of `contrast_distances`, each `similarity_given_cohort` with all other models that have it
    as cohort (full conformal: no model is set aside). A channel that fewer than 5 models have is left out.

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
    return distances_given_others(cohort_products(source, models, form), range(len(models)))


def cohort_products(source: Tensor, models: Sequence[Tensor], form: str) -> list[tuple[list[int], Floats]]:
    """By channel of `given_cohort_distances`: places of the models that have it, and products of source and these."""
    same, others = _by_classes(source, models, form)
    order = _disputed([source, *(models[i] for i in same)], form)
    channels = []
    for transform, is_disputed in _transforms(form) if len(same) > MIN_COHORT else ():
        chosen = torch.from_numpy(np.sort(order[:_MANY] if is_disputed else order))
        some = [source[chosen], *(models[i][chosen] for i in same)]
        # in blocks of probes, so that a thousand classes of a hundred nulls are not held at once
        channels.append((same, output_products(some, [], partial(transform_rows, name=transform)).members))
    if others or not channels:
        few = torch.from_numpy(np.sort(order[:_MANY]))
        everyone = [source[few], *(model[few] for model in models)]
        products = inner_products(everyone, "correlations", "raw", _metric(form))
        channels.append((list(range(len(models))), products))
    return channels


def distances_given_others(channels: Sequence[tuple[list[int], Floats]], models: Sequence[int]) -> Floats:
    """`given_cohort_distances` of some of the models of `cohort_products`, by their places, given the rest of these."""
    found = []
    for places, products in channels:
        at = {place: 1 + i for i, place in enumerate(places)}
        own = [i for i, place in enumerate(models) if place in at]
        if len(own) > MIN_COHORT:
            rows = [0, *(at[models[i]] for i in own)]
            found.append(_given_cohort(products[np.ix_(rows, rows)], own, len(models)))
    return largest_channel(found)


def _given_cohort(products: Floats, models: Sequence[int], count: int) -> Floats:
    """Similarities of some of all models to the source, given the rest of these; products are of source and these."""
    rows = list(range(1, 1 + len(models)))
    values = np.full(count, np.nan)
    values[list(models)] = similarity_given_cohort(products, 0, rows, rows, _SHRINKAGE)
    return values


def largest_channel(channels: Sequence[Floats]) -> Floats:
    """Minus the largest standardised channel of each model; every model has at least one."""
    # Rounded, so that models which are equally near by definition tie: rounding errors would order them.
    return np.asarray(0.0 - np.nanmax([standardised_channel(values) for values in channels], axis=0).round(9))


def standardised_channel(values: Floats) -> Floats:
    """A channel minus its mean, divided by its deviation, over the models that have it; 0 where nothing varies."""
    known = values[~np.isnan(values)]
    deviation = known.std() if len(known) else 0.0
    if deviation <= 1e-9 * np.abs(known).max(initial=0.0):
        return np.where(np.isnan(values), np.nan, 0.0)
    return np.asarray((values - known.mean()) / deviation)


def _transforms(form: str) -> tuple[tuple[str, bool], ...]:
    """Channels of outputs, and whether each takes the most disputed probes alone."""
    return (("raw", False),) if form == "labels" else _SOFT


def _by_classes(source: Tensor, models: Sequence[Tensor], form: str) -> tuple[list[int], list[int]]:
    """Places of the models whose outputs mean what the source's mean, and of the others."""
    same = [i for i, model in enumerate(models) if form not in UNCLASSIFIED and model.shape[1] == source.shape[1]]
    return same, [i for i in range(len(models)) if i not in set(same)]


def _cosines(
    members: Sequence[Tensor], models: Sequence[Tensor], form: str, order: NDArray[np.int64]
) -> list[tuple[list[int], Floats]]:
    """By channel: places of the models that have it, and their cosines with the members."""
    same, others = _by_classes(members[0], models, form)
    found = []
    for transform, is_disputed in _transforms(form) if same else ():
        chosen = torch.from_numpy(np.sort(order[:_MANY] if is_disputed else order))
        few, some = [member[chosen] for member in members], [models[i][chosen] for i in same]
        found.append((same, output_products(few, some, partial(transform_rows, name=transform)).crossed))
    if others:
        chosen = torch.from_numpy(np.sort(order[:_MANY]))
        few, some = ([model[chosen] for model in given] for given in (members, models))
        found.append((list(range(len(models))), correlation_products(few, some, _metric(form)).crossed))
    return found


def _unexplained(members: Sequence[Tensor], models: Sequence[Tensor], probes: Tensor) -> list[Floats]:
    """By member: `unexplained_share` of each model, of any number of outputs."""
    rows = [transform_rows(model[probes], _SOFT[-1][0]) for model in models]
    own = (SourceRegression(transform_rows(member[probes], _SOFT[-1][0])) for member in members)
    return [np.array([regression.predict(model).share for model in rows]) for regression in own]


def _minus_log(distances: Sequence[Floats]) -> Floats:
    """(number of models, number of members), of distances by member."""
    return np.asarray(-np.log(np.maximum(np.stack(distances, axis=1), 1e-12)))


def _metric(form: str) -> str:
    """Of correlations: embeddings have a direction of their own."""
    return "cosine" if form == "embeddings" else "pearson"


def _disputed(models: Sequence[Tensor], form: str) -> NDArray[np.int64]:
    """All probes, those first about which the models disagree most; the models' order does not matter."""
    if form in UNCLASSIFIED:
        disagreement = correlation_disagreement(models, _metric(form))
    else:
        labels = np.stack([model.argmax(dim=1).numpy() for model in models])
        disagreement = label_disagreement(labels, models[0].shape[1])
    return np.argsort(-disagreement.round(9), kind="stable")
