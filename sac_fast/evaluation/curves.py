"""Figures as a function of the number of probes, of the JPEG quality, and over the grid of fixed scores."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from ..io.progress import track
from ..scores import CALIBRATED, FIXED, CohortStatistic, Score
from .loaded_zoo import LoadedZoo
from .methods import calibrated_method, score_method
from .summary import attack_aucs, mean_auc, mean_tpr, nan_to_none

COUNTS = (25, 50, 100, 200, 400, 800, 1600, 2000)
_QUALITY = re.compile(r"jpeg-q([0-9]{1,3})")
GRID_TRANSFORMS = (
    "raw",
    "standardize",
    "softmax(1)",
    "softmax(4)",
    "log-softmax(1)",
    "hellinger(1)",
    "softmax(1)+standardize",
    "within-classes",
    "labels",
)
GRID_METRICS = ("cosine", "pearson", "spearman", "rbf")
GRID_COMPARISONS = ("l1", "l2", "rsa", "cka")


def auc_by_count(
    loaded: LoadedZoo, presets: tuple[str, ...], *, progress: bool = False
) -> dict[str, list[tuple[int, float | None]]]:
    """Mean AUC over the non-adaptive attacks against the total number of probes, for each preset.

    The AUC is None without non-adaptive attacks.
    """
    curves: dict[str, list[tuple[int, float | None]]] = {}
    jobs = [(preset, count) for preset in presets for count in COUNTS]
    for preset, count in track(jobs, "counting probes", enabled=progress):
        if preset == "calibrated":
            method = calibrated_method(loaded, limited(CALIBRATED, count, loaded))
        else:
            method = score_method(loaded, dataclasses.replace(FIXED[preset], count=count))
        curve = curves.setdefault(preset, [])
        # Beyond the size of the probe sets nothing changes.
        if not curve or method.queries > curve[-1][0]:
            curve.append((method.queries, nan_to_none(mean_auc(method.distances, loaded.suspects))))
    return curves


def limited(statistics: tuple[CohortStatistic, ...], count: int, loaded: LoadedZoo) -> tuple[CohortStatistic, ...]:
    """The statistics with `count` probes in total, each probe set keeping its share."""
    sizes = {s.probes: loaded.count(s.probes, s.count) for s in statistics}
    share = min(1.0, count / sum(sizes.values()))
    return tuple(dataclasses.replace(s, count=max(2, round(sizes[s.probes] * share))) for s in statistics)


def auc_by_quality(
    loaded: LoadedZoo, presets: Sequence[str] = tuple(FIXED), *, progress: bool = False
) -> dict[str, list[tuple[int, float | None]]]:
    """Mean AUC of the fixed presets' measures on JPEG probes of every quality in the zoo."""
    qualities = sorted((int(match[1]), name) for name in loaded.outputs if (match := _QUALITY.fullmatch(name)))
    curves: dict[str, list[tuple[int, float | None]]] = {}
    jobs = [
        (preset, quality, dataclasses.replace(FIXED[preset], probes=name))
        for preset in dict.fromkeys(presets)
        if preset in FIXED
        for quality, name in qualities
    ]
    for preset, quality, score in track(jobs, "JPEG qualities", enabled=progress):
        found_auc = mean_auc(score_method(loaded, score).distances, loaded.suspects)
        curves.setdefault(f"{preset}'s measure", []).append((quality, nan_to_none(found_auc)))
    return curves


def grid(loaded: LoadedZoo, *, progress: bool = False) -> list[dict[str, Any]]:
    """Evaluate every fixed score: transform × correlation × comparison × probe set, and `output_distance`.

    Returns:
        One row per score, the best first: ``score``, ``mean_auc`` (non-adaptive attacks, all independents),
        ``mean_auc_same_data`` (independents trained on the source's data), ``mean_tpr_5`` and ``attacks``. Undefined
        figures are None; their rows come last.
    """
    measures: list[tuple[str, Any, Any]] = [
        *itertools.product(GRID_TRANSFORMS, GRID_METRICS, GRID_COMPARISONS),
        *((transform, None, "regression") for transform in GRID_TRANSFORMS),
        ("agreement", None, None),
        ("likelihood", None, None),
    ]
    scores = [Score(*measure, probes) for probes in loaded.outputs for measure in measures]
    scores += [Score("shared-errors", None, None, p) for p, labels in loaded.labels.items() if labels is not None]
    rows: list[dict[str, Any]] = []
    kinds = sorted({m.origin for m in loaded.independents} - {"other-data"})
    for score in track(scores, "grid of scores", enabled=progress):
        distances = score_method(loaded, score).distances
        rows.append(
            {
                "score": score.name,
                "mean_auc": nan_to_none(mean_auc(distances, loaded.suspects)),
                "mean_auc_same_data": nan_to_none(mean_auc(distances, loaded.suspects, kinds)) if kinds else None,
                "mean_tpr_5": nan_to_none(mean_tpr(distances, loaded.suspects, 0.05)),
                "attacks": attack_aucs(distances, loaded.suspects),
            }
        )
    return sorted(rows, key=lambda row: -math.inf if row["mean_auc"] is None else row["mean_auc"], reverse=True)
