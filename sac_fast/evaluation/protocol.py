"""Evaluate the deployed verdicts on several sources and tasks, from the recorded outputs of their labelled zoos."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FileFormatError
from ..io.files import StrPath, atomic_write
from ..io.progress import track
from .accusation_matrix import is_below
from .judging import Judged, judge_source
from .merits import BUDGETS, Measured, choices, measure_all, summarise_statistics
from .protocol_tables import protocol_markdown
from .rates import ALL, RATES, Share, accusations, attacks_of, found, kinds_of
from .rulings import EXACT, KIN, PROBE_COUNTS, SIBLING_COUNTS, Ruling
from .run import describe_zoo
from .sources import SourceZoo, family, load_sources

KIND = "sac_fast evaluation of several sources"
FORMAT_VERSION = 1
RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Protocol:
    """What is computed.

    Attributes:
        sibling_counts: numbers of siblings, as far as a source has them.
        probe_counts: numbers of probes for the sibling test, as far as there are more.
        budgets: numbers of queries at which all statistics are compared.
        rotate: also judge honest models with each sibling in the role of the source (minutes).
        weights: also run the weights test where the zoos have weights.
    """

    sibling_counts: tuple[int, ...] = SIBLING_COUNTS
    probe_counts: tuple[int, ...] = PROBE_COUNTS
    budgets: tuple[int, ...] = BUDGETS
    rotate: bool = True
    weights: bool = True


class SourcesEvaluation(NamedTuple):
    """Result of `evaluate_sources`.

    Attributes:
        results: JSON values, the contents of results.json.
    """

    results: dict[str, Any]

    def save(self, folder: StrPath) -> None:
        """Write results.json and results.md to a folder, each atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        for name, text in (
            (RESULTS_FILE, json.dumps(self.results, indent=1, allow_nan=False) + "\n"),
            ("results.md", protocol_markdown(self.results)),
        ):
            with atomic_write(Path(folder) / name) as handle:
                handle.write(text.encode())


def evaluate_sources(
    folders: Sequence[StrPath],
    *,
    probes: str | None = None,
    protocol: Protocol | None = None,
    progress: bool = False,
) -> SourcesEvaluation:
    """Evaluate verdicts and statistics on the labelled zoos in some folders.

    Sources are the outer level: intervals over sources stand beside exact ones over models, since the honest models of
    one source are right or wrong together.

    Args:
        folders: labelled zoos, or folders of them (TASK/SOURCE/zoo.json). What is not finished is left out and listed.
        probes: name of the probe set. Default: "plain", or a zoo's first.
        protocol: what is computed. Default: everything.
        progress: show progress bars on stderr.

    Returns:
        The results.

    Raises:
        FileFormatError: no zoo that can be evaluated.

    Example::

        >>> evaluate_sources(["zoos"]).save("results")  # doctest: +SKIP
    """
    start = time.perf_counter()
    asked = protocol or Protocol()
    sources, left_out = load_sources(folders, probes=probes, progress=progress)
    if not sources:
        raise FileFormatError(f"folders must hold a zoo that can be evaluated, got none: {left_out}")
    judged = [
        judge_source(source, asked.sibling_counts, asked.probe_counts, rotate=asked.rotate, weights=asked.weights)
        for source in track(sources, "judging", enabled=progress)
    ]
    complete: list[Measured] = []
    by_budget: dict[int, list[Measured]] = {}
    not_evaluated: dict[str, dict[str, str]] = {}
    for one in track(judged, "measuring", enabled=progress):
        full, reasons = measure_all(one.source, one.rulings)
        complete += [*full, *one.presets]
        for budget in (count for count in asked.budgets if count < one.source.count):
            by_budget.setdefault(budget, []).extend(measure_all(one.source, one.rulings, budget)[0])
        not_evaluated[one.source.key] = reasons | one.not_evaluated
    by_key = {source.key: source for source in sources}
    results: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "protocol": dataclasses.asdict(asked),
        "sources": [_describe(source) for source in sources],
        "left_out": left_out,
        "not_evaluated": not_evaluated,
        **_verdicts(judged, by_key),
        "statistics": [
            *summarise_statistics(complete),
            *(row for budget, of in by_budget.items() for row in summarise_statistics(of, budget)),
        ],
        "choices": choices(complete),
        "seconds": round(time.perf_counter() - start, 2),
    }
    return SourcesEvaluation(results)


def _verdicts(judged: Sequence[Judged], sources: Mapping[str, SourceZoo]) -> dict[str, Any]:
    rulings = [ruling for one in judged for ruling in one.rulings]
    kinds, attacks = kinds_of(list(sources.values())), attacks_of(list(sources.values()))
    accused: list[dict[str, Any]] = []
    thefts: list[dict[str, Any]] = []
    for ground, siblings, probes, group in _grouped(rulings):
        about = {"ground": ground, "siblings": siblings, "probes": probes, "sources": len(group)}
        about["seconds"] = round(sum(ruling.seconds for ruling in group) / len(group), 6)
        for alpha in RATES:
            # No rank is that small: the test cannot accuse anybody.
            if ground.startswith(EXACT) and not is_below(1 / (1 + siblings), alpha):
                continue
            for kind in (ALL, *kinds, KIN):
                share = accusations(group, sources, alpha, kind)
                if share.models:
                    accused.append({**about, "alpha": alpha, "of": kind, **share.to_dict()})
            thefts += _thefts({**about, "alpha": alpha}, group, sources, attacks, alpha)
    return {
        "accusations": accused,
        "found": thefts,
        "matrix": _matrix(judged),
        "rotated": _rotated(judged),
        "family_wise": _family_wise(judged),
        "weights": _weights(judged),
        "rulings": [
            _keep(ruling, sources[ruling.source]) for ruling in rulings if ruling.probes == sources[ruling.source].count
        ],
    }


def _grouped(rulings: Sequence[Ruling]) -> list[tuple[str, int, int | None, list[Ruling]]]:
    """Rulings of one ground, number of siblings and of probes; with all probes (which differ by task) as None."""
    most: dict[tuple[str, str, int], int] = {}
    for ruling in rulings:
        key = (ruling.source, ruling.ground, ruling.siblings)
        most[key] = max(most.get(key, 0), ruling.probes)
    groups: dict[tuple[str, int, int | None], list[Ruling]] = {}
    for ruling in rulings:
        is_all = ruling.probes == most[ruling.source, ruling.ground, ruling.siblings]
        groups.setdefault((ruling.ground, ruling.siblings, None if is_all else ruling.probes), []).append(ruling)
    return [(*key, group) for key, group in groups.items()]


def _thefts(
    about: Mapping[str, Any], group: Sequence[Ruling], sources: Mapping[str, SourceZoo], attacks: Sequence[str],
    alpha: float,
) -> list[dict[str, Any]]:  # fmt: skip
    rows: list[dict[str, Any]] = []
    families = list(dict.fromkeys(family(attack) for attack in attacks))
    wanted = [(ALL, "all", False), *((name, "family", True) for name in families)]
    wanted += [(name, "attack", False) for name in attacks]
    for name, level, is_family in wanted:
        for working in (True, False):
            share = found(group, sources, alpha, name, families=is_family, working=working)
            if share.models:
                rows.append({**about, "of": name, "level": level, "working": working, **share.to_dict()})
    return rows


def _matrix(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The accusation matrix: nulls' kind × judged kind, for every preset and rate."""
    cells: dict[tuple[str, float, str, str], list[tuple[int, int]]] = {}
    for one in judged:
        for (preset, alpha), of in one.matrix.items():
            for (nulls, kind), pair in of.items():
                cells.setdefault((preset, alpha, nulls, kind), []).append(pair)
    return [
        {"statistic": preset, "alpha": alpha, "nulls": nulls, "judged": kind, **Share(tuple(pairs)).to_dict()}
        for (preset, alpha, nulls, kind), pairs in cells.items()
    ]


def _rotated(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    cells: dict[tuple[int, float, str], list[tuple[int, int]]] = {}
    for one in judged:
        for key, pair in one.rotated.items():
            cells.setdefault(key, []).append(pair)
    return [
        {"siblings": count, "alpha": alpha, "of": kind, **Share(tuple(pairs)).to_dict()}
        for (count, alpha, kind), pairs in cells.items()
    ]


def _weights(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Verdicts of the weights test by task, role and origin."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in judged:
        for row in one.weights:
            groups.setdefault((one.source.task, row["role"], row["origin"]), []).append(row["verdict"])
    return [
        {"task": task, "role": role, "origin": origin, "models": len(verdicts), "verdicts": dict(Counter(verdicts))}
        for (task, role, origin), verdicts in sorted(groups.items())
    ]


def _family_wise(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Sources in which max-T accuses any of all honest models."""
    known = [one.smallest_adjusted for one in judged if one.smallest_adjusted is not None]
    return [
        {"alpha": alpha, **Share(tuple((int(is_below(p, alpha)), 1) for p in known)).to_dict()}
        for alpha in RATES
        if known
    ]


def _keep(ruling: Ruling, source: SourceZoo) -> dict[str, Any]:
    """p-values in the order of the source's ``suspects``; None for siblings that judge."""
    p_values = [ruling.p_values.get(name) for name in _suspects(source)]
    return {
        "source": ruling.source,
        "ground": ruling.ground,
        "siblings": ruling.siblings,
        "probes": ruling.probes,
        "p_values": [None if value is None else round(value, 5) for value in p_values],
    }


def _suspects(source: SourceZoo) -> list[str]:
    return [m.name for m in (*source.loaded.siblings, *source.loaded.suspects)]


def _describe(source: SourceZoo) -> dict[str, Any]:
    stolen = source.loaded.stolen
    siblings = source.loaded.siblings
    return {
        "key": source.key,
        "task": source.task,
        "source": source.name,
        "probe_set": source.probes,
        "probe_count": source.count,
        "siblings": len(siblings),
        "sibling_seconds": sum(m.seconds or 0.0 for m in siblings),
        "stole_little": sorted(m.name for m in stolen if not source.works(m)),
        **{key: value for key, value in describe_zoo(source.loaded).items() if key not in ("source", "task")},
        "architecture": source.loaded.zoo.source.architecture,
        "accuracy": source.loaded.zoo.source.accuracy,
        "models": len(source.loaded.members),
        "suspects": _suspects(source),
    }
