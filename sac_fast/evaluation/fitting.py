"""From a labelled zoo of one's own to a calibration file."""

from __future__ import annotations

from collections.abc import Sequence

from ..fingerprint import Fingerprint
from ..io.progress import track
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..scores import CALIBRATED, REGULARISATION, Calibration, CohortStatistic
from .loaded_zoo import is_adaptive, true_labels


def fit_calibration(
    zoo: LabelledZoo,
    *,
    null_share: float = 0.5,
    statistics: Sequence[CohortStatistic] = CALIBRATED,
    regularisation: float = REGULARISATION,
    progress: bool = False,
) -> Calibration:
    """Fit the calibrated score to a zoo's source.

    The independents are divided: some are the cohort and the examples of independence, the others have no part in
    the fit, and their distances are the nulls of later verdicts. Within each kind and architecture every so many-th
    goes to the nulls. Thefts of adaptive attacks take no part.

    Args:
        zoo: with the fingerprints of source, stolen and independent models, as `sac-fast simulate` makes it.
        null_share: of the independents, 0 ≤ share < 1; 0: nulls must be given with each verdict.
        statistics, regularisation: of the score.
        progress: a bar on stderr.

    Returns:
        The score, with its nulls.

    Raises:
        ValueError: a share out of range, or fewer than 4 independents for the cohort, or no stolen model.
        FileFormatError, FingerprintError: fingerprints that are missing, damaged or of other probes.
    """
    if not 0 <= null_share < 1:
        raise ValueError(f"null_share must be at least 0 and below 1, got {null_share!r}")
    probes = tuple(dict.fromkeys(statistic.probes for statistic in statistics))
    if missing := [name for name in probes if name not in zoo.probes]:
        raise ValueError(f"the zoo must have the probe sets {', '.join(probes)}, missing {missing[0]!r}")
    present = [m for m in zoo.members if all(zoo.fingerprint_file(name, m).is_file() for name in probes)]
    cohort, nulls = split_independents([m for m in present if m.role == "independent"], null_share)
    thefts = [m for m in present if m.role == "stolen" and not is_adaptive(m.origin)]
    if len(cohort) < 4 or not thefts:
        raise ValueError(
            f"a fit needs at least 4 independents besides the nulls and 1 stolen model with outputs, got {len(cohort)} "
            f"and {len(thefts)}"
        )
    wanted = [(name, member) for name in probes for member in (zoo.source, *cohort, *nulls, *thefts)]
    prints: dict[str, dict[str, Fingerprint]] = {name: {} for name in probes}
    for name, member in track(wanted, "reading outputs", enabled=progress):
        prints[name][member.name] = zoo.load_fingerprint(name, member)

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
    """Cohort and nulls, the same share of every kind and architecture as nearly as numbers allow."""
    ordered = sorted(independents, key=lambda m: (m.origin, m.architecture))
    cohort: list[ZooMember] = []
    nulls: list[ZooMember] = []
    for number, member in enumerate(ordered):
        # the share is due whenever its multiple passes a whole number
        due = int((number + 1) * null_share) > int(number * null_share)
        (nulls if due else cohort).append(member)
    return cohort, nulls
