"""Whether simulated independents can stand for independents that others made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..labelled_zoo.folder import LabelledZoo

_MAX_LOSS = 0.05
_ALPHA = 0.01


def independent_warnings(zoo: LabelledZoo, own: Sequence[Fingerprint] = ()) -> list[str]:
    """Warn of simulated independents that are no fair nulls: a pool of them is too far from the source.

    Args:
        zoo: the labelled zoo of the simulation.
        own: fingerprints of independents that were made in other ways, on a probe set of the zoo.

    Returns:
        A sentence for each kind of independents whose mean accuracy is more than 5 points below the source's, and for
        each kind that a rank-sum test of the distances to the source (pearson, l1) tells from `own` at 1 %.

    Raises:
        FingerprintError: `own` on probes that the zoo does not have.
    """
    from scipy.stats import mannwhitneyu

    found = []
    of_kind: dict[str, list[str]] = {}
    for member in zoo.of_role("independent"):
        of_kind.setdefault(member.origin, []).append(member.name)
    accuracy = {member.name: member.accuracy for member in zoo.members if member.accuracy is not None}
    top = accuracy.get(zoo.source.name)
    for kind, names in of_kind.items():
        measured = [accuracy[name] for name in names if name in accuracy]
        if top is not None and measured and float(np.mean(measured)) < top - _MAX_LOSS:
            found.append(
                f"independents of the kind {kind} are less accurate ({np.mean(measured):.1%}) than the source "
                f"({top:.1%}): nulls worse at the task are too far from it"
            )
    if not own:
        return found
    sources = {probes: zoo.load_fingerprint(probes, zoo.source) for probes in zoo.probes}
    probes = next((name for name, fp in sources.items() if fp.probe_hash == own[0].probe_hash), None)
    if probes is None:
        raise FingerprintError(f"{own[0].name!r} must be on probes of the zoo, got {own[0].probe_hash}")
    source = sources[probes]
    theirs = [source.distance(fp, metric="pearson") for fp in own]
    for kind, names in of_kind.items():
        files = [name for name in names if zoo.fingerprint_file(probes, name).is_file()]
        ours = [source.distance(zoo.load_fingerprint(probes, name), metric="pearson") for name in files]
        if ours and (p := float(mannwhitneyu(ours, theirs).pvalue)) <= _ALPHA:
            side = "farther from" if np.median(ours) > np.median(theirs) else "nearer to"
            found.append(
                f"independents of the kind {kind} are told apart from your own {len(theirs)} (p = {p:.2g}): they are "
                f"{side} the source"
            )
    return found
