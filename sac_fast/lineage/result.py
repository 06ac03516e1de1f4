"""What a search for relatives found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..io.choices import Metric
from ..io.files import StrPath
from ..io.html import html_table

if TYPE_CHECKING:
    from ..verify.sibling_result import SiblingResult

#: Why two models are called related, the strongest first.
GROUNDS = ("equal", "weights", "siblings", "distance")


@dataclass(frozen=True)
class Relative:
    """One of the nearest models of a model.

    Attributes:
        name: of the relative.
        distance: to it.
        p_value: by the null pool, as `sac_fast.verify_fingerprints` gives it by the metric for the model as source and
            the relative as suspect (neither of the two among the independents); None where there are none.
        p_holm: Holm's adjusted p-value over all candidates of this model; None likewise.
        weights: verdict of the weights test, or ``"no file"``; None: this pair was not looked at.
        p_siblings: of the sibling test, adjusted for all suspects; None but in the row of the source.
        grounds: of `GROUNDS`, why the two are called related; the edges of groups and forest have the same.
    """

    name: str
    distance: float
    p_value: float | None
    p_holm: float | None
    weights: str | None = None
    p_siblings: float | None = None
    grounds: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {**vars(self), "grounds": list(self.grounds)}


@dataclass(frozen=True)
class PairWeights:
    """What the files of two near models say.

    Attributes:
        a, b: names of the models.
        distance: between their outputs.
        verdict: of `sac_fast.weights_test`, or ``"no file"``.
        reason: one sentence.
        p_value: of the weights test; None without files.
        p_holm: adjusted for all pairs that have files.
        leaf: the one that was made from the other or from a common ancestor, being rounded, quantised or pruned; None:
            the weights do not tell.
        older: the one whose file has the older time stamp, a claim that anybody can set; None: not known.
    """

    a: str
    b: str
    distance: float
    verdict: str
    reason: str
    p_value: float | None = None
    p_holm: float | None = None
    leaf: str | None = None
    older: str | None = None

    @property
    def is_related(self) -> bool:
        """Whether the weights say that the two are related."""
        return self.verdict in ("identical", "weights related")


class Edge(NamedTuple):
    """Two models that are called related, and by what: one of `GROUNDS`."""

    a: str
    b: str
    distance: float
    ground: str


@dataclass(frozen=True)
class Lineage:
    """The result of `find_relatives`.

    Attributes:
        names: of the m models.
        relatives: the nearest of each queried model, by its name.
        threshold: α quantile of the distances between independents; None where there are too few of these.
        alpha: α.
        independents: names of the models that served as null, those that are one model once.
        attainable_p_value: the smallest p-value that they allow; None without independents.
        groups: names of related models, two or more each, the largest group first: the trees of the forest.
        forest: a spanning forest of the related pairs, the nearest first. Pairs are related by *equal* hash or outputs,
            by their *weights*, by the *siblings* of the source, or by *distance*: below the threshold, and in one
            group by average linkage.
        metric: of the distances.
        notes: remarks for people.
        duplicates: other names of a model, by the name that stands for all: one row, and one null.
        weights: weights tests of the nearest pairs.
        siblings: sibling test of the source; None without siblings.
        hypothesis: what the p-values of relatives are p-values of; None where there are none.
        conditions: what has to be true for them.
    """

    names: tuple[str, ...]
    relatives: dict[str, tuple[Relative, ...]]
    threshold: float | None
    alpha: float
    independents: tuple[str, ...]
    attainable_p_value: float | None
    groups: tuple[tuple[str, ...], ...]
    forest: tuple[Edge, ...]
    metric: Metric
    notes: tuple[str, ...]
    duplicates: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    weights: tuple[PairWeights, ...] = ()
    siblings: SiblingResult | None = None
    hypothesis: str | None = None
    conditions: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        rows = [
            (name, near.name, f"{near.distance:.4g}", "" if near.p_value is None else f"{near.p_value:.3g}")
            for name, relatives in self.relatives.items()
            for near in relatives[:1]
        ]
        about = f"{len(self.names)} models, {self.metric}, {len(self.groups)} groups. {self.hypothesis or ''}"
        return html_table(("model", "nearest", "distance", "p"), rows, about, (*self.conditions, *self.notes))

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw the distances of every model to its nearest relatives, with the threshold.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            FigureError: matplotlib is not installed.
        """
        from .plot import draw_distances

        distances = {name: [one.distance for one in found] for name, found in self.relatives.items()}
        return draw_distances(distances, self.threshold, self.metric, path)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "models": len(self.names),
            "metric": self.metric,
            "alpha": self.alpha,
            "threshold": self.threshold,
            "independents": list(self.independents),
            "attainable_p_value": self.attainable_p_value,
            "hypothesis": self.hypothesis,
            "conditions": list(self.conditions),
            "relatives": {name: [one.to_dict() for one in found] for name, found in self.relatives.items()},
            "duplicates": {name: list(others) for name, others in self.duplicates.items()},
            "weights": [dataclasses.asdict(pair) for pair in self.weights],
            "siblings": None if self.siblings is None else self.siblings.to_dict(),
            "groups": [list(group) for group in self.groups],
            "forest": [edge._asdict() for edge in self.forest],
            "notes": list(self.notes),
        }
