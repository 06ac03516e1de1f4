"""Evaluate methods on a labelled zoo: figures of merit, curves, and a description of the zoo and the machine."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import _backend
from ..io.files import StrPath, atomic_write
from ..io.progress import track
from ..probes.provenance import step_versions
from ..scores import FIXED, PRESETS, Score, preset_probes
from ..verdict import checks
from .curves import auc_by_count, auc_by_quality, grid
from .loaded_zoo import LoadedZoo, is_adaptive
from .methods import Method, check_probe_set, preset_method, read_peers, score_method
from .query_time import seconds_per_probe
from .resampled import resampled_distances
from .summary import nan_to_none, summarise
from .tables import csv_rows, markdown

KIND = "sac_fast evaluation"
FORMAT_VERSION = 1
RESULTS_FILE = "results.json"


class ZooEvaluation(NamedTuple):
    """Result of `evaluate`.

    Attributes:
        results: JSON values, the contents of results.json.
        loaded: the zoo with its outputs, for figures (`sac_fast.evaluation.figures.write_figures`).
    """

    results: dict[str, Any]
    loaded: LoadedZoo

    def save(self, folder: StrPath) -> None:
        """Write results.json, results.md and results.csv to a folder, each atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        for name, text in (
            (RESULTS_FILE, json.dumps(self.results, indent=1, allow_nan=False) + "\n"),
            ("results.md", markdown(self.results)),
            ("results.csv", csv_rows(self.results)),
        ):
            with atomic_write(Path(folder) / name) as handle:
                handle.write(text.encode())


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
) -> ZooEvaluation:
    """Evaluate presets, scores and peers on a labelled zoo, from its fingerprints alone.

    Args:
        folder: folder of the zoo. Members without outputs are left out and listed.
        presets: names in `sac_fast.scores.PRESETS`. Presets, scores and peers that cannot be evaluated on this zoo (too
            few models, missing probes) are listed under ``not_evaluated`` with the reason.
        scores: names of further fixed scores, see `sac_fast.scores.Score.parse`.
        peers: JSON file of `benchmarks/bench_baselines.py` on the same zoo.
        with_grid: also evaluate every fixed score (minutes).
        time_queries: run the source on the probes, so that times include the queries. This imports the callable named
            in zoo.json.
        alpha, resamples, seed: see `sac_fast.evaluate_distances`.
        probe_resamples: number of resamples of the probes for the intervals of the fixed presets, at least 2; 0: none.
        progress: show progress bars on stderr.

    Returns:
        The results, and the zoo with its outputs.

    Raises:
        FileFormatError: a damaged zoo or file of peers.
        ValueError: an unknown preset or score, a rate or number of resamples out of range, or a score on probes that
            the zoo does not have.

    Example::

        >>> evaluation = sac_fast.evaluate("zoo", presets=["sac-jc", "robust"])  # doctest: +SKIP
        >>> evaluation.save("results")  # doctest: +SKIP
    """
    start = time.perf_counter()
    further = _check_arguments(presets, scores, alpha, probe_resamples)
    loaded = LoadedZoo.load(folder, progress=progress)
    methods, not_evaluated = _measure(loaded, presets, further, peers, time_queries)
    if probe_resamples:
        methods = [
            dataclasses.replace(m, resampled=resampled_distances(loaded, score, resamples=probe_resamples, seed=seed))
            if (score := FIXED.get(m.name))
            else m
            for m in track(methods, "resampling probes", enabled=progress)
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
        "methods": [
            _method_results(method, loaded, alpha=alpha, resamples=resamples, seed=seed)
            for method in track(methods, "intervals", enabled=progress)
        ],
        "not_evaluated": not_evaluated,
    }
    evaluated = tuple(method.name for method in methods if method.name in PRESETS)
    results["auc_by_count"] = auc_by_count(loaded, evaluated, progress=progress)
    results["auc_by_quality"] = auc_by_quality(loaded, presets, progress=progress)
    if with_grid:
        results["grid"] = grid(loaded, progress=progress)
    results["machine"] = _describe_machine()
    results["seconds"] = round(time.perf_counter() - start, 2)
    return ZooEvaluation(results, loaded)


def _check_arguments(presets: Sequence[str], scores: Sequence[str], alpha: float, probe_resamples: int) -> list[Score]:
    """Check before any file is read; returns the parsed scores."""
    checks.check_rate("alpha", alpha)
    if probe_resamples < 0 or probe_resamples == 1:
        raise ValueError(f"probe_resamples must be 0 or at least 2, got {probe_resamples}")
    for preset in presets:
        preset_probes(preset)
    return [Score.parse(name) for name in scores]


def _measure(
    loaded: LoadedZoo, presets: Sequence[str], scores: Sequence[Score], peers: StrPath | None, time_queries: bool
) -> tuple[list[Method], dict[str, str]]:
    """All methods that can be evaluated on this zoo, and the reasons for those that cannot."""
    for score in scores:
        check_probe_set(loaded, score)
    methods: list[Method] = []
    reasons: dict[str, str] = {}
    jobs: list[tuple[str, Callable[[], Method]]] = [
        *((preset, partial(preset_method, loaded, preset)) for preset in dict.fromkeys(presets)),
        *((score.name, partial(score_method, loaded, score)) for score in scores),
    ]
    for name, measure in jobs:
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
        if undefined := [m.name for m in loaded.independents if not np.isfinite(method.distances[m.name])]:
            reasons[method.name] = (
                f"distances of all independents are needed, and that of {undefined[0]!r} is not defined"
            )
    return [method for method in methods if method.name not in reasons], reasons


def _method_results(method: Method, loaded: LoadedZoo, *, alpha: float, resamples: int, seed: int) -> dict[str, Any]:
    return {
        "name": method.name,
        "description": method.description,
        "from": method.source,
        "queries": method.queries,
        "compare_seconds": method.compare_seconds,
        "query_seconds": method.query_seconds,
        "details": dict(method.details),
        **summarise(
            method.distances,
            loaded.suspects,
            alpha=alpha,
            resamples=resamples,
            seed=seed,
            cells=method.name in PRESETS,
            resampled=method.resampled,
        ),
        "distances": {name: nan_to_none(distance) for name, distance in method.distances.items()},
    }


def _describe_machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": _backend.cpu_threads(),
        "versions": step_versions(torch=torch.__version__, python=platform.python_version()),
    }


def describe_zoo(loaded: LoadedZoo) -> dict[str, Any]:
    """Task, numbers of models and accuracies by origin, as JSON values."""
    zoo = loaded.zoo
    accuracies: dict[tuple[str, str], list[float | None]] = {}
    for member in loaded.members:
        accuracies.setdefault((member.role, member.origin), []).append(member.accuracy)
    groups: list[dict[str, Any]] = []
    for (role, origin), values in accuracies.items():
        known = [value for value in values if value is not None]
        shares = {"lowest": min(known), "median": float(np.median(known)), "highest": max(known)} if known else None
        about = {"role": role, "origin": origin, "adaptive": is_adaptive(origin)}
        groups.append({**about, "count": len(values), "accuracy": shares})
    return {
        "task": dict(zoo.task),
        "source": {"name": zoo.source.name, "architecture": zoo.source.architecture, "accuracy": zoo.source.accuracy},
        "architectures": sorted({m.architecture for m in loaded.members}),
        "probes": {name: loaded.count(name) for name in loaded.outputs},
        "groups": groups,
        "skipped": list(loaded.skipped),
        "training_seconds": sum(m.seconds or 0.0 for m in zoo.members),
    }
