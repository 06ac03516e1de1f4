"""The nearest relatives of every model with p-values, groups of related models, and their forest.

Everything here takes the outputs of the models; `sac_fast.store.stored.stored_outputs` reads them from a store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..ops import pairwise_correlation_distances
from ..verdict import attainable_p_value, calibrated_threshold, conformal_p_value, holm, nulls_needed
from .checks import check_search
from .forest import FIRST_NEIGHBOURS, Floats, Rows, groups_of, nearest_in_blocks, related_pairs, spanning_forest
from .forms import Evidence, FormGroup, group_by_form

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

    A model is compared in the form in which it answers: candidates and independents of a weaker form are left out.
    Groups and forest are of the most frequent form. Outputs that are no evidence (`check_informative`) get no p-value.

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
    check_search(names, outputs, independents, models, among, top, alpha, metric)
    groups = group_by_form(outputs)
    found = []
    for group in groups:
        inside = [names[row] for row in group.members]
        own = {names[row] for row in group.own}
        some = _Search(
            names=tuple(inside),
            group=group,
            independents=[name for name in independents if name in set(inside)],
            models=None if models is None and len(own) == len(names) else [n for n in models or names if n in own],
            among=None if among is None else [name for name in among if name in set(inside)],
        )
        found.append(_find(some, top, alpha, metric, progress, with_groups=group is groups[0]))
    notes = [note for one in found for note in one.notes]
    if len(groups) > 1:
        listed = ", ".join(f"{group.form.describe()} {len(group.own)}" for group in groups)
        notes.append(
            f"models answer in different forms ({listed}): each is compared in its own, with those of no weaker form; "
            f"groups and forest are of the {len(groups[0].members)} models that can be compared as "
            f"{groups[0].form.describe()}"
        )
    relatives = {name: of for one in found for name, of in one.relatives.items()}
    wanted = {name: relatives[name] for name in (names if models is None else models)}
    return dataclasses.replace(found[0], names=names, relatives=wanted, notes=tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Search:
    """The models of one form, whose relatives are wanted, among which, and which are independent."""

    names: tuple[str, ...]
    group: FormGroup
    independents: Sequence[str]
    models: Sequence[str] | None
    among: Sequence[str] | None


def _find(search_for: _Search, top: int, alpha: float, metric: str, progress: bool, *, with_groups: bool) -> Lineage:
    """The relatives of models of one form."""
    names, outputs = search_for.names, list(search_for.group.outputs)
    models, among, evidence = search_for.models, search_for.among, Evidence(search_for.group, metric)
    row_of = {name: row for row, name in enumerate(names)}
    notes: list[str] = []
    independents = [name for name in search_for.independents if not evidence.is_empty(row_of[name])]
    if left := len(search_for.independents) - len(independents):
        notes.append(f"{left} independents are left out: their outputs are no evidence, being nearly constant or tied")
    known = np.array([row_of[name] for name in independents], np.int64)
    queries = range(len(names)) if models is None else [row_of[name] for name in models]
    null: dict[int, tuple[Floats, Rows]] = {}
    if len(known) and len(queries):
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
    none = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    values, others = _neighbours(*search) if len(queries) and count else none
    for row, distances, near in zip(queries, values, others, strict=True):
        keep = np.flatnonzero(near != row)[:top]
        tests = len(candidates) - int(is_candidate[row])
        nulls = None if evidence.is_empty(row) else null.get(row)
        empty = [evidence.is_empty(int(other)) for other in near[keep]] if nulls is not None else []
        relatives[names[row]] = _with_p_values(names, row, distances[keep], near[keep], tests, nulls, empty)
    if empty_names := [names[row] for row in evidence.empty() if names[row] not in search_for.independents]:
        notes.append(f"no p-values for models whose outputs are no evidence: {', '.join(empty_names[:10])}")
    threshold = _threshold(outputs, known, alpha, metric, notes) if with_groups else None
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
    empty: Sequence[bool],
) -> tuple[Relative, ...]:
    """The relatives of a model with their p-values; `tests` is the number of all candidates.

    Those that `empty` marks get none.
    """
    p_values: list[Any] = [None] * len(others)
    adjusted = p_values
    if null is not None and len(others):
        pools = [null[0][(null[1] != row) & (null[1] != other)] for other in others]
        p_values = [
            conformal_p_value(distance, pool) if len(pool) else 1.0
            for distance, pool in zip(distances.tolist(), pools, strict=True)
        ]
        adjusted = holm(p_values, tests=tests).tolist()
    if null is not None:
        p_values, adjusted = (
            [None if is_empty else p for p, is_empty in zip(values, empty, strict=True)]
            for values in (p_values, adjusted)
        )
    found = zip(others.tolist(), distances.tolist(), p_values, adjusted, strict=True)
    return tuple(Relative(names[other], distance, p, p_holm) for other, distance, p, p_holm in found)
