"""p-values of many pairs by one pool of independents, as `sac_fast.verify_fingerprints` gives them with a metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..io.choices import Metric
from ..models.kinds import KINDS
from ..ops import correlation_distances, pairwise_correlation_distances
from ..scores import evenly_spaced
from ..verdict import conformal_p_value, near_duplicates
from ..verify.kinds import REQUIRED, describe_conditions
from ..verify.nulls import MAX_PROBES, UNDECLARED, NullModels, choose_metric
from .forest import Floats, Rows


class Independents:
    """The independents among the models of one form.

    Args:
        names, outputs: of all models.
        rows: of the independents.
        kinds: of each, one of `KINDS` or `UNDECLARED`.
        form: output form of all models.
    """

    def __init__(
        self, names: Sequence[str], outputs: Sequence[Tensor], rows: Rows, kinds: Sequence[str], form: str
    ) -> None:
        self._names, self._outputs, self._form = names, outputs, form
        self.rows, self.kinds = rows, tuple(kinds)
        self._chosen = evenly_spaced(len(outputs[0]), MAX_PROBES)
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._source: int | None = None  # the pools of the last source are kept
        self._pools_of_source: dict[frozenset[int], list[Rows]] = {}
        self._between: dict[str, Floats] = {}
        self._groups: dict[tuple[str, frozenset[int]], tuple[tuple[int, ...], ...]] = {}

    def p_value(self, a: int, b: int, distance: float, to_nulls: Floats) -> float:
        """The largest p-value over kinds, and over all and distinct nulls of each; 1 without nulls.

        Args:
            a, b: rows of source and suspect, left out of the nulls.
            distance: between the two.
            to_nulls: (m,) distances of a to the independents.
        """
        pools = self._pools(a, frozenset(self._place[row] for row in (a, b) if row in self._place))
        return max((conformal_p_value(distance, to_nulls[pool]) for pool in pools), default=1.0)

    def _pools(self, a: int, excluded: frozenset[int]) -> list[Rows]:
        """Places of the nulls of a, kind by kind: all of them, and the distinct ones where some are one model."""
        if self._source != a:
            self._source, self._pools_of_source = a, {}
        if excluded not in self._pools_of_source:
            left = [i for i in range(len(self.rows)) if i not in excluded]
            nulls = self._without(a, left)
            found = []
            for chosen in [list(range(len(left)))] + ([nulls.distinct] if nulls.groups else []):
                kinds, places = [nulls.kinds[i] for i in chosen], np.array([left[i] for i in chosen], np.int64)
                of = np.array(kinds, dtype=object)
                found += [places[of == kind] for kind in dict.fromkeys(kinds)]
            self._pools_of_source[excluded] = found
        return self._pools_of_source[excluded]

    def distinct(self) -> Rows:
        """Rows of one independent for each model."""
        if not len(self.rows):
            return self.rows
        dropped = {i for group in self._near("pearson", list(range(len(self.rows)))) for i in group[1:]}
        return np.array([row for i, row in enumerate(self.rows) if i not in dropped], np.int64)

    def counts(self) -> dict[str, int]:
        """Number of distinct independents of each kind, in the order of `KINDS`."""
        kept = set(self.distinct().tolist())
        of = [kind for row, kind in zip(self.rows.tolist(), self.kinds, strict=True) if row in kept]
        return {kind: of.count(kind) for kind in (*KINDS, UNDECLARED) if kind in of}

    def describe(self) -> tuple[str, tuple[str, ...], list[str]]:
        """The hypothesis that small p-values reject, its conditions, and notes."""
        counts = self.counts()
        if list(counts) == [UNDECLARED]:
            like = f"is one more model like these {counts[UNDECLARED]} independents of undeclared kind"
        else:
            listed = ", ".join(f"{kind} ({count})" for kind, count in counts.items())
            like = f"is one more independent of one of these kinds: {listed}"
        hypothesis = f"The relative was made without the model in whose row it stands, and {like}."
        nulls = NullModels((), (), tuple(counts), (), np.empty(0), ())
        missing = [kind for kind in REQUIRED if kind not in counts and set(counts) - {UNDECLARED}]
        notes = [f"no independents of the kinds: {', '.join(missing)}; p says nothing of them"] if missing else []
        repeated = len(self.rows) - len(self.distinct())
        if repeated:
            notes.append(f"{repeated} independents are nearly the same model as another one: they count once")
        return hypothesis, describe_conditions(nulls, None), notes

    def _without(self, a: int, left: list[int]) -> NullModels:
        """The nulls of one pair, with what they need to be counted once."""
        names, kinds = tuple(self._names[self.rows[i]] for i in left), tuple(self.kinds[i] for i in left)
        metric = choose_metric(self._outputs[a].shape[1], self._form)
        groups = self._near(metric, left)
        to_source = np.zeros(len(left))
        if groups:
            rows = [self._outputs[self.rows[i]][self._chosen] for i in left]
            to_source = correlation_distances(self._outputs[a][self._chosen], rows, metric=metric).double().numpy()
        return NullModels(names, (), kinds, groups, to_source, ())

    def _near(self, metric: Metric, left: list[int]) -> tuple[tuple[int, ...], ...]:
        """Groups of near-duplicates among some independents, as places in `left`."""
        if len(left) < 2:
            return ()
        key = metric, frozenset(range(len(self.rows))).difference(left)
        if key not in self._groups:
            if metric not in self._between:
                rows = [self._outputs[row][self._chosen] for row in self.rows]
                self._between[metric] = pairwise_correlation_distances(rows, metric=metric).double().numpy()
            some = self._between[metric][np.ix_(left, left)]
            self._groups[key] = tuple(map(tuple, near_duplicates(some, [self.kinds[i] for i in left])))
        return self._groups[key]
