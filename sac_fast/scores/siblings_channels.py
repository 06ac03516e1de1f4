"""Channels of evidence for the sibling test: by output form, the similarities of suspects to source and siblings.

Every channel treats all members alike. That alone makes the rank test exact; which channel finds what is a question of
power, answered in `docs/verdicts.md`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops import correlation_distances
from ..ops.arguments import check_choice
from .siblings_products import (
    Models,
    correlation_disagreement,
    correlation_products,
    label_disagreement,
    most_disputed,
    output_products,
)
from .siblings_regression import explained_by_members
from .siblings_similarity import Similarities, similarities_given_members

SIBLING_SCORES = ("default", "weighted-agreement", "label-cohort", "correlations", "regression", "sac-jc")
#: Probes of greatest disagreement that the channels of soft outputs take.
MOST_DISPUTED = 2000
_TEMPERATURE = 4.0
# Added to the count of each label, so that one that no other member gives has a finite weight.
_PSEUDO_COUNT = 0.5


def sibling_similarities(
    members: Models,
    suspects: Models,
    form: str,
    score: str,
    *,
    disputed: int = MOST_DISPUTED,
    same_classes: bool = True,
) -> dict[str, Similarities]:
    """Similarities of suspects to members, and of members to each other, by channel.

    * ``default``: of soft outputs ``softmax(1)`` on all probes and ``log-softmax(4)`` on the most disputed; of labels
      ``label-cohort`` and ``weighted-agreement``; of similarities their values; of embeddings ``correlations``; of
      other classes ``regression``.
    * ``weighted-agreement``, ``label-cohort``: of labels alone, see `label_agreement`.
    * ``correlations``: of centred correlation matrices on the most disputed probes; any number of outputs.
    * ``regression``: what a member alone explains of a suspect's outputs (`explained_by_members`); any classes.
    * ``sac-jc``: the published distance (l1, pearson), negative.

    Args:
        members: J of (n, k) outputs in one form, `form`; the source is one of them.
        suspects: S of (n, k') outputs in the same form, all with the same k'.
        form: one of `sac_fast.models.output_form.OUTPUT_FORMS`; soft outputs come as logits or log-probabilities.
        score: one of `SIBLING_SCORES`.
        disputed: how many of the most disputed probes are taken.
        same_classes: the suspects' outputs mean what the members' mean. Where their numbers differ they do not.

    Returns:
        Similarities by the channel's name.

    Raises:
        ValueError: an unknown score, or one that needs labels for outputs that have none, or the same classes.
    """
    check_choice("score", score, SIBLING_SCORES)
    same = same_classes and len(_widths(members) | _widths(suspects)) == 1
    if score == "sac-jc":
        return {score: _published(members, suspects)}
    has_classes = form not in ("similarities", "embeddings")
    if score == "regression" or (score == "default" and has_classes and not same):
        return {"regression": _regression(members, suspects, form)}
    if score == "correlations" or (score == "default" and (form == "embeddings" or not same)):
        return {"correlations": _correlations(members, suspects, form, disputed)}
    if not same:
        raise ValueError(f"score {score!r} needs suspects with the members' number of outputs")
    if form == "similarities" and score == "default":
        return {form: similarities_given_members(output_products(members, suspects, _raw))}
    if form in ("similarities", "embeddings"):
        raise ValueError(f"score {score!r} needs outputs with classes, got {form}")
    if score == "default" and form != "labels":
        return _soft(members, suspects, disputed)
    channels: dict[str, Callable[[Models, Models], Similarities]] = {
        "label-cohort": _label_cohort,
        "weighted-agreement": label_agreement,
    }
    return {name: make(members, suspects) for name, make in channels.items() if score in ("default", name)}


def _soft(members: Models, suspects: Models, most: int) -> dict[str, Similarities]:
    disputed = torch.from_numpy(_disputed(members, most))
    few_members, few_suspects = _take(members, disputed), _take(suspects, disputed)
    return {
        "softmax(1)": similarities_given_members(output_products(members, suspects, _softmax)),
        "log-softmax(4)": similarities_given_members(output_products(few_members, few_suspects, _log_softmax)),
    }


def _correlations(members: Models, suspects: Models, form: str, most: int) -> Similarities:
    metric = "cosine" if form in ("embeddings", "labels") else "pearson"
    if form in ("embeddings", "similarities"):
        chosen = most_disputed(correlation_disagreement(members, metric), most)
    else:
        chosen = _disputed(members, most)
    at = torch.from_numpy(chosen)
    return similarities_given_members(correlation_products(_take(members, at), _take(suspects, at), metric))


def _regression(members: Models, suspects: Models, form: str) -> Similarities:
    if form in ("similarities", "embeddings") or len(_widths(members)) > 1:
        raise ValueError(f"score 'regression' needs members that answer with the same classes, got {form}")
    return explained_by_members(list(members), list(suspects), _raw if form == "labels" else _log_softmax)


def _label_cohort(members: Models, suspects: Models) -> Similarities:
    return similarities_given_members(output_products(_one_hot(members), _one_hot(suspects), _raw))


def label_agreement(members: Models, suspects: Models) -> Similarities:
    """Weighted agreement of labels: agreement counts more, the fewer of the other members give the label.

    With l_ji the label of member j at probe i and c_i(y, j) the number of members other than j that give label y,

        ``similarity(b, j) = (1/n) Σ_i [l_bi = l_ji] · −log((c_i(l_ji, j) + ½) / (J − 1 + 1))``;

    between members i and j neither of them counts.

    Args:
        members: J of (n, k) outputs, of which the largest is the label.
        suspects: S of (n, k) outputs.

    Returns:
        (S, J) and (J, J), float64.
    """
    labels, theirs = _labels(members), _labels(suspects)
    count, n = labels.shape
    votes = np.zeros((n, members[0].shape[1]))
    for row in labels:
        votes[np.arange(n), row] += 1
    own = np.take_along_axis(votes, labels.T, axis=1).T  # (J, n): members that give the label of j, j included
    one_out = -np.log((own - 1 + _PSEUDO_COUNT) / count)
    two_out = -np.log((np.maximum(own - 2, 0) + _PSEUDO_COUNT) / (count - 1))
    crossed = np.stack([(theirs == labels[j]) @ one_out[j] for j in range(count)], axis=1) / n
    among = np.stack([(labels == labels[j]) @ two_out[j] for j in range(count)], axis=1) / n
    np.fill_diagonal(among, np.nan)
    return Similarities(crossed, among)


def _published(members: Models, suspects: Models) -> Similarities:
    everyone = [*members, *suspects]
    columns = [-correlation_distances(member, everyone, metric="pearson").double().numpy() for member in members]
    distances = np.stack(columns, axis=1)
    among = distances[: len(members)].copy()
    np.fill_diagonal(among, np.nan)
    return Similarities(distances[len(members) :], among)


def _disputed(members: Models, most: int) -> NDArray[np.int64]:
    labels = _labels(members)
    return most_disputed(label_disagreement(labels, members[0].shape[1]), most)


def _widths(models: Models) -> set[int]:
    return {models.shape[2]} if isinstance(models, Tensor) else {model.shape[1] for model in models}


def _take(models: Models, rows: Tensor) -> Models:
    return models[:, rows] if isinstance(models, Tensor) else [model[rows] for model in models]


def _labels(models: Models) -> NDArray[np.int64]:
    """(models, n) int64."""
    if isinstance(models, Tensor):
        return np.asarray(models.argmax(dim=2).numpy())
    found = [model.argmax(dim=1).numpy() for model in models]
    return np.stack(found) if found else np.zeros((0, 0), np.int64)


def _one_hot(models: Models) -> Models:
    if isinstance(models, Tensor):
        return torch.nn.functional.one_hot(models.argmax(dim=2), models.shape[2])
    return [torch.nn.functional.one_hot(model.argmax(dim=1), model.shape[1]) for model in models]


def _raw(rows: Tensor) -> Tensor:
    return rows


def _softmax(rows: Tensor) -> Tensor:
    return torch.softmax(rows, dim=1)


def _log_softmax(rows: Tensor) -> Tensor:
    return torch.log_softmax(rows / _TEMPERATURE, dim=1)
