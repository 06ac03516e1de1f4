"""Fixed scores: row transform, correlation, comparison, probe set and number of probes, with one name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..io.choices import Backend, Comparison, Metric
from ..ops import correlation_distance, correlation_distances
from ..ops.arguments import COMPARISONS, METRICS, check_choice, outputs_list, outputs_tensor
from .outputs import NEED_LABELS, OUTPUT_SCORES, output_distance
from .regression import SourceRegression
from .transforms import parse_transform, transform_rows
from .weights import Floats

REGRESSION: Literal["regression"] = "regression"
#: ``PROBES:COUNT`` at the end of a name.
PROBES_PATTERN = r"@([A-Za-z0-9][A-Za-z0-9._+-]{0,127})(?::([1-9][0-9]{0,8}))?"
_NAME = re.compile("([^@]+)" + PROBES_PATTERN)


@dataclass(frozen=True)
class Score:
    """Distance of two models, fully determined by its name.

    ``TRANSFORM/METRIC/COMPARISON@PROBES:COUNT``, as in ``softmax(1)/pearson/rsa@misclassified:400``;
    ``TRANSFORM/regression@PROBES:COUNT`` (`unexplained_share`); or, for the scores of `output_distance`,
    ``agreement@misclassified:400``. Without ``:COUNT`` all probes of the set are used.

    Attributes:
        measure: name of a transform, or a score of `output_distance`.
        metric, comparison: as for `correlation_distance`; None and ``"regression"`` for a regression, both None for a
            score of `output_distance`.
        probes: name of the probe set.
        count: largest number of probes, see `evenly_spaced`. Default: all.

    Raises:
        ValueError: an unknown name, or a count below 2.

    Example::

        >>> import torch
        >>> score = Score.parse("raw/cosine/l1@jpeg-q15:400")
        >>> score.metric, score.count, score.name
        ('cosine', 400, 'raw/cosine/l1@jpeg-q15:400')
        >>> score.distances(torch.eye(3), [2 * torch.eye(3)]).tolist()
        [0.0]
    """

    measure: str
    metric: Metric | None
    comparison: Comparison | Literal["regression"] | None
    probes: str
    count: int | None = None

    def __post_init__(self) -> None:
        if self.measure in OUTPUT_SCORES:
            if (self.metric, self.comparison) != (None, None):
                raise ValueError(f"{self.measure} must come without metric and comparison, got {self.metric!r}")
        else:
            parse_transform(self.measure)
            if (self.metric, self.comparison) != (None, REGRESSION):
                check_choice("metric", self.metric, METRICS)  # type: ignore[arg-type]  # it refuses None
                check_choice("comparison", self.comparison, COMPARISONS)  # type: ignore[arg-type]
        check_probe_count(self.count)

    @classmethod
    def parse(cls, name: str) -> Score:
        """Parse the name of a score.

        Raises:
            ValueError: not of a form above, or an unknown part.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                "score must be TRANSFORM/METRIC/COMPARISON@PROBES:COUNT, TRANSFORM/regression@PROBES:COUNT or "
                f"{'|'.join(OUTPUT_SCORES)}@PROBES:COUNT (:COUNT may be left out), got {name!r}"
            )
        what, probes, count = match.groups()
        parts: list[Any] = [*what.split("/")]
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
        self, source: Tensor, suspects: Sequence[Tensor], labels: Tensor | None = None, *, backend: Backend = "auto"
    ) -> Floats:
        """Distances of suspects to the source, from their outputs on the score's probe set.

        Args:
            source: (n, k) outputs.
            suspects: m of (n, k_s) outputs; the k_s may differ.
            labels: (n,) int64 true labels, if the score needs them.
            backend: see `correlation_distance`.

        Returns:
            (m,) float64; NaN if a suspect cannot be compared (another k, for scores of `output_distance`).

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
        if self.metric is None or self.comparison == REGRESSION:
            regression = SourceRegression(mine)
            return np.array([regression.predict(other).share for other in theirs])
        if self.comparison == "l1":
            found = correlation_distances(mine, theirs, metric=self.metric, backend=backend)
            return found.double().cpu().numpy()
        metric, comparison = self.metric, self.comparison
        found_each = (
            correlation_distance(mine, other, metric=metric, comparison=comparison, backend=backend) for other in theirs
        )
        return np.array([float(distance) for distance in found_each])


def check_probe_count(count: int | None) -> None:
    """Raise a ValueError if `count` is neither None nor an integer of at least 2."""
    if count is not None and (isinstance(count, bool) or count < 2):
        raise ValueError(f"count must be an integer of at least 2, got {count!r}")


def evenly_spaced(n: int, count: int | None) -> Tensor:
    """Row indices of a score with ``count`` probes: ``⌊i · n / count⌋``, or all rows if n is not larger.

    Args:
        n: number of rows.
        count: number of rows wanted. None: all.

    Returns:
        (min(n, count),) int64, ascending. Probe sets that are ordered by class keep their class shares.

    Example::

        >>> evenly_spaced(10, 4).tolist()
        [0, 2, 5, 7]
    """
    take = n if count is None else min(n, count)
    return torch.arange(take) * n // take
