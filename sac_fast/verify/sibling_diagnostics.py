"""Diagnostics of the siblings without a suspect: is the source one of them, as the exactness of the test needs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..scores.siblings_products import output_products
from .sibling_inputs import Member
from .usual_seeds import is_usual_seed

# Members whose outputs differ by no more than this in 1 − cosine are one model: float16 rounds by some 1e-7.
_SAME = 1e-6
# A two-sided rank is at least 2 / (K + 1): this many deviations besides keep the warning rare.
_FAR = 4.0


@dataclass(frozen=True)
class Diagnostic:
    """One property of the source among its siblings.

    Attributes:
        name: ``"accuracy"``, ``"agreement"`` (with the most frequent label of the members), ``"confidence"`` (mean
            largest probability) or ``"distance"`` (mean 1 − cosine to the other members).
        source: the source's value.
        siblings: the siblings' values.
        rank: 1 for the smallest of all K + 1; the mean rank of equal ones.
        p_value: two-sided rank p-value; exact if source and siblings are exchangeable.
        outlier: the source lies outside of all siblings, by 4 of their deviations from their mean.
    """

    name: str
    source: float
    siblings: tuple[float, ...]
    rank: float
    p_value: float
    outlier: bool

    def describe(self) -> str:
        """In a few words: the source's value, the siblings' and its rank.

        Example::

            >>> Diagnostic("accuracy", 0.9, (0.88, 0.91), 2.0, 1.0, False).describe()
            'accuracy 0.9 (siblings 0.88 … 0.91), rank 2 of 3, p = 1'
        """
        span = f"{min(self.siblings):.4g} … {max(self.siblings):.4g}"
        place = f"rank {self.rank:g} of {len(self.siblings) + 1}, p = {self.p_value:.2g}"
        return f"{self.name} {self.source:.4g} (siblings {span}), {place}"


def diagnose_siblings(members: Sequence[Tensor], labels: NDArray[np.int64] | None, *, form: str) -> list[Diagnostic]:
    """Ranks of the source among its siblings.

    Args:
        members: J of (n, k) outputs in one form, the source first; soft ones as logits or log-probabilities.
        labels: (n,) true classes of the probes, or None.
        form: of the outputs.

    Returns:
        The diagnostics that the form allows.
    """
    soft = form not in ("labels", "similarities", "embeddings")
    found = []
    if soft or form == "labels":
        predicted = np.stack([np.asarray(member.argmax(dim=1).numpy()) for member in members])
        if labels is not None:
            found.append(_diagnose("accuracy", (predicted == labels).mean(axis=1)))
        found.append(_diagnose("agreement", (predicted == _most_frequent(predicted)).mean(axis=1)))
    if soft:
        confidence = [float(torch.softmax(member.double(), dim=1).amax(dim=1).mean()) for member in members]
        found.append(_diagnose("confidence", np.array(confidence)))
    if len({member.shape[1] for member in members}) == 1:
        cosines = output_products(members, [], _probabilities if soft else _unchanged).members
        np.fill_diagonal(cosines, np.nan)
        found.append(_diagnose("distance", 1.0 - np.nanmean(cosines, axis=1)))
    return found


def same_outputs(members: Sequence[Tensor], *, form: str) -> list[tuple[int, int]]:
    """Pairs of members that are one model by their outputs, whatever their scale.

    Equal labels prove nothing, since good models agree on them.

    Args:
        members: J of (n, k) outputs in one form; soft ones as logits or log-probabilities.
        form: of the outputs.

    Returns:
        Their places, in ascending order.
    """
    if form == "labels" or len({member.shape[1] for member in members}) > 1:
        return []
    soft = form not in ("similarities", "embeddings")
    cosines = output_products(members, [], _centred if soft else _unchanged).members
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(cosines >= 1 - _SAME, 1))]


def sibling_warnings(
    members: Sequence[Member], diagnostics: Sequence[Diagnostic], same: Sequence[tuple[int, int]] = ()
) -> list[str]:
    """Reasons to doubt that source and siblings were made alike, as sentences.

    Args:
        members: the source first.
        diagnostics: of `diagnose_siblings`.
        same: of `same_outputs`.
    """
    found = [
        f"The source is an outlier among its siblings by {d.name}: {d.source:.4g}, siblings {min(d.siblings):.4g} to "
        f"{max(d.siblings):.4g}. Was it made by the same code, or chosen among several?"
        for d in diagnostics
        if d.outlier
    ]
    source, *siblings = members
    for key, called in (
        *(("versions", "versions"), ("preprocessing_hash", "preprocessing")),
        *(("dtype", "number format"), ("output", "output")),
    ):
        differ = [m.name for m in siblings if m.provenance and m.provenance.get(key) != source.provenance.get(key)]
        if source.provenance and differ:
            found.append(f"The fingerprints' {called} differ from the source's: {', '.join(differ)}.")
    equal = [members[j].name for i, j in same if i == 0]
    if equal:
        found.append(f"Outputs equal the source's: {', '.join(equal)}. Siblings must be trainings of their own.")
    found += _training_warnings(members)
    seed = source.provenance.get("seed")
    if isinstance(seed, int) and is_usual_seed(seed):
        found.append(
            f"The source was made with the usual seed {seed}: whoever ran the same recipe with it shares its start, "
            "and is not exchangeable with the siblings."
        )
    return found


def _training_warnings(members: Sequence[Member]) -> list[str]:
    """What fingerprints of `make_siblings` say of how the models were made, and how the source was picked."""
    found = []
    choice = members[0].provenance.get("choice")
    if isinstance(choice, dict) and choice.get("by") == "best":
        found.append(
            f"The source was chosen as the most accurate of {choice.get('of')} trainings: where the statistic depends "
            "on accuracy, p-values are not exact."
        )
    trainings = [member.provenance.get("training") for member in members]
    for key, called in (("code_hash", "training code"), ("versions", "library versions"), ("fork", "checkpoint")):
        if len({str(training.get(key)) for training in trainings if isinstance(training, dict)}) > 1:
            found.append(f"Source and siblings were trained with different {called}: they are not of one recipe.")
    if any(isinstance(training, dict) and training.get("fork") for training in trainings):
        found.append(
            "The siblings were trained again from a checkpoint of the source: they find what was extracted from the "
            "source's answers, not what was fine-tuned from its weights."
        )
    return found


def _diagnose(name: str, values: NDArray[np.float64]) -> Diagnostic:
    source, others = values[0], values[1:]
    below, equal = int((others < source).sum()), int((others == source).sum())
    above = len(others) - below - equal
    p = min(1.0, 2.0 * (1 + equal + min(below, above)) / len(values))
    outside = min(below, above) == 0 and equal == 0
    far = abs(source - others.mean()) > _FAR * others.std(ddof=1)
    rank = 1 + below + equal / 2
    return Diagnostic(name, float(source), tuple(float(v) for v in others), rank, p, bool(outside and far))


def _most_frequent(predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.stats import mode  # imported late: slow to import

    return np.asarray(mode(predicted, axis=0).mode)


def _probabilities(rows: Tensor) -> Tensor:
    return torch.softmax(rows, dim=1)


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=1, keepdim=True)


def _unchanged(rows: Tensor) -> Tensor:
    return rows
