"""Distances of every model to every source, and whether the copies lie below the honest models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sac_fast.scores import FIXED, Score
from sac_fast.verdict import auc

from .members import Member, Workshop, is_copy, is_related
from .networks import SOURCES

#: Scores without their probe set; "robust" is the preset's.
STATISTICS = ("raw/cosine/l1", "raw/pearson/l1", "agreement", FIXED["robust"].name.partition("@")[0])
#: A copy that keeps the classes works if it gives the source's label to so many of the held-out photographs, and one
#: with other classes if it tells so many of the things on them.
MIN_AGREEMENT = 0.8
MIN_ACCURACY = 0.6


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
    return records


def works(facts: dict[str, Any]) -> bool:
    """Whether a copy is worth the name, by its about.json."""
    if facts["agreement"] is None:
        return bool(facts["accuracy_of_kinds"] >= MIN_ACCURACY)
    return bool(facts["agreement"] >= MIN_AGREEMENT)


def _summarise(workshop: Workshop, source: str, suspects: Sequence[Member], found: Sequence[float]) -> dict[str, Any]:
    distances = {member.name: value for member, value in zip(suspects, found, strict=True)}
    copies = {m.name: distances[m.name] for m in suspects if is_copy(m, source) and works(workshop.about(m))}
    honest = {m.name: distances[m.name] for m in suspects if not is_copy(m, source)}
    return {
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
