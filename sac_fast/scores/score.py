"""A fixed score: row transform, correlation, comparison, probe kind and number of probes, under one name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops import correlation_distance, correlation_distances
from ..ops.arguments import COMPARISONS, METRICS, outputs_list, outputs_tensor
from .outputs import NEED_LABELS, OUTPUT_SCORES, output_distance
from .regression import unexplained_share
from .transforms import parse_transform, transform_rows

Floats = NDArray[np.float64]
REGRESSION = "regression"
_NAME = re.compile(r"([^@]+)@([A-Za-z0-9][A-Za-z0-9._+-]{0,127})(?::([1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class Score:
    """A distance of two models that is named in full, so that a name in a table can be computed again.

    ``TRANSFORM/METRIC/COMPARISON@PROBES:COUNT``, as in ``softmax(1)/pearson/rsa@misclassified:400``;
    ``TRANSFORM/regression@PROBES:COUNT`` (`unexplained_share`); or, for the scores of `output_distance`,
    ``agreement@misclassified:400``. Without ``:COUNT`` all probes of the set count.

    Attributes:
        measure: what is computed: a transform's name, or a score of `output_distance`.
        metric, comparison: as `correlation_distance` takes them; None and ``"regression"`` for a regression, both
            None for a score of `output_distance`.
        probes: name of the probe set.
        count: at most so many probes, see `evenly_spaced`; None: all.

    Raises:
        ValueError: an unknown name, or a count below 2.
    """

    measure: str
    metric: str | None
    comparison: str | None
    probes: str
    count: int | None = None

    def __post_init__(self) -> None:
        if self.measure in OUTPUT_SCORES:
            if (self.metric, self.comparison) != (None, None):
                raise ValueError(f"{self.measure} must come without metric and comparison, got {self.metric!r}")
        else:
            parse_transform(self.measure)
            if (self.metric, self.comparison) == (None, REGRESSION):
                pass
            elif self.metric not in METRICS:
                raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {self.metric!r}")
            elif self.comparison not in COMPARISONS:
                raise ValueError(f"comparison must be one of {', '.join(COMPARISONS)}, got {self.comparison!r}")
        if self.count is not None and (isinstance(self.count, bool) or self.count < 2):
            raise ValueError(f"count must be an integer of at least 2, got {self.count!r}")

    @classmethod
    def parse(cls, name: str) -> Score:
        """Read a score's name.

        Raises:
            ValueError: not of the form above, or an unknown part.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                "score must be TRANSFORM/METRIC/COMPARISON@PROBES:COUNT, TRANSFORM/regression@PROBES:COUNT or "
                f"{'|'.join(OUTPUT_SCORES)}@PROBES:COUNT (:COUNT may be left out), got {name!r}"
            )
        what, probes, count = match.groups()
        parts: list[str | None] = [*what.split("/")]
        if parts[0] in OUTPUT_SCORES and len(parts) == 1:
            parts += [None, None]
        elif parts[1:] == [REGRESSION]:
            parts.insert(1, None)
        if len(parts) != 3:
            raise ValueError(f"score must name transform/metric/comparison before the @, got {what!r}")
        return cls(str(parts[0]), parts[1], parts[2], probes, None if count is None else int(count))

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        what = "/".join(part for part in (self.measure, self.metric, self.comparison) if part is not None)
        return f"{what}@{self.probes}" + ("" if self.count is None else f":{self.count}")

    @property
    def needs_labels(self) -> bool:
        """Whether the probes' true labels are needed."""
        return self.measure in NEED_LABELS

    def distances(
        self, source: Tensor, suspects: Sequence[Tensor], labels: Tensor | None = None, *, backend: str = "auto"
    ) -> Floats:
        """Distances of suspects to the source, from their outputs on the score's probe set.

        Args:
            source: (n, k) outputs.
            suspects: m of (n, k_s) outputs; the k_s may differ.
            labels: (n,) int64 true labels, where the score needs them.
            backend: see `correlation_distance`.

        Returns:
            (m,) float64; NaN where a suspect's answers cannot be compared (another k, for answer scores).

        Raises:
            TypeError, ValueError, BackendError: as `correlation_distance` and `output_distance`.
        """
        source = outputs_tensor("source", source)
        models = outputs_list("suspects", list(suspects), like=source)
        rows = evenly_spaced(len(source), self.count)
        if self.comparison is None:
            truth = None if labels is None else labels[rows]
            return np.array([output_distance(self.measure, source[rows], model[rows], truth) for model in models])
        mine, *theirs = (transform_rows(model[rows], self.measure) for model in (source, *models))
        if self.metric is None:
            return np.array([unexplained_share(mine, other) for other in theirs])
        if self.comparison == "l1":
            found = correlation_distances(mine, theirs, metric=self.metric, backend=backend)
            return found.double().cpu().numpy()
        metric, comparison = self.metric, self.comparison
        found_each = (
            correlation_distance(mine, other, metric=metric, comparison=comparison, backend=backend) for other in theirs
        )
        return np.array([float(distance) for distance in found_each])


def evenly_spaced(n: int, count: int | None) -> Tensor:
    """Which rows a score of ``count`` probes takes: evenly spaced, ``floor(i · n / count)``, all where n is not more.

    Args:
        n: rows there are.
        count: rows wanted; None: all.

    Returns:
        (min(n, count),) int64, ascending. Sets that are ordered by class keep their share of each class.
    """
    take = n if count is None else min(n, count)
    return torch.arange(take) * n // take
