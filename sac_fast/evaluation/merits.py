"""Figures of merit of statistics on several sources: AUC and TPR by attack, ROC curves, a choice without a leak."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..scores import CALIBRATED, FIXED, Score, preset_probes
from ..verdict import auc, roc_curve, tpr_at_fpr
from ..verify.contrast import contrast_channels, largest_channel
from .choice import Figures, nested_choices
from .contrast_mean import contrast_mean
from .methods import calibrated_method, preset_method, score_method
from .rulings import EXACT, MAX_PROBES, Ruling
from .sources import PAPER, SourceZoo, disputed_order, family, limited

#: Fixed statistics among which one is chosen; each is a score without its probe set.
FIXED_STATISTICS = (
    "raw/cosine/l1", "raw/pearson/l1", "softmax(1)/pearson/l1", "softmax(1)/pearson/rsa", "log-softmax(4)/pearson/rsa",
    "log-softmax(4)/regression", "agreement", "likelihood",
)  # fmt: skip
#: Statistics of the sibling test, with the ground that has them.
SIBLINGS = "siblings"
SIBLING_STATISTICS = {
    SIBLINGS: EXACT,
    "siblings, correlations": f"{EXACT}, correlations",
    "siblings, sac-jc": f"{EXACT}, sac-jc",
}
CONTRAST = "contrast"
CONTRAST_MEAN = "contrast, mean"
#: Numbers of queries at which statistics are compared.
BUDGETS = (100, 200, 400)
#: False positive rates of the ROC curves.
ROC_RATES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Measured:
    """Distances by one statistic of the suspects of one source.

    Attributes:
        source: the zoo.
        statistic: its name.
        distances: by member; NaN where models cannot be compared.
        queries: images that each suspect is sent.
        seconds: of one comparison.
    """

    source: SourceZoo
    statistic: str
    distances: Mapping[str, float]
    queries: int
    seconds: float

    def aucs(self) -> dict[str, float]:
        """AUC of each attack's working thefts against all honest models; ½ where they cannot be compared."""
        return {
            attack: auc(near, self._far()) if np.isfinite(near).all() else 0.5 for attack, near in self._near().items()
        }

    def tpr(self, rate: float) -> dict[str, float]:
        """TPR at a false positive rate by attack; 0 where models cannot be compared."""
        return {
            attack: tpr_at_fpr(near, self._far(), rate) if np.isfinite(near).all() else 0.0
            for attack, near in self._near().items()
        }

    def roc(self) -> list[float]:
        """TPR at each of ``ROC_RATES``, all attacks that are not adaptive together."""
        near = [
            value for attack, of in self._near().items() if family(attack) != "adaptive" for value in of
            if np.isfinite(value)
        ]  # fmt: skip
        if not near:
            return []
        curve = roc_curve(near, self._far())
        at = np.searchsorted(curve.false_positive_rate, ROC_RATES, side="right") - 1
        return [float(curve.true_positive_rate[i]) for i in at]

    def _far(self) -> list[float]:
        # A distance that does not exist is no evidence: farther than all others.
        values = [self.distances[m.name] for m in self.source.loaded.independents]
        top = max((v for v in self.distances.values() if np.isfinite(v)), default=0.0) + 1.0
        return [value if np.isfinite(value) else top for value in values]

    def _near(self) -> dict[str, list[float]]:
        groups: dict[str, list[float]] = {}
        for member in self.source.loaded.stolen:
            if self.source.works(member):
                groups.setdefault(member.origin, []).append(self.distances[member.name])
        return groups


def measure_fixed(source: SourceZoo, statistic: str, queries: int | None = None) -> Measured:
    """A fixed statistic on the source's probe set, on evenly spaced probes where fewer are asked for.

    Raises:
        ValueError: too few probes for a regression.
    """
    score = Score.parse(f"{statistic}@{source.probes}" + ("" if queries is None else f":{queries}"))
    method = score_method(source.loaded, score, statistic)
    return Measured(source, statistic, method.distances, method.queries, method.compare_seconds or 0.0)


def measure_preset(source: SourceZoo, preset: str) -> Measured:
    """A preset on its own probe sets; on the source's where the zoo lacks one.

    Raises:
        ValueError: it cannot be computed on this zoo.
    """
    if preset in FIXED and FIXED[preset].probes not in source.loaded.outputs:
        score = dataclasses.replace(FIXED[preset], probes=source.probes)
        method = score_method(source.loaded, score, preset)
    elif preset == "calibrated" and not set(preset_probes(preset)) <= set(source.loaded.outputs):
        statistics = tuple(dataclasses.replace(each, probes=source.probes, count=None) for each in CALIBRATED)
        method = calibrated_method(source.loaded, statistics)
    else:
        method = preset_method(source.loaded, preset)
    return Measured(source, preset, method.distances, method.queries, method.compare_seconds or 0.0)


def of_ruling(source: SourceZoo, statistic: str, ruling: Ruling) -> Measured:
    """The statistic of a sibling test that was done, negative: small for similar models."""
    distances = {m.name: -ruling.statistics.get(m.name, float("nan")) for m in source.loaded.suspects}
    return Measured(source, statistic, distances, ruling.probes, ruling.seconds)


def measure_contrast(source: SourceZoo, count: int, queries: int | None = None, statistic: str = CONTRAST) -> Measured:
    """The contrast with siblings (`contrast_distances` or `contrast_mean`), all suspects standardised together."""
    names = [source.loaded.source, *(m.name for m in source.loaded.siblings[:count])]
    outputs = source.outputs
    if queries is not None and queries < source.count:
        order = disputed_order([outputs[name] for name in names])
        outputs = limited(outputs, torch.sort(order[:queries]).values)
    suspects = [m.name for m in source.loaded.suspects]
    start = time.perf_counter()
    parts = outputs[names[0]], [outputs[name] for name in names[1:]], [outputs[name] for name in suspects]
    largest = lambda *given: largest_channel(contrast_channels(*given))  # noqa: E731
    distances = (contrast_mean if statistic == CONTRAST_MEAN else largest)(*parts, source.loaded.form)
    seconds = (time.perf_counter() - start) / max(1, len(suspects))
    by_name = dict(zip(suspects, distances.tolist(), strict=True))
    return Measured(source, statistic, by_name, len(outputs[names[0]]), seconds)


def measure_all(
    source: SourceZoo, rulings: Sequence[Ruling], queries: int | None = None
) -> tuple[list[Measured], dict[str, str]]:
    """Every fixed statistic that the source's zoo allows, and the reasons for the others.

    Args:
        source: the zoo.
        rulings: sibling tests that were done, of which those with so many probes and the most siblings up to 19 count.
        queries: number of probes. None: all.
    """
    most = min(source.count, MAX_PROBES) if queries is None else queries
    jobs: list[tuple[str, Callable[[], Measured]]] = [
        (name, partial(measure_fixed, source, name, most)) for name in FIXED_STATISTICS
    ]
    if source.loaded.siblings:
        siblings = min(len(source.loaded.siblings), 19)
        jobs += [(name, partial(measure_contrast, source, siblings, most, name)) for name in (CONTRAST, CONTRAST_MEAN)]
    found: list[Measured] = []
    reasons: dict[str, str] = {}
    for name, measure in jobs:
        try:
            found.append(measure())
        except ValueError as error:
            reasons[name] = str(error)
    count = max((r.siblings for r in rulings if r.siblings <= 19), default=0)
    for name, ground in SIBLING_STATISTICS.items():
        of = [r for r in rulings if (r.ground, r.siblings) == (ground, count)]
        wanted = queries or max((r.probes for r in of), default=0)
        found += [of_ruling(source, name, r) for r in of if r.probes == wanted]
    return found, reasons


def summarise_statistics(measured: Sequence[Measured], queries: int | None = None) -> list[dict[str, Any]]:
    """AUC and TPR of each statistic by attack, as means over sources, with the spread over sources.

    Args:
        measured: one for each source and statistic.
        queries: how many each suspect was sent; None: all probes that the statistic takes, which differ by source.
    """
    rows = []
    for statistic in dict.fromkeys(m.statistic for m in measured):
        of = [m for m in measured if m.statistic == statistic]
        aucs, tprs = [m.aucs() for m in of], [m.tpr(0.05) for m in of]
        by_source = [_mean_usual(values) for values in aucs]
        curves = [curve for m in of if (curve := m.roc())]
        rows.append(
            {
                "statistic": statistic,
                "queries": queries,
                "most_queries": max(m.queries for m in of),
                "sources": len(of),
                "mean_auc": _mean(by_source),
                "mean_auc_by_source": {m.source.key: value for m, value in zip(of, by_source, strict=True)},
                "paper_auc_by_source": {m.source.key: _mean_paper(values) for m, values in zip(of, aucs, strict=True)},
                "mean_tpr_5": _mean([_mean_usual(values) for values in tprs]),
                "auc_by_attack": _by_attack(aucs),
                "roc": np.mean(curves, axis=0).tolist() if curves else [],
                "seconds": float(np.mean([m.seconds for m in of])),
            }
        )
        if statistic in (SIBLINGS, CONTRAST, CONTRAST_MEAN):
            rows[-1]["cells"] = {
                m.source.key: {attack: round(value, 4) for attack, value in values.items()}
                for m, values in zip(of, aucs, strict=True)
            }
    return rows


def choices(measured: Sequence[Measured]) -> dict[str, Any]:
    """Statistics chosen on the other tasks, and on the other tasks and families of attacks; see `nested_choices`."""
    figures = figures_by_task(measured)
    result: dict[str, Any] = {}
    for name, leave in (("other_tasks", False), ("other_tasks_and_families", True)):
        made = nested_choices(figures, leave_family_out=leave)
        usual = [choice.figure for choice in made if choice.family != "adaptive"]
        result[name] = {"cells": [dataclasses.asdict(choice) for choice in made], "mean_auc": _mean(usual)}
    return result


def figures_by_task(measured: Sequence[Measured]) -> dict[str, Figures]:
    """Mean AUC by statistic, task and family of attacks, each source and attack alike."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for one in measured:
        of_task = values.setdefault(one.statistic, {}).setdefault(one.source.task, {})
        by_family: dict[str, list[float]] = {}
        for attack, value in one.aucs().items():
            by_family.setdefault(family(attack), []).append(value)
        for name, each in by_family.items():
            of_task.setdefault(name, []).append(float(np.mean(each)))
    return {
        statistic: {task: {name: float(np.mean(each)) for name, each in of.items()} for task, of in tasks.items()}
        for statistic, tasks in values.items()
    }


def _mean_usual(by_attack: Mapping[str, float]) -> float | None:
    """Mean over the attacks that are not adaptive, each alike."""
    return _mean([value for attack, value in by_attack.items() if family(attack) != "adaptive"])


def _mean_paper(by_attack: Mapping[str, float]) -> float | None:
    """Mean over the paper's attacks, each alike."""
    return _mean([value for attack, value in by_attack.items() if attack.startswith(PAPER)])


def _by_attack(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    attacks = sorted({attack for row in rows for attack in row}, key=lambda name: (family(name), name))
    each = {attack: [row[attack] for row in rows if attack in row] for attack in attacks}
    return {
        attack: {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values), "sources": len(values)}
        for attack, values in each.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
