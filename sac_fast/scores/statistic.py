"""Statistics of the calibrated score, each fully determined by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..ops.arguments import check_choice
from .cohort import METRICS, inner_products, similarity_given_cohort
from .score import PROBES_PATTERN, check_probe_count, evenly_spaced
from .transforms import parse_transform
from .weights import Floats

_NAME = re.compile(r"given-cohort\(([^()]+)\)/([^/@]+)/([a-z]+)(/by-class)?" + PROBES_PATTERN)


@dataclass(frozen=True)
class CohortStatistic:
    """Similarity of correlation matrices given a cohort: ``given-cohort(λ)/TRANSFORM/METRIC[/by-class]@PROBES:COUNT``.

    Attributes:
        shrinkage: λ of `similarity_given_cohort`.
        transform: of the rows, see `transform_rows`.
        metric: of the correlations: ``"cosine"``, ``"pearson"`` or ``"spearman"``.
        probes: name of the probe set.
        count: largest number of probes, see `evenly_spaced`. Default: all.
        by_class: centre the correlations on the means of the probes' true classes, see `inner_products`.

    Raises:
        ValueError: an unknown name, λ that is not positive, or a count below 2.

    Example::

        >>> CohortStatistic(0.5, "softmax(1)", "pearson", "misclassified", count=400).name
        'given-cohort(0.5)/softmax(1)/pearson@misclassified:400'
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
        check_choice("metric", self.metric, METRICS)
        check_probe_count(self.count)

    @classmethod
    def parse(cls, name: str) -> CohortStatistic:
        """Parse the name of a statistic.

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
        # 17 digits identify every float64.
        by_class = "/by-class" if self.by_class else ""
        return f"given-cohort({self.shrinkage:.17g})/{self.transform}/{self.metric}{by_class}@{self.probes}{count}"


class CohortFeatures:
    """Statistics of many models: inner products are computed once, for any choice of cohort.

    Args:
        outputs: by probe set, by name of model: (n, k) outputs.
        names: names of the models.
        statistics: the statistics.
        labels: by probe set: (n,) int64 true labels, for statistics by class.

    Raises:
        ValueError: a missing probe set or missing labels, or outputs of the wrong shape.

    Example::

        >>> import torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> outputs = {name: torch.randn(30, 4, generator=rng) for name in "abcdef"}
        >>> statistic = CohortStatistic(0.1, "raw", "cosine", "plain")
        >>> features = CohortFeatures({"plain": outputs}, "abcdef", [statistic], {})
        >>> features.compute("a", ["a", "b"], ["c", "d", "e", "f"]).round(6).tolist()[0]
        [1.0]
    """

    def __init__(
        self,
        outputs: Mapping[str, Mapping[str, Tensor]],
        names: Sequence[str],
        statistics: Sequence[CohortStatistic],
        labels: Mapping[str, Tensor | None],
    ) -> None:
        self.statistics = tuple(statistics)
        self._index = {name: i for i, name in enumerate(names)}
        self._products: dict[CohortStatistic, Floats] = {}
        shared: dict[tuple[object, ...], Floats] = {}
        for statistic in self.statistics:
            if statistic.probes not in outputs:
                raise ValueError(f"outputs must hold the probe set {statistic.probes!r}, got {', '.join(outputs)}")
            truth = labels.get(statistic.probes) if statistic.by_class else None
            if statistic.by_class and truth is None:
                raise ValueError(f"statistic {statistic.name!r} needs the true labels of its probes, got none")
            key = (statistic.transform, statistic.metric, statistic.probes, statistic.count, statistic.by_class)
            if key not in shared:
                by_name = outputs[statistic.probes]
                rows = evenly_spaced(len(by_name[names[0]]), statistic.count)
                chosen = [by_name[name][rows] for name in names]
                classes = None if truth is None else truth[rows]
                shared[key] = inner_products(chosen, "correlations", statistic.transform, statistic.metric, classes)
            self._products[statistic] = shared[key]

    def compute(self, source: str, suspects: Sequence[str], cohort: Sequence[str]) -> Floats:
        """Statistics of suspects.

        Args:
            source: name of the source.
            suspects: names of the suspects; a suspect in the cohort is left out of its own cohort.
            cohort: names of independents, at least 3 besides a suspect.

        Returns:
            (number of suspects, number of statistics) float64, larger for more similar models.
        """
        at, of, among = self._index[source], [self._index[x] for x in suspects], [self._index[x] for x in cohort]
        columns = [
            similarity_given_cohort(self._products[statistic], at, of, among, statistic.shrinkage)
            for statistic in self.statistics
        ]
        return np.stack(columns, axis=1)
