"""Distances of every model to every source, and whether the copies lie below the honest models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sac_fast import weights_test
from sac_fast.scores import FIXED, Score
from sac_fast.verdict import auc
from sac_fast.verify.contrast import MIN_COHORT, cohort_products, distances_given_others

from .copies import INT8
from .members import EXPORT, HELD_OUT, SERVED, WEIGHTS, Member, Workshop, is_copy, is_related
from .networks import SOURCES
from .thefts import agreement

#: Scores without their probe set; "robust" is the preset's.
STATISTICS = ("raw/cosine/l1", "raw/pearson/l1", "agreement", FIXED["robust"].name.partition("@")[0])
#: A copy that keeps the classes works if it gives the source's label to so many of the held-out photographs, and one
#: with other classes if it tells so many of the things on them.
MIN_AGREEMENT = 0.8
MIN_ACCURACY = 0.6
#: Similarity to the source given the honest models, the default without siblings; the source has no siblings here.
GIVEN_NULLS = "given the honest models"
WEIGHTS_TEST = "weights"
#: From this probability of its label on, a source counts as sure.
SURE = 0.5


def compare(workshop: Workshop, members: Sequence[Member], probes: Sequence[str]) -> list[dict[str, Any]]:
    """One record for each source, statistic and probe set."""
    records = []
    for name in probes:
        done = [member for member in members if not workshop.missing(member, [name])]
        outputs = {member.name: workshop.load(member, name).outputs for member in done}
        for source in (source for source in SOURCES if source in outputs):
            suspects = [m for m in done if m.name != source and (is_copy(m, source) or not is_related(m, source))]
            for statistic in STATISTICS:
                record = {"source": source, "statistic": statistic, "probes": name, "count": len(outputs[source])}
                try:
                    score = Score.parse(f"{statistic}@{name}")
                    found = score.distances(outputs[source], [outputs[m.name] for m in suspects])
                except ValueError as error:
                    records.append({**record, "refused": str(error)})
                    continue
                records.append(record | _summarise(workshop, source, suspects, found.tolist()))
            record = {"source": source, "statistic": GIVEN_NULLS, "probes": name, "count": len(outputs[source])}
            records.append(
                record | _given_nulls(workshop, source, suspects, {n: o.double() for n, o in outputs.items()})
            )
    return records


def _given_nulls(
    workshop: Workshop, source: str, suspects: Sequence[Member], outputs: dict[str, Any]
) -> dict[str, Any]:
    """Each copy alone beside the honest models: its rank is the number of those at least as near, 0 below all."""
    honest = [m for m in suspects if not is_copy(m, source)]
    copies = [m for m in suspects if is_copy(m, source)]
    if len(honest) < MIN_COHORT:
        return {"refused": f"{MIN_COHORT} honest models are needed, got {len(honest)}"}
    channels = cohort_products(outputs[source], [outputs[m.name] for m in (*honest, *copies)], "logits")
    ranks: dict[str, int] = {}
    for place, member in enumerate(copies, start=len(honest)):
        found = distances_given_others(channels, [place, *range(len(honest))])
        ranks[member.name] = int((found[1:] <= found[0]).sum())
    counted = [m.name for m in copies if works(workshop.about(m))]
    above = [name for name in counted if ranks[name]]
    return {
        "ranks": ranks,
        "copies": len(counted),
        "honest": len(honest),
        "copies_below": len(counted) - len(above),
        "not_below": above,
        "not_counted": {m.name: not ranks[m.name] for m in copies if m.name not in counted},
        "all_below": not above,
    }


def compare_weights(workshop: Workshop, members: Sequence[Member]) -> list[dict[str, Any]]:
    """log10 of the weights test's p-value of every copy and of the other sources, as distances; one record a source."""
    records = []
    names = {member.name: member for member in members}
    for source in (source for source in SOURCES if source in names):
        # the copies of the others have the others' weights
        suspects = [m for m in members if is_copy(m, source) or (m.name in SOURCES and m.name != source)]
        found = []
        for member in suspects:
            # A file of one format with a file of the same: exporting folds the normalisation into the convolutions.
            served = member.change in (*INT8, EXPORT)
            ours = workshop.exported(source) if served else workshop.place(names[source]) / WEIGHTS
            result = weights_test(ours, workshop.place(member) / (SERVED if served else WEIGHTS))
            known = result.attainable_log10_p if result.verdict == "identical" else result.log10_p
            found.append(float("nan") if result.verdict == "inconclusive" else known)
        record = {"source": source, "statistic": WEIGHTS_TEST, "probes": "none", "count": 0}
        records.append(record | _summarise(workshop, source, suspects, found))
    return records


def agreement_where_sure(workshop: Workshop, member: Member) -> dict[str, float | int | None]:
    """Agreement on the held-out photographs to whose label the source gives at least ``SURE``, and their number."""
    outputs = workshop.load(member, HELD_OUT).outputs
    source = workshop.load(Member(member.source, member.source, "", member.source), HELD_OUT).outputs
    sure = source.softmax(dim=1).amax(dim=1) >= SURE
    if outputs.shape != source.shape or not bool(sure.any()):
        return {"agreement_where_sure": None, "sure": int(sure.sum())}
    return {"agreement_where_sure": agreement(outputs[sure], source[sure]), "sure": int(sure.sum())}


def works(facts: dict[str, Any]) -> bool:
    """Whether a copy is worth the name, by its about.json."""
    if facts["agreement"] is None:
        return bool(facts["accuracy_of_kinds"] >= MIN_ACCURACY)
    return bool(facts["agreement"] >= MIN_AGREEMENT)


def _summarise(workshop: Workshop, source: str, suspects: Sequence[Member], found: Sequence[float]) -> dict[str, Any]:
    distances = {member.name: value for member, value in zip(suspects, found, strict=True)}
    counted = {m.name for m in suspects if is_copy(m, source) and works(workshop.about(m))}
    copies = {name: value for name, value in distances.items() if name in counted}
    honest = {m.name: distances[m.name] for m in suspects if not is_copy(m, source)}
    nearest = min((value for value in honest.values() if np.isfinite(value)), default=float("nan"))
    return {
        # copies that work too little to be counted, and whether they lie below all honest models all the same
        "not_counted": {
            m.name: bool(distances[m.name] < nearest) for m in suspects if is_copy(m, source) and m.name not in counted
        },
        "distances": {name: value if np.isfinite(value) else None for name, value in distances.items()},
        **separation(copies, honest),
    }


def separation(copies: dict[str, float], honest: dict[str, float]) -> dict[str, Any]:
    """How well distances tell copies from honest models.

    Args:
        copies: distances of copies that work; NaN where a copy cannot be compared, which counts as not found.
        honest: distances of honest models; those that cannot be compared are left out.

    Returns:
        ``nearest_honest`` and ``farthest_copy`` (name and distance), ``copies_below``: how many of the ``copies`` lie
        below every honest model, ``all_below``, ``auc``; ``not_below``: the names of the others.
    """
    known = {name: value for name, value in honest.items() if np.isfinite(value)}
    if not copies or not known:
        return {}
    nearest = min(known, key=known.__getitem__)
    ordered = {name: value if np.isfinite(value) else np.inf for name, value in copies.items()}
    farthest = max(ordered, key=ordered.__getitem__)
    above = [name for name, value in ordered.items() if value >= known[nearest]]
    top = max([*known.values(), *(v for v in ordered.values() if np.isfinite(v))]) + 1.0
    return {
        "nearest_honest": [nearest, known[nearest]],
        "farthest_copy": [farthest, ordered[farthest] if np.isfinite(ordered[farthest]) else None],
        "copies": len(copies),
        "honest": len(known),
        "copies_below": len(copies) - len(above),
        "not_below": above,
        "all_below": not above,
        "auc": auc([min(value, top) for value in ordered.values()], list(known.values())),
    }
