"""All rulings on one source: by siblings, by null pools, by weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..scores import PRESETS
from ..verify.contrast import MIN_COHORT
from ..verify.siblings import sibling_test
from .accusation_matrix import accusation_matrix, is_below
from .merits import Measured, measure_preset
from .rates import ALL, RATES
from .rulings import MAX_PROBES, Ruling, rule_by_cohort, rule_by_contrast, rule_by_pool, rule_by_siblings
from .sources import SourceZoo
from .weights_rows import weights_rows

#: (number of siblings, rate, kind) -> (accused, judged)
Rotated = dict[tuple[int, float, str], tuple[int, int]]


@dataclass(frozen=True)
class Judged:
    """What is known of one source.

    Attributes:
        source: the zoo.
        rulings: p-values by ground.
        presets: their distances.
        not_evaluated: presets that cannot be evaluated here, with the reason.
        matrix: by preset and rate, see `accusation_matrix`.
        rotated: honest models accused with each of the members in the role of the source.
        smallest_adjusted: over all honest models, the smallest p-value adjusted for all of them (max-T).
        weights: the weights test, one row a model.
    """

    source: SourceZoo
    rulings: list[Ruling]
    presets: list[Measured] = field(default_factory=list)
    not_evaluated: dict[str, str] = field(default_factory=dict)
    matrix: dict[tuple[str, float], dict[tuple[str, str], tuple[int, int]]] = field(default_factory=dict)
    rotated: Rotated = field(default_factory=dict)
    smallest_adjusted: float | None = None
    weights: list[dict[str, Any]] = field(default_factory=list)


def judge_source(
    source: SourceZoo,
    sibling_counts: Sequence[int],
    probe_counts: Sequence[int],
    *,
    rotate: bool = False,
    weights: bool = False,
) -> Judged:
    """Every ruling that the source's zoo allows.

    Args:
        source: the zoo.
        sibling_counts: numbers of siblings.
        probe_counts: numbers of probes, asked with the largest number of siblings up to 19.
        rotate: see `Judged.rotated`.
        weights: run the weights test.
    """
    rulings: list[Ruling] = []
    there = len(source.loaded.siblings)
    counts = [count for count in sibling_counts if count <= there]
    for count in counts:
        rulings += rule_by_siblings(source, count)
    usual = max((count for count in counts if count <= 19), default=0)
    if usual:
        for score in ("sac-jc", "correlations"):
            rulings += rule_by_siblings(source, usual, MAX_PROBES, score=score)
        for count in sorted({2, usual}):
            rulings += rule_by_contrast(source, count)
        for probes in (count for count in probe_counts if count < source.count):
            rulings += rule_by_siblings(source, usual, probes)
    if len(source.loaded.independents) > MIN_COHORT:
        rulings += rule_by_cohort(source)
    matrix = {}
    presets: list[Measured] = []
    not_evaluated = {}
    for preset in PRESETS:
        try:
            measured = measure_preset(source, preset)
        except ValueError as error:
            not_evaluated[preset] = str(error)
            continue
        presets.append(measured)
        rulings.extend(rule_by_pool(source, preset, measured.distances, measured.queries, measured.seconds))
        for alpha in RATES:
            matrix[preset, alpha] = accusation_matrix(measured.distances, source.loaded.independents, alpha)
    return Judged(
        source,
        rulings,
        presets,
        not_evaluated,
        matrix,
        rotated_accusations(source, counts) if rotate else {},
        smallest_adjusted(source, usual) if usual else None,
        weights_rows(source) if weights else [],
    )


def rotated_accusations(source: SourceZoo, counts: Sequence[int]) -> Rotated:
    """Honest models judged by Student's t with each of source and siblings in the role of the source.

    Args:
        source: the zoo.
        counts: numbers of siblings that judge; the next ones in a circle.

    Returns:
        (accused, judged) by number of siblings, rate and kind, all members together.
    """
    names = [source.loaded.source, *(m.name for m in source.loaded.siblings)]
    honest = {m.name: m.origin for m in source.loaded.independents}
    suspects = {name: source.outputs[name] for name in honest}
    found: Rotated = {}
    for count in counts:
        for at, name in enumerate(names):
            judges = [names[(at + step) % len(names)] for step in range(1, count + 1)]
            result = sibling_test(
                source.outputs[name], [source.outputs[judge] for judge in judges], suspects,
                output_form=source.loaded.form,
            )  # fmt: skip
            for suspect, kind in honest.items():
                for alpha in RATES:
                    for group in (ALL, kind):
                        accused, judged = found.get((count, alpha, group), (0, 0))
                        hit = is_below(result.p_student[suspect], alpha)
                        found[count, alpha, group] = (accused + hit, judged + 1)
    return found


def smallest_adjusted(source: SourceZoo, count: int) -> float:
    """The smallest max-T p-value of all honest models, judged together."""
    names = [m.name for m in source.loaded.siblings[:count]]
    suspects = {m.name: source.outputs[m.name] for m in source.loaded.independents}
    result = sibling_test(
        source.outputs[source.loaded.source], [source.outputs[name] for name in names], suspects,
        output_form=source.loaded.form,
    )  # fmt: skip
    return min(result.adjusted.values())
