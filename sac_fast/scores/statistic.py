"""One statistic of the calibrated score, under a name that says how to compute it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .cohort import inner_products, similarity_given_cohort
from .score import evenly_spaced
from .transforms import parse_transform

Floats = NDArray[np.float64]
_METRICS = ("cosine", "pearson", "spearman")
_NAME = re.compile(
    r"given-cohort\(([^()]+)\)/([^/@]+)/([a-z]+)(/by-class)?@([A-Za-z0-9][A-Za-z0-9._+-]{0,127})(?::([1-9][0-9]{0,8}))?"
)


@dataclass(frozen=True)
class CohortStatistic:
    """Similarity of correlation matrices given a cohort: ``given-cohort(λ)/TRANSFORM/METRIC[/by-class]@PROBES:COUNT``.

    Attributes:
        shrinkage: λ of `similarity_given_cohort`.
        transform: of the rows, see `transform_rows`.
        metric: of the correlations: ``"cosine"``, ``"pearson"`` or ``"spearman"``.
        probes: name of the probe set.
        count: at most so many probes, see `evenly_spaced`; None: all.
        by_class: centre the correlations on the means of the probes' true classes, see `inner_products`.

    Raises:
        ValueError: an unknown name, λ that is not positive, or a count below 2.
    """

    shrinkage: float
    transform: str
    metric: str
    probes: str
    count: int | None = None
    by_class: bool = False

    def __post_init__(self) -> None:
        if not self.shrinkage > 0:
            raise ValueError(f"shrinkage must be positive, got {self.shrinkage!r}")
        parse_transform(self.transform)
        if self.metric not in _METRICS:
            raise ValueError(f"metric must be one of {', '.join(_METRICS)}, got {self.metric!r}")
        if self.count is not None and (isinstance(self.count, bool) or self.count < 2):
            raise ValueError(f"count must be an integer of at least 2, got {self.count!r}")

    @classmethod
    def parse(cls, name: str) -> CohortStatistic:
        """Read a statistic's name.

        Raises:
            ValueError: not of the form above, or an unknown part.
        """
        match = _NAME.fullmatch(name)
        try:
            shrinkage = float(match[1]) if match else 0.0
        except ValueError:
            match = None
        if match is None:
            raise ValueError(
                f"statistic must be given-cohort(λ)/TRANSFORM/METRIC[/by-class]@PROBES:COUNT, got {name!r}"
            )
        _, transform, metric, by_class, probes, count = match.groups()
        return cls(shrinkage, transform, metric, probes, None if count is None else int(count), by_class is not None)

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        count = "" if self.count is None else f":{self.count}"
        # 17 digits bring every float64 back
        by_class = "/by-class" if self.by_class else ""
        return f"given-cohort({self.shrinkage:.17g})/{self.transform}/{self.metric}{by_class}@{self.probes}{count}"


class CohortFeatures:
    """Statistics of many models at once: inner products are computed once, cohorts may then be changed freely.

    Args:
        answers: by probe set, by name of model: (n, k) outputs.
        names: of all models wanted.
        statistics: which.
        labels: by probe set: (n,) int64 true labels, for statistics by class.

    Raises:
        ValueError: a probe set or labels that are missing, or outputs that do not fit.
    """

    def __init__(
        self,
        answers: Mapping[str, Mapping[str, Tensor]],
        names: Sequence[str],
        statistics: Sequence[CohortStatistic],
        labels: Mapping[str, Tensor | None],
    ) -> None:
        self.statistics = tuple(statistics)
        self._index = {name: i for i, name in enumerate(names)}
        self._products: dict[CohortStatistic, Floats] = {}
        shared: dict[tuple[object, ...], Floats] = {}
        for statistic in self.statistics:
            if statistic.probes not in answers:
                raise ValueError(f"answers must hold the probe set {statistic.probes!r}, got {', '.join(answers)}")
            truth = labels.get(statistic.probes) if statistic.by_class else None
            if statistic.by_class and truth is None:
                raise ValueError(f"statistic {statistic.name!r} needs the true labels of its probes, got none")
            key = (statistic.transform, statistic.metric, statistic.probes, statistic.count, statistic.by_class)
            if key not in shared:
                outputs = answers[statistic.probes]
                rows = evenly_spaced(len(outputs[names[0]]), statistic.count)
                chosen = [outputs[name][rows] for name in names]
                classes = None if truth is None else truth[rows]
                shared[key] = inner_products(chosen, "correlations", statistic.transform, statistic.metric, classes)
            self._products[statistic] = shared[key]

    def compute(self, source: str, suspects: Sequence[str], cohort: Sequence[str]) -> Floats:
        """The statistics of suspects.

        Args:
            source: its name.
            suspects: their names; one that is in the cohort is judged by the cohort without it.
            cohort: names of independents, at least 3 besides a suspect.

        Returns:
            (number of suspects, number of statistics) float64, larger where more alike.
        """
        at, of, among = self._index[source], [self._index[x] for x in suspects], [self._index[x] for x in cohort]
        columns = [
            similarity_given_cohort(self._products[statistic], at, of, among, statistic.shrinkage)
            for statistic in self.statistics
        ]
        return np.stack(columns, axis=1)
