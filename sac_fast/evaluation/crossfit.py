"""Cross-fitting of the calibrated score: no model is judged by a score that was fitted on similar models.

Every model is judged by a score fitted without

* stolen models of its own attack, of adaptive attacks, and of its own architecture;
* independents of its own architecture. The source's own architecture is an exception: the owner knows it and can train
  independents of it, so only the seeds of the fold are left out there.

Means and deviations of the statistics, mean and covariance of the cohort, and the weights are estimated on the same
other models. An independent is judged once for every attack left out; its distance is the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..labelled_zoo.folder import ZooMember
from ..scores.statistic import CohortFeatures, CohortStatistic
from ..scores.weights import fit_weights
from .loaded_zoo import LoadedZoo, is_adaptive

# Folds by seed for the models of the source's architecture.
SEED_FOLDS = 4


@dataclass(frozen=True)
class Fold:
    """Models that are judged together, and the models for the fit.

    Attributes:
        name: name for reports.
        tested: members that are judged.
        cohort: independents, used as cohort and as examples of independence.
        thefts: stolen members for the fit; the attack being judged is left out in addition.
    """

    name: str
    tested: tuple[ZooMember, ...]
    cohort: tuple[ZooMember, ...]
    thefts: tuple[ZooMember, ...]


@dataclass(frozen=True)
class CrossFit:
    """Distances of all suspects by cross-fitting.

    Attributes:
        distances: by member.
        weights: by fold, by attack left out: the weights of the statistics.
        notes: folds in which the zoo was too small for complete separation.
    """

    distances: dict[str, float]
    weights: dict[str, dict[str, list[float]]]
    notes: tuple[str, ...]


def make_folds(source: ZooMember, suspects: Sequence[ZooMember]) -> Iterator[Fold]:
    """One fold per architecture; models of the source's architecture are divided by seed.

    Args:
        source: the source.
        suspects: all other members.

    Yields:
        The folds; every suspect is tested in exactly one of them.
    """
    independents = [m for m in suspects if m.role == "independent"]
    stolen = [m for m in suspects if m.role == "stolen"]
    for architecture in dict.fromkeys(_architecture(m) for m in suspects):
        of_it = [m for m in suspects if _architecture(m) == architecture]
        thefts = tuple(m for m in stolen if _architecture(m) != architecture)
        if architecture != _architecture(source):
            cohort = tuple(m for m in independents if _architecture(m) != architecture)
            yield Fold(architecture, tuple(of_it), cohort, thefts)
            continue
        own = [m for m in of_it if m.role == "independent"]
        others = [m for m in of_it if m.role == "stolen"]
        # At least one fold, even if only stolen models have the source's architecture.
        parts = max(1, min(SEED_FOLDS, len(own)))
        for part in range(parts):
            # Every parts-th, so that alternating kinds of independents are divided evenly.
            held = own[part::parts]
            cohort = tuple(m for m in independents if m not in held)
            yield Fold(f"{architecture}, seeds {part + 1} of {parts}", (*held, *others[part::parts]), cohort, thefts)


def cross_fit(loaded: LoadedZoo, statistics: Sequence[CohortStatistic], *, regularisation: float) -> CrossFit:
    """Judge every suspect of a zoo by the calibrated score, cross-fitted.

    Args:
        loaded: the zoo.
        statistics: statistics of the score.
        regularisation: see `fit_weights`.

    Returns:
        The distances.

    Raises:
        ValueError: fewer than two attacks, or too few independents for a cohort in some fold.
    """
    source = loaded.zoo.source
    features = CohortFeatures(loaded.outputs, [m.name for m in loaded.members], statistics, loaded.labels)
    attacks = [origin for origin, _ in loaded.attacks()]
    if len(attacks) < 2:
        raise ValueError(f"stolen must be of at least 2 attacks, one to leave out, got {', '.join(attacks)}")
    judged: dict[str, list[float]] = {}
    weights: dict[str, dict[str, list[float]]] = {}
    notes: list[str] = []
    for fold in make_folds(source, loaded.suspects):
        if len(fold.cohort) < 4:
            raise ValueError(f"cohort of {fold.name!r} must hold at least 4 independents, got {len(fold.cohort)}")
        cohort = [m.name for m in fold.cohort]
        independents = features.compute(source.name, cohort, cohort)
        found = features.compute(source.name, [m.name for m in fold.tested], cohort)
        for attack in attacks:
            usual = [m for m in loaded.stolen if m.origin != attack and not is_adaptive(m.origin)]
            thefts = [m for m in usual if m in fold.thefts]
            if not thefts:
                thefts = [m for m in usual if m not in fold.tested]
                notes.append(f"{fold.name}: no thefts of other architectures; fitted on others of the same one")
            of_thefts = features.compute(source.name, [m.name for m in thefts], cohort)
            origins = [m.origin for m in thefts]
            fitted = fit_weights(of_thefts, origins, independents, regularisation=regularisation)
            weights.setdefault(fold.name, {})[attack] = fitted.weights.tolist()
            for member, distance in zip(fold.tested, fitted.distances(found), strict=True):
                if member.role == "independent" or member.origin == attack:
                    judged.setdefault(member.name, []).append(float(distance))
    distances = {name: float(np.mean(values)) for name, values in judged.items()}
    return CrossFit(distances, weights, tuple(dict.fromkeys(notes)))


def _architecture(member: ZooMember) -> str:
    """Architecture of the network; below the head for one with a new head (`sac_fast.attacks.transfer.with_head`)."""
    below = member.architecture_args.get("model")
    return below if isinstance(below, str) else member.architecture
