"""The nearest relatives of every model with p-values, groups of related models, and their forest.

Everything here takes the outputs of the models; `sac_fast.store.stored.stored_outputs` reads them from a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..ops import pairwise_correlation_distances
from ..ops.arguments import METRICS, check_choice
from ..verdict import attainable_p_value, calibrated_threshold, conformal_p_value, holm, nulls_needed
from .forest import FIRST_NEIGHBOURS, Floats, Rows, groups_of, nearest_in_blocks, related_pairs, spanning_forest

# Fewer models are compared exactly, others by an 8-bit sweep with exact ranking.
_MIN_SWEEP_MODELS = 2_000


@dataclass(frozen=True)
class Relative:
    """One of the nearest models of a model.

    Attributes:
        name: of the relative.
        distance: to it.
        p_value: conformal, from the distances of the model to the declared independents (neither of the two
            among them); None where there are none.
        p_holm: Holm's adjusted p-value over all candidates of this model; None likewise.
    """

    name: str
    distance: float
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Lineage:
    """The result of `find_relatives`.

    Attributes:
        names: of the m models.
        relatives: the nearest of each queried model, by its name.
        threshold: two models are related below it: the α quantile of the distances between independents; None where
            there are too few of these.
        alpha: α.
        independents: names of the models that served as null.
        attainable_p_value: the smallest p-value that they allow; None without independents.
        groups: names of related models, two or more each, the largest group first; empty without a threshold.
        forest: the minimum spanning forest of the pairs below the threshold: (name, name, distance).
        metric: of the distances.
        notes: remarks for people.
    """

    names: tuple[str, ...]
    relatives: dict[str, tuple[Relative, ...]]
    threshold: float | None
    alpha: float
    independents: tuple[str, ...]
    attainable_p_value: float | None
    groups: tuple[tuple[str, ...], ...]
    forest: tuple[tuple[str, str, float], ...]
    metric: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "models": len(self.names),
            "metric": self.metric,
            "alpha": self.alpha,
            "threshold": self.threshold,
            "independents": list(self.independents),
            "attainable_p_value": self.attainable_p_value,
            "relatives": {
                name: [vars(relative) for relative in relatives] for name, relatives in self.relatives.items()
            },
            "groups": [list(group) for group in self.groups],
            "forest": [{"a": a, "b": b, "distance": distance} for a, b, distance in self.forest],
            "notes": list(self.notes),
        }


def find_relatives(
    names: Sequence[str],
    outputs: Sequence[Tensor],
    *,
    independents: Sequence[str] = (),
    models: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
    top: int = 10,
    alpha: float = 0.01,
    metric: str = "cosine",
    progress: bool = False,
) -> Lineage:
    """Nearest relatives with p-values, groups and a minimum spanning forest, without m×m distances in memory.

    For a model a and a candidate b: ``p = (1 + #{i : d(a, i) ≤ d(a, b)}) / (1 + #independents)`` over the declared
    independents i other than a and b, and Holm's correction over all candidates but a itself. Two models are
    related where their distance lies below the α quantile of the distances between independents (pairs of one pool
    depend on each other, so α is approximate). Groups: average linkage, cut at that threshold.

    Args:
        names: m different names, m ≥ 2.
        outputs: m tensors (n, k_i), n the same for all.
        independents: names of models known to be independent of each other and of all others.
        models: names of the models whose relatives are wanted; None: all.
        among: names of the candidates, for example of your own models that may have been stolen; None: all. Stolen
            copies of one source are often nearer to each other than to the source.
        top: number of relatives; all candidates where there are fewer.
        alpha: α, strictly between 0 and 1: the share of unrelated pairs that may lie below the threshold.
        metric: see `sac_fast.correlation_distance`.
        progress: bars on stderr.

    Returns:
        The lineage.

    Raises:
        ValueError: fewer than two models, names that are not different or unknown, or a wrong α, top or metric.

    Example::

        >>> import torch
        >>> from sac_fast import find_relatives
        >>> _ = torch.manual_seed(0)
        >>> independents = [f"independent {i}" for i in range(20)]
        >>> names, outputs = [*independents, "mine", "suspect"], list(torch.randn(22, 50, 10))
        >>> outputs[21] = outputs[20] + 0.3 * torch.randn(50, 10)
        >>> found = find_relatives(names, outputs, independents=independents, among=["mine"])
        >>> [(relative.name, round(relative.p_value, 3)) for relative in found.relatives["suspect"]]
        [('mine', 0.048)]
        >>> found.groups
        (('mine', 'suspect'),)
    """
    names, outputs = tuple(names), list(outputs)
    _check(names, outputs, independents, models, among, top, alpha, metric)
    row_of = {name: row for row, name in enumerate(names)}
    known = np.array([row_of[name] for name in independents], np.int64)
    queries = range(len(names)) if models is None else [row_of[name] for name in models]
    notes: list[str] = []
    null: dict[int, tuple[Floats, Rows]] = {}
    if len(known):
        search = (outputs, queries, known, len(known), metric, "none", "distances to independents", progress)
        null = dict(zip(queries, zip(*_neighbours(*search), strict=True), strict=True))
    relatives: dict[str, tuple[Relative, ...]] = {}
    candidates = np.arange(len(names)) if among is None else np.array([row_of[name] for name in among], np.int64)
    is_candidate = np.isin(np.arange(len(names)), candidates)
    first_pass = _first_pass(len(candidates))
    if first_pass == "uint8":
        notes.append("candidates were found by an 8-bit sweep and then ranked exactly")
    # One more than `top`, since the model itself may be a candidate, and a copy of it may be ranked before it.
    count = min(top + 1, len(candidates))
    is_everything = models is None and among is None
    if is_everything:  # the search for pairs continues from these neighbours
        count = min(max(count, FIRST_NEIGHBOURS), len(candidates))
    search = (outputs, queries, candidates, count, metric, first_pass, "nearest models", progress)
    values, others = _neighbours(*search)
    for row, distances, near in zip(queries, values, others, strict=True):
        keep = np.flatnonzero(near != row)[:top]
        tests = len(candidates) - int(is_candidate[row])
        relatives[names[row]] = _with_p_values(names, row, distances[keep], near[keep], tests, null.get(row))
    threshold = _threshold(outputs, known, alpha, metric, notes)
    groups: list[list[int]] = []
    forest: list[tuple[int, int, float]] = []
    if threshold is not None:
        nearest = (values, others) if is_everything else None
        pairs = related_pairs(outputs, threshold, metric, _first_pass(len(names)), progress, nearest)
        forest = spanning_forest(len(names), pairs)
        groups = groups_of(outputs, pairs, threshold, metric, notes)
    return Lineage(
        names,
        relatives,
        threshold,
        alpha,
        tuple(independents),
        attainable_p_value(len(known)) if len(known) else None,
        tuple(tuple(names[row] for row in group) for group in groups),
        tuple((names[a], names[b], distance) for a, b, distance in forest),
        metric,
        tuple(notes),
    )


def _check(
    names: tuple[str, ...],
    outputs: list[Tensor],
    independents: Sequence[str],
    models: Sequence[str] | None,
    among: Sequence[str] | None,
    top: int,
    alpha: float,
    metric: str,
) -> None:
    check_choice("metric", metric, METRICS)
    if len(names) != len(outputs) or len(names) < 2:
        raise ValueError(f"names and outputs must be of the same two or more models, got {len(names)}, {len(outputs)}")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"names must be different, got {twice!r} twice")
    for argument, given in (("independents", independents), ("models", models or ()), ("among", among or ())):
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"{argument} must be among the {len(names)} models, got {unknown[0]!r}")
        if len(set(given)) != len(given):
            raise ValueError(f"{argument} must be different, got {sorted(given)}")
    if among is not None and not among:
        raise ValueError("among must name at least one model, got none")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top must be an integer of at least 1, got {top!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")


def _first_pass(models: int) -> str:
    return "none" if models < _MIN_SWEEP_MODELS else "uint8"


def _threshold(outputs: list[Tensor], known: Rows, alpha: float, metric: str, notes: list[str]) -> float | None:
    """The α quantile of the distances between independents; None, and a note, where there are too few."""
    distances: Floats = np.empty(0)
    if len(known) >= 2:
        between = pairwise_correlation_distances([outputs[row] for row in known], metric=metric).double().numpy()
        distances = between[np.triu_indices(len(known), 1)]
    threshold = calibrated_threshold(distances, alpha) if len(distances) else None
    if threshold is None:
        notes.append(
            f"no groups: {len(known)} independents give {len(distances)} distances between them; α = {alpha:g} needs "
            f"{nulls_needed(alpha)}"
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
    null: tuple[Floats, Rows] | None,
) -> tuple[Relative, ...]:
    """The relatives of a model with their p-values; `tests` is the number of all candidates."""
    p_values: list[Any] = [None] * len(others)
    adjusted = p_values
    if null is not None and len(others):
        pools = [null[0][(null[1] != row) & (null[1] != other)] for other in others]
        p_values = [
            conformal_p_value(distance, pool) if len(pool) else 1.0
            for distance, pool in zip(distances.tolist(), pools, strict=True)
        ]
        adjusted = holm(p_values, tests=tests).tolist()
    found = zip(others.tolist(), distances.tolist(), p_values, adjusted, strict=True)
    return tuple(Relative(names[other], distance, p, p_holm) for other, distance, p, p_holm in found)
