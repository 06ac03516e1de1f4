"""Fit the calibrated score to the source of a labelled zoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..labelled_zoo.folder import LabelledZoo
from ..scores import CALIBRATED, REGULARISATION, Calibration, CohortStatistic
from ..verdict import nulls_needed
from .loaded_zoo import is_adaptive, members_with_outputs, read_fingerprints, true_labels


def fit_calibration(
    zoo: LabelledZoo,
    *,
    statistics: Sequence[CohortStatistic] = CALIBRATED,
    regularisation: float = REGULARISATION,
    progress: bool = False,
) -> Calibration:
    """Fit the calibrated score to a zoo's source.

    All independents, with their kinds, are cohort, examples of independence and nulls. Models of adaptive attacks are
    not used.

    Args:
        zoo: zoo with the fingerprints of source, stolen and independent models, as made by `sac-fast simulate`.
        statistics, regularisation: of the score.
        progress: show a progress bar on stderr.

    Returns:
        The score.

    Raises:
        ValueError: fewer than 4 independents, or no stolen model.
        FileFormatError, FingerprintError: missing or damaged fingerprints, or fingerprints of other probes.
    """
    probes = tuple(dict.fromkeys(statistic.probes for statistic in statistics))
    if missing := [name for name in probes if name not in zoo.probes]:
        raise ValueError(f"the zoo must have the probe sets {', '.join(probes)}, missing {missing[0]!r}")
    present = members_with_outputs(zoo, probes)
    cohort = [m for m in present if m.role == "independent"]
    thefts = [m for m in present if m.role == "stolen" and not is_adaptive(m.origin)]
    if len(cohort) < 4 or not thefts:
        raise ValueError(
            f"a fit needs at least 4 independents and 1 stolen model with outputs, got {len(cohort)} and {len(thefts)}"
        )
    prints = read_fingerprints(zoo, probes, (zoo.source, *cohort, *thefts), progress=progress)
    return Calibration.fit(
        {name: prints[name][zoo.source.name] for name in probes},
        {name: {m.name: prints[name][m.name].with_kind(m.origin) for m in cohort} for name in probes},
        {name: {m.name: prints[name][m.name] for m in thefts} for name in probes},
        {m.name: m.origin for m in thefts},
        statistics,
        labels={name: true_labels(zoo, name, prints[name][zoo.source.name].probe_hash) for name in probes},
        regularisation=regularisation,
    )


def describe_nulls(counts: Mapping[str, int], alpha: float) -> str:
    """How small a p-value the nulls of a calibration allow, by kind, in one sentence.

    Args:
        counts: numbers of nulls by kind.
        alpha: the rate that is asked for.
    """
    each = ", ".join(f"{count} {kind} (smallest p {1 / (count + 1):.3g})" for kind, count in counts.items())
    needed = nulls_needed(alpha)
    enough = f"{alpha:g} needs {needed} of every kind that an honest suspect may be of"
    return f"nulls of this calibration: {each}; α = {enough}"
