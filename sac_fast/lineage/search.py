"""The nearest relatives of models that answer in one form, and the pairs of them that are near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..io.choices import Metric
from ..neighbours.search import nearest_by_subset
from ..ops import pairwise_correlation_distances
from ..ops.dispatch import ranked_models
from ..verdict import attainable_p_value, calibrated_threshold, holm, nulls_needed
from ..verify.nulls import UNDECLARED
from .forest import Floats, Rows, nearest_in_blocks, related_pairs
from .forms import Evidence, FormGroup
from .nulls import Independents
from .related import NearPairs
from .result import Relative

# Fewer models are compared exactly, others by 8-bit sweeps with exact ranking.
_MIN_SWEEP_MODELS = 2_000


@dataclass(frozen=True)
class Search:
    """The models of one form, whose relatives are wanted, among which, and which are independent, with their kinds."""

    names: tuple[str, ...]
    group: FormGroup
    independents: Mapping[str, str | None]
    models: Sequence[str] | None
    among: Sequence[str] | None


@dataclass(frozen=True, eq=False)
class Found:
    """What `search_form` found; the fields are those of `Lineage`, `near` the pairs that are related by distance."""

    relatives: dict[str, tuple[Relative, ...]]
    near: NearPairs | None
    independents: tuple[str, ...]
    attainable_p_value: float | None
    hypothesis: str | None
    conditions: tuple[str, ...]
    notes: list[str]


def search_form(
    search_for: Search, top: int, alpha: float, metric: Metric, progress: bool, *, with_groups: bool
) -> Found:
    """The relatives of models of one form."""
    names, outputs = search_for.names, list(search_for.group.outputs)
    models, among, evidence = search_for.models, search_for.among, Evidence(search_for.group, metric)
    row_of = {name: row for row, name in enumerate(names)}
    notes: list[str] = []
    kinds = {name: kind for name, kind in search_for.independents.items() if not evidence.is_empty(row_of[name])}
    if left := len(search_for.independents) - len(kinds):
        notes.append(f"{left} independents are left out: their outputs are no evidence, being nearly constant or tied")
    known = np.array([row_of[name] for name in kinds], np.int64)
    declared = [kind or UNDECLARED for kind in kinds.values()]
    pool = Independents(names, outputs, known, declared, search_for.group.form.form)
    queries = range(len(names)) if models is None else [row_of[name] for name in models]
    null: dict[int, Floats] = {}
    if len(known) and len(queries):
        search = (outputs, queries, known, len(known), metric, "none", "distances to independents", progress)
        place = np.argsort(known)
        for row, values, others in zip(queries, *_neighbours(*search), strict=True):
            null[row] = np.empty(len(known))
            null[row][place[np.searchsorted(known[place], others)]] = values
    relatives: dict[str, tuple[Relative, ...]] = {}
    candidates = np.arange(len(names)) if among is None else np.array([row_of[name] for name in among], np.int64)
    is_candidate = np.isin(np.arange(len(names)), candidates)
    is_large = len(candidates) >= _MIN_SWEEP_MODELS
    if is_large and models is None and among is None:
        values, others = _all_neighbours(outputs, top, metric, notes)
    else:
        first_pass = "uint8" if is_large else "none"
        if is_large:
            notes.append("candidates were found by an 8-bit sweep and then ranked exactly")
        # One more than `top`, since the model itself may be a candidate.
        count = min(top + 1, len(candidates))
        search = (outputs, queries, candidates, count, metric, first_pass, "nearest models", progress)
        none = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
        values, others = _neighbours(*search) if len(queries) and count else none
    for row, distances, near in zip(queries, values, others, strict=True):
        keep = np.flatnonzero(near != row)[:top]
        tests = len(candidates) - int(is_candidate[row])
        nulls = None if row not in null or evidence.is_empty(row) else null[row]
        empty = [evidence.is_empty(int(other)) for other in near[keep]] if nulls is not None else []
        relatives[names[row]] = _with_p_values(names, row, distances[keep], near[keep], tests, pool, nulls, empty)
    if empty_names := [names[row] for row in evidence.empty() if names[row] not in search_for.independents]:
        notes.append(f"no p-values for models whose outputs are no evidence: {', '.join(empty_names[:10])}")
    near_pairs = None
    distinct = pool.distinct()
    if with_groups and (threshold := _threshold(outputs, distinct, alpha, metric, notes)) is not None:
        pairs = related_pairs(outputs, threshold, metric, progress)
        near_pairs = NearPairs(names, outputs, pairs, threshold, metric, notes)
    told = (None, (), []) if not len(known) else pool.describe()
    return Found(
        relatives,
        near_pairs,
        tuple(kinds),
        attainable_p_value(min(pool.counts().values())) if len(known) else None,
        told[0],
        told[1],
        notes + told[2],
    )


def _all_neighbours(outputs: list[Tensor], top: int, metric: Metric, notes: list[str]) -> tuple[Floats, Rows]:
    """The nearest of every model of very many, and a note of how many of them were found."""
    ranked_metric, rows = ranked_models("outputs", outputs, metric)
    found = nearest_by_subset(rows, None, min(top, len(rows) - 1), metric=ranked_metric)
    if found.recall is None:
        notes.append("candidates were found by an 8-bit sweep and then ranked exactly")
    else:
        notes.append(
            "candidates were found by a random subset of the correlations and then ranked exactly: "
            f"{found.recall.hits} of {found.recall.trials} neighbours looked for were found (at least "
            f"{found.recall.lower:.1%} of all, with 95 % confidence)"
        )
    return found.distances, found.indices


def _threshold(outputs: list[Tensor], known: Rows, alpha: float, metric: Metric, notes: list[str]) -> float | None:
    """The α quantile of the distances between independents; None, and a note, where there are too few."""
    distances: Floats = np.empty(0)
    if len(known) >= 2:
        between = pairwise_correlation_distances([outputs[row] for row in known], metric=metric).double().numpy()
        distances = between[np.triu_indices(len(known), 1)]
    threshold = calibrated_threshold(distances, alpha) if len(distances) else None
    if threshold is None:
        notes.append(
            f"no groups by distance: {len(known)} independents give {len(distances)} distances between them; "
            f"α = {alpha:g} needs {nulls_needed(alpha)}"
        )
    return threshold


def _neighbours(*search: Any) -> tuple[Floats, Rows]:
    """The results of `nearest_in_blocks` for all rows at once."""
    values, others = zip(*((values, others) for _, values, others in nearest_in_blocks(*search)), strict=True)
    return np.concatenate(values), np.concatenate(others)


def _with_p_values(
    names: tuple[str, ...],
    row: int,
    distances: Floats,
    others: Rows,
    tests: int,
    pool: Independents,
    to_nulls: Floats | None,
    empty: Sequence[bool],
) -> tuple[Relative, ...]:
    """The relatives of a model with their p-values; `tests` is the number of all candidates.

    Those that `empty` marks get none.
    """
    p_values: list[Any] = [None] * len(others)
    adjusted = p_values
    if to_nulls is not None and len(others):
        pairs = zip(others.tolist(), distances.tolist(), strict=True)
        p_values = [pool.p_value(row, other, distance, to_nulls) for other, distance in pairs]
        # Those that are not among the nearest have no smaller p-values.
        adjusted = holm(p_values, tests=tests).tolist()
        p_values, adjusted = (
            [None if is_empty else p for p, is_empty in zip(values, empty, strict=True)]
            for values in (p_values, adjusted)
        )
    found = zip(others.tolist(), distances.tolist(), p_values, adjusted, strict=True)
    return tuple(Relative(names[other], distance, p, p_holm) for other, distance, p, p_holm in found)
