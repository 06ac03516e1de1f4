"""The trained score judged by models it has not seen: leave an attack out, and an architecture, and seeds.

Every model is judged by a score fitted without

* any theft of its own attack, of an adaptive one, and of its own architecture;
* any independent of its own architecture. The source's own architecture is the exception: its owner knows it and
  trains independents of it, so there only the seeds of the fold are left out.

The statistics' means and deviations, the cohort's mean and covariance and the weights come from the same other models.
An independent is judged once for every attack left out; its distance is the mean of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..labelled_zoo.folder import ZooMember
from ..scores.statistic import CohortFeatures, CohortStatistic
from ..scores.weights import Weights, fit_weights
from .loaded_zoo import LoadedZoo, is_adaptive

# Parts into which models of the source's architecture are divided by seed.
SEED_FOLDS = 4


@dataclass(frozen=True)
class Fold:
    """Models that are judged together, and those that the score may be fitted on.

    Attributes:
        name: for reports.
        tested: members that are judged.
        cohort: independents that serve as cohort and as examples of independence.
        thefts: stolen members for the fit; of these the attack being judged is left out as well.
    """

    name: str
    tested: tuple[ZooMember, ...]
    cohort: tuple[ZooMember, ...]
    thefts: tuple[ZooMember, ...]


@dataclass(frozen=True)
class CrossFit:
    """Distances of all suspects, none of them judged by a score that has seen the like.

    Attributes:
        distances: by member.
        weights: by fold, by attack left out: the weights of the statistics.
        notes: where the zoo was too small for the full separation.
    """

    distances: dict[str, float]
    weights: dict[str, dict[str, list[float]]]
    notes: tuple[str, ...]


def make_folds(source: ZooMember, suspects: Sequence[ZooMember]) -> Iterator[Fold]:
    """One fold for every architecture but the source's, whose models are divided by seed.

    Args:
        source: the source.
        suspects: all others.

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
        # At least one fold, even where nobody shares the source's architecture but thieves.
        parts = max(1, min(SEED_FOLDS, len(own)))
        for part in range(parts):
            # every parts-th: kinds of independents that alternate in the zoo are divided evenly
            held = own[part::parts]
            cohort = tuple(m for m in independents if m not in held)
            yield Fold(f"{architecture}, seeds {part + 1} of {parts}", (*held, *others[part::parts]), cohort, thefts)


def cross_fit(loaded: LoadedZoo, statistics: Sequence[CohortStatistic], *, regularisation: float) -> CrossFit:
    """Judge every suspect of a zoo by the trained score, as described above.

    Args:
        loaded: of the zoo.
        statistics: of the score.
        regularisation: see `fit_weights`.

    Returns:
        The distances.

    Raises:
        ValueError: fewer than two attacks, or too few independents for a cohort in some fold.
    """
    source = loaded.zoo.source
    suspects = loaded.suspects
    features = CohortFeatures(loaded.outputs, [m.name for m in loaded.members], statistics, loaded.labels)
    attacks = [origin for origin, _ in loaded.attacks()]
    if len(attacks) < 2:
        raise ValueError(f"stolen must be of at least 2 attacks, one to leave out, got {', '.join(attacks)}")
    judged: dict[str, list[float]] = {}
    weights: dict[str, dict[str, list[float]]] = {}
    notes: list[str] = []
    for fold in make_folds(source, suspects):
        if len(fold.cohort) < 4:
            raise ValueError(f"cohort of {fold.name!r} must hold at least 4 independents, got {len(fold.cohort)}")
        cohort = [m.name for m in fold.cohort]
        independents = features.compute(source.name, cohort, cohort)
        tested = [m for m in fold.tested]
        found = features.compute(source.name, [m.name for m in tested], cohort)
        for attack in attacks:
            usual = [m for m in loaded.stolen if m.origin != attack and not is_adaptive(m.origin)]
            thefts = [m for m in usual if m in fold.thefts]
            if not thefts:
                thefts = [m for m in usual if m not in fold.tested]
                notes.append(f"{fold.name}: no thefts of other architectures; fitted on others of the same one")
            of_thefts = features.compute(source.name, [m.name for m in thefts], cohort)
            fitted: Weights = fit_weights(
                of_thefts, [m.origin for m in thefts], independents, regularisation=regularisation
            )
            weights.setdefault(fold.name, {})[attack] = [float(w) for w in fitted.weights]
            for member, distance in zip(tested, fitted.distances(found), strict=True):
                if member.role == "independent" or member.origin == attack:
                    judged.setdefault(member.name, []).append(float(distance))
    distances = {name: float(np.mean(values)) for name, values in judged.items()}
    return CrossFit(distances, weights, tuple(dict.fromkeys(notes)))


def _architecture(member: ZooMember) -> str:
    """The network's; of one that was given a new head (`sac_fast.attacks.transfer.with_head`) that below the head."""
    below = member.architecture_args.get("model")
    return below if isinstance(below, str) else member.architecture
