"""Evaluate a labelled zoo: every method's figures, curves, and what they were measured on."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from .. import _backend
from ..io.container import StrPath, package_version
from ..io.progress import track
from ..labelled_zoo.folder import LabelledZoo
from ..scores import FIXED, PRESETS, Score, preset_probes
from ..verdict import checks
from .curves import auc_by_count, auc_by_quality, grid
from .loaded_zoo import LoadedZoo, is_adaptive
from .methods import Method, preset_method, read_peers, score_method
from .query_time import seconds_per_probe
from .resampled import resampled_distances
from .summary import summarise

KIND = "sac_fast evaluation"
FORMAT_VERSION = 1


def evaluate(
    folder: StrPath,
    *,
    presets: Sequence[str] = PRESETS,
    scores: Sequence[str] = (),
    peers: StrPath | None = None,
    with_grid: bool = False,
    time_queries: bool = False,
    alpha: float = 0.05,
    resamples: int = 2000,
    probe_resamples: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> tuple[dict[str, Any], LoadedZoo]:
    """Evaluate presets, scores and peers on a labelled zoo, from its fingerprints alone.

    Args:
        folder: of the zoo; members without outputs yet are left out and named.
        presets: of `sac_fast.scores.PRESETS`. One that the zoo is too small for, or lacks the probes for, is left out,
            with the reason under ``not_evaluated``; and so are scores and peers that the zoo does not suit.
        scores: names of further fixed scores, see `Score.parse`.
        peers: JSON of `benchmarks/bench_baselines.py` on the same zoo.
        with_grid: also every fixed score there is (minutes).
        time_queries: run the source on the probes, so that times hold the answering too; it imports the callable that
            zoo.json names.
        alpha, resamples, seed: see `evaluate_distances`.
        probe_resamples: of the probes, for intervals over probes of the fixed presets, at least 2; 0: none.
        progress: bars on stderr.

    Returns:
        What results.json holds, and the outputs, for figures.

    Raises:
        FileFormatError: a damaged zoo or file of peers.
        ValueError: an unknown preset or score, a rate or number of resamples out of range, or a score on probes that
            the zoo lacks.
    """
    start = time.perf_counter()
    # what can be refused at once is, before anything is read
    checks.check_rate("alpha", alpha)
    if probe_resamples < 0 or probe_resamples == 1:
        raise ValueError(f"probe_resamples must be 0 or at least 2, got {probe_resamples}")
    for preset in presets:
        preset_probes(preset)
    further = [Score.parse(name) for name in scores]
    loaded = LoadedZoo.load(folder, progress=progress)
    for score in further:
        if score.probes not in loaded.outputs:
            raise ValueError(f"score {score.name!r} needs a probe set of {', '.join(loaded.outputs)}")
    methods: list[Method] = []
    reasons: dict[str, str] = {}
    asked: list[tuple[str, Callable[[], Method]]] = [
        *((preset, partial(preset_method, loaded, preset)) for preset in dict.fromkeys(presets)),
        *((score.name, partial(score_method, loaded, score)) for score in further),
    ]
    for name, measure in asked:
        try:
            methods.append(measure())
        except ValueError as error:
            reasons[name] = str(error)
    if time_queries and methods:
        each = seconds_per_probe(loaded.zoo, next(iter(loaded.outputs)))
        methods = [dataclasses.replace(method, query_seconds=each * method.queries) for method in methods]
    if peers is not None:
        methods += read_peers(peers, loaded.suspects)
    for method in methods:
        if lost := [m.name for m in loaded.independents if not np.isfinite(method.distances[m.name])]:
            reasons[method.name] = f"distances of all independents are needed, and that of {lost[0]!r} is not defined"
    methods = [method for method in methods if method.name not in reasons]
    if probe_resamples:
        methods = [
            dataclasses.replace(method, resampled=_resampled(loaded, method, probe_resamples, seed))
            for method in track(methods, "resampling probes", enabled=progress)
        ]
    results: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "zoo": describe_zoo(loaded),
        "members": {
            m.name: {"role": m.role, "origin": m.origin, "architecture": m.architecture, "accuracy": m.accuracy}
            for m in loaded.suspects
        },
        "alpha": alpha,
        "methods": [],
        "not_evaluated": reasons,
    }
    for method in track(methods, "intervals", enabled=progress):
        summary = summarise(
            method.distances,
            loaded.suspects,
            alpha=alpha,
            resamples=resamples,
            seed=seed,
            cells=method.name in PRESETS,
            resampled=method.resampled,
        )
        results["methods"].append(
            {
                "name": method.name,
                "description": method.description,
                "from": method.source,
                "queries": method.queries,
                "compare_seconds": method.compare_seconds,
                "query_seconds": method.query_seconds,
                "details": dict(method.details),
                **summary,
                "distances": {name: None if np.isnan(d) else d for name, d in method.distances.items()},
            }
        )
    evaluated = tuple(method.name for method in methods if method.name in PRESETS)
    results["auc_by_count"] = auc_by_count(loaded, evaluated, progress=progress)
    results["auc_by_quality"] = auc_by_quality(loaded, presets, progress=progress)
    if with_grid:
        results["grid"] = grid(loaded, progress=progress)
    results["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": _backend.cpu_threads(),
        "versions": {
            "sac_fast": package_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    results["seconds"] = round(time.perf_counter() - start, 2)
    return results, loaded


def _resampled(loaded: LoadedZoo, method: Method, resamples: int, seed: int) -> Any:
    if method.name not in FIXED:
        return None
    return resampled_distances(loaded, FIXED[method.name], resamples=resamples, seed=seed)


def describe_zoo(loaded: LoadedZoo) -> dict[str, Any]:
    """What a zoo holds, JSON-able: task, numbers and accuracies by how the models came about."""
    zoo: LabelledZoo = loaded.zoo
    groups: dict[str, dict[str, Any]] = {}
    for member in loaded.members:
        group = groups.setdefault(
            f"{member.role} {member.origin}",
            {"role": member.role, "origin": member.origin, "adaptive": is_adaptive(member.origin), "accuracies": []},
        )
        group["accuracies"].append(member.accuracy)
    for group in groups.values():
        known = [a for a in group.pop("accuracies") if a is not None]
        group["count"] = sum(1 for m in loaded.members if (m.role, m.origin) == (group["role"], group["origin"]))
        group["accuracy"] = (
            {"lowest": min(known), "median": float(np.median(known)), "highest": max(known)} if known else None
        )
    return {
        "task": dict(zoo.task),
        "source": {"name": zoo.source.name, "architecture": zoo.source.architecture, "accuracy": zoo.source.accuracy},
        "architectures": sorted({m.architecture for m in loaded.members}),
        "probes": {name: loaded.count(name) for name in loaded.outputs},
        "groups": list(groups.values()),
        "skipped": list(loaded.skipped),
        "training_seconds": sum(m.seconds or 0.0 for m in zoo.members),
    }
