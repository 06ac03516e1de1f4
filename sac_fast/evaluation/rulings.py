"""p-values of the deployed verdicts on the suspects of one source: what an owner would have been told."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..labelled_zoo.folder import NULL_KINDS as HONEST
from ..labelled_zoo.folder import ZooMember
from ..scores import evenly_spaced
from ..verify.contrast import cohort_products, contrast_channels, distances_given_others, largest_channel
from ..verify.siblings import sibling_test
from .accusation_matrix import p_by_kind
from .sources import SourceZoo, disputed_order, limited

EXACT, STUDENT = "siblings, exact", "siblings, Student's t"
POOL, MIXED_POOL = "null pool by kind", "null pool, kinds mixed"
#: By kind too, as where the owner names the kinds that a suspect can be of (`--kind`): those with enough nulls for 5 %.
LARGE_POOL, LARGE_KIND = "null pool, kinds of 19 nulls", 19
#: Numbers of siblings and of probes for which verdicts are computed, as far as a zoo has them.
SIBLING_COUNTS = (4, 9, 19, 39)
COHORT = "given the other nulls"
#: Probes for statistics that take all pairs of probes or models.
MAX_PROBES = 2000
PROBE_COUNTS = (50, 100, 200, 400, 1000, 2000, 5000, 10000)
#: Siblings that are not asked to judge are suspects of this kind.
KIN = "sibling"


@dataclass(frozen=True)
class Ruling:
    """One ground's p-values on the suspects of one source.

    Attributes:
        source: `SourceZoo.key`.
        ground: its name, the statistic included.
        siblings: how many judged; 0 for a ground without.
        probes: how many were asked of each suspect.
        p_values: by member; 1.0 for suspects that are no evidence.
        statistics: by member: larger for more similar models; empty where the ground has none.
        seconds: of the comparison, for each suspect.
        details: further JSON values.
    """

    source: str
    ground: str
    siblings: int
    probes: int
    p_values: Mapping[str, float]
    statistics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


def rule_by_siblings(
    source: SourceZoo, count: int, probes: int | None = None, *, score: str = "default"
) -> tuple[Ruling, Ruling]:
    """The sibling test with some of the siblings; the siblings left over are judged as honest suspects.

    Args:
        source: with at least ``count`` siblings.
        count: of siblings that judge, the first ones.
        probes: number of probes, those on which source and these siblings disagree most. Default: all.
        score: see `sibling_test`.

    Returns:
        The exact ruling and that by Student's t.
    """
    names = [member.name for member in source.loaded.siblings]
    judges, kin = names[:count], names[count:]
    suspects = [*kin, *(member.name for member in source.loaded.suspects)]
    outputs = source.outputs
    if probes is not None and probes < source.count:
        order = disputed_order([outputs[name] for name in (source.loaded.source, *judges)])
        outputs = limited(outputs, torch.sort(order[:probes]).values)
    start = time.perf_counter()
    result = sibling_test(
        outputs[source.loaded.source],
        [outputs[name] for name in judges],
        {name: outputs[name] for name in suspects},
        score=score,
        output_form=source.loaded.form,
    )
    seconds = (time.perf_counter() - start) / max(1, len(suspects))
    asked = len(outputs[source.loaded.source])
    statistics = {name: value for name, value in result.statistic.items() if np.isfinite(value)}
    details = {
        "score": score,
        "inconclusive": [n for n, verdict in result.verdict.items() if verdict == "inconclusive"],
    }
    suffix = "" if score == "default" else f", {score}"
    return (
        Ruling(source.key, EXACT + suffix, count, asked, dict(result.p_exact), statistics, seconds, details),
        Ruling(source.key, STUDENT + suffix, count, asked, dict(result.p_student), statistics, seconds, details),
    )


def rule_by_pool(
    source: SourceZoo, statistic: str, distances: Mapping[str, float], probes: int, seconds: float = 0.0
) -> list[Ruling]:
    """The null pool by kind, by kinds with enough nulls, and one pool of all kinds; the others judge an honest model.

    By kind the largest p-value over kinds counts. A kind with too few nulls for α has only p-values above α, so that
    nobody is accused: the verdict is inconclusive.

    Args:
        source: the zoo.
        statistic: name of the distance.
        distances: by member; NaN where models cannot be compared.
        probes: that were asked.
        seconds: of one comparison.
    """
    p_values: dict[str, dict[str, float]] = {POOL: {}, LARGE_POOL: {}, MIXED_POOL: {}}
    for member in source.loaded.suspects:
        _judge_by_pools(source, member, distances, p_values)
    return [
        Ruling(source.key, f"{ground}, {statistic}", 0, probes, of, seconds=seconds) for ground, of in p_values.items()
    ]


def _judge_by_pools(
    source: SourceZoo, member: ZooMember, distances: Mapping[str, float], p_values: Mapping[str, dict[str, float]]
) -> None:
    """Add one suspect's p-values by each of the pools that are wanted."""
    honest = [m for m in source.loaded.independents if m.name != member.name]
    counts = Counter(m.origin for m in honest)
    pools = {
        POOL: honest,
        LARGE_POOL: [m for m in honest if counts[m.origin] >= LARGE_KIND],
        MIXED_POOL: [dataclasses.replace(m, origin=HONEST[0]) for m in honest],
    }
    for ground, of in p_values.items():
        of[member.name] = max(p_by_kind(member, distances, pools[ground]).values(), default=1.0)


def rule_by_cohort(source: SourceZoo) -> list[Ruling]:
    """The pools of `rule_by_pool` with the similarity given the other nulls, the default without siblings."""
    outputs, loaded = source.outputs, source.loaded
    p_values: dict[str, dict[str, float]] = {POOL: {}, LARGE_POOL: {}, MIXED_POOL: {}}
    # All probes are disputed where there are no more than the score takes: one product then serves all suspects.
    probes = evenly_spaced(source.count, MAX_PROBES)
    names = [m.name for m in loaded.suspects]
    place = {name: i for i, name in enumerate(names)}
    start = time.perf_counter()
    channels = cohort_products(outputs[loaded.source][probes], [outputs[name][probes] for name in names], loaded.form)
    for member in loaded.suspects:
        pool = [member.name, *(m.name for m in loaded.independents if m.name != member.name)]
        found = distances_given_others(channels, [place[name] for name in pool])
        _judge_by_pools(source, member, dict(zip(pool, found.tolist(), strict=True)), p_values)
    seconds = (time.perf_counter() - start) / max(1, len(loaded.suspects))
    return [Ruling(source.key, f"{g}, {COHORT}", 0, len(probes), of, seconds=seconds) for g, of in p_values.items()]


def rule_by_contrast(source: SourceZoo, count: int) -> list[Ruling]:
    """The pools of `rule_by_pool` with the contrast to some siblings: a suspect is standardised with the nulls alone.

    Args:
        source: with at least ``count`` siblings.
        count: of siblings, the first ones.
    """
    outputs, loaded = source.outputs, source.loaded
    names = [member.name for member in loaded.suspects]
    siblings = [outputs[member.name] for member in loaded.siblings[:count]]
    start = time.perf_counter()
    channels = contrast_channels(outputs[loaded.source], siblings, [outputs[name] for name in names], loaded.form)
    at = {name: i for i, name in enumerate(names)}
    p_values: dict[str, dict[str, float]] = {POOL: {}, LARGE_POOL: {}, MIXED_POOL: {}}
    for name, member in zip(names, loaded.suspects, strict=True):
        pool = [name, *(m.name for m in loaded.independents if m.name != name)]
        rows = [at[each] for each in pool]
        distances = dict(zip(pool, largest_channel([values[rows] for values in channels]).tolist(), strict=True))
        _judge_by_pools(source, member, distances, p_values)
    seconds = (time.perf_counter() - start) / max(1, len(names))
    return [
        Ruling(source.key, f"{g}, contrast", count, source.count, of, seconds=seconds) for g, of in p_values.items()
    ]
