"""Fit the calibrated score to the source of a labelled zoo."""

from __future__ import annotations

from collections.abc import Sequence

from ..fingerprint import Fingerprint
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..scores import CALIBRATED, REGULARISATION, Calibration, CohortStatistic
from .loaded_zoo import is_adaptive, members_with_outputs, read_fingerprints, true_labels


def fit_calibration(
    zoo: LabelledZoo,
    *,
    null_share: float = 0.5,
    statistics: Sequence[CohortStatistic] = CALIBRATED,
    regularisation: float = REGULARISATION,
    progress: bool = False,
) -> Calibration:
    """Fit the calibrated score to a zoo's source.

    The independents are split: one part is the cohort and the examples of independence, the other part is not used in
    the fit and gives the nulls of later verdicts. The split is stratified by kind and architecture. Models of adaptive
    attacks are not used.

    Args:
        zoo: zoo with the fingerprints of source, stolen and independent models, as made by `sac-fast simulate`.
        null_share: share of the independents that become nulls, 0 ≤ share < 1; with 0, nulls must be given with each
            verdict.
        statistics, regularisation: of the score.
        progress: show a progress bar on stderr.

    Returns:
        The score, with its nulls.

    Raises:
        ValueError: a share out of range, fewer than 4 independents for the cohort, or no stolen model.
        FileFormatError, FingerprintError: missing or damaged fingerprints, or fingerprints of other probes.
    """
    if not 0 <= null_share < 1:
        raise ValueError(f"null_share must be at least 0 and below 1, got {null_share!r}")
    probes = tuple(dict.fromkeys(statistic.probes for statistic in statistics))
    if missing := [name for name in probes if name not in zoo.probes]:
        raise ValueError(f"the zoo must have the probe sets {', '.join(probes)}, missing {missing[0]!r}")
    present = members_with_outputs(zoo, probes)
    cohort, nulls = split_independents([m for m in present if m.role == "independent"], null_share)
    thefts = [m for m in present if m.role == "stolen" and not is_adaptive(m.origin)]
    if len(cohort) < 4 or not thefts:
        raise ValueError(
            f"a fit needs at least 4 independents besides the nulls and 1 stolen model with outputs, got {len(cohort)} "
            f"and {len(thefts)}"
        )
    prints = read_fingerprints(zoo, probes, (zoo.source, *cohort, *nulls, *thefts), progress=progress)

    def of(members: Sequence[ZooMember]) -> dict[str, dict[str, Fingerprint]]:
        return {name: {m.name: prints[name][m.name] for m in members} for name in probes}

    fitted = Calibration.fit(
        {name: prints[name][zoo.source.name] for name in probes},
        of(cohort),
        of(thefts),
        {m.name: m.origin for m in thefts},
        statistics,
        labels={name: true_labels(zoo, name, prints[name][zoo.source.name].probe_hash) for name in probes},
        regularisation=regularisation,
    )
    return fitted.with_null({m.name: {name: prints[name][m.name] for name in probes} for m in nulls})


def split_independents(independents: Sequence[ZooMember], null_share: float) -> tuple[list[ZooMember], list[ZooMember]]:
    """Split independents into cohort and nulls, stratified by kind and architecture."""
    ordered = sorted(independents, key=lambda m: (m.origin, m.architecture))
    cohort: list[ZooMember] = []
    nulls: list[ZooMember] = []
    for number, member in enumerate(ordered):
        # A null whenever number · share passes an integer.
        due = int((number + 1) * null_share) > int(number * null_share)
        (nulls if due else cohort).append(member)
    return cohort, nulls
