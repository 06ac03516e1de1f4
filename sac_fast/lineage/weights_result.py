"""What a search for related weights found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..io.files import StrPath
from ..verify.weights.facts import DTYPE, EQUAL, PRUNED, QUANTISED
from ..verify.weights.result import CONDITIONS, HYPOTHESIS
from .weights_sketch import Sketch

_CONDITIONS = (
    *CONDITIONS,
    "The error rate is of the whole search: p is corrected by Holm's method for all pairs of models that were read.",
    "Pairs whose sketches disagree were not tested, so hidden units in another order are not found.",
)
_MIN_SHARE = 0.9  # of the values that both have, for a relation to be of the whole model
_CLEAR = 0.1  # by which traits must differ
_SHORT, _LONG = 0.99, 0.5  # shares of values that a short float holds, of a short copy and of the other


@dataclass(frozen=True)
class WeightsPair:
    """Two models whose weights are related.

    Attributes:
        a, b: names.
        verdict: ``"identical"`` or ``"weights related"``.
        log10_p: of the pair's exact test.
        p_value: the same, never below the smallest normal float.
        p_holm: corrected for all pairs.
        shares: share of the values of arrays of one name and shape, by relation, such as ``"equal"``: frozen layers,
            or a change of dtype.
        leaf: the one that is the copy, where the values say so; the other may be its source, or a copy of it.
        leaf_because: why.
    """

    a: str
    b: str
    verdict: str
    log10_p: float
    p_value: float
    p_holm: float
    shares: dict[str, float]
    leaf: str | None = None
    leaf_because: str | None = None


@dataclass(frozen=True)
class WeightsRelatives:
    """The result of `weights_relatives`.

    Attributes:
        models: number of models that were read.
        pairs: those that are related, smallest p first; of models with equal arrays only the first takes part.
        groups: names of related models, two or more each, duplicates among them, the largest group first.
        duplicates: names of models with the same arrays, the first of each stands for them.
        failures: reason of each model that could not be read, by name.
        not_comparable: names of models with too few comparable layers.
        tests: number of all pairs, for which p is corrected.
        candidates: number of pairs that were tested exactly.
        alpha: α, bound on the probability that any independent pair is called related.
        hypothesis: of each pair.
        conditions: under which that holds.
        warnings: remarks for the reader.

    Example::

        >>> rng = np.random.default_rng(0)
        >>> sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
        >>> a = {f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)}
        >>> pruned = {name: np.where(abs(array) > 1, array, 0) for name, array in a.items()}
        >>> found = sac_fast.weights_relatives({"a": a, "b": dict(a), "pruned": pruned})
        >>> found.duplicates, found.groups, found.pairs[0].leaf
        ((('a', 'b'),), (('a', 'b', 'pruned'),), 'pruned')
    """

    models: int
    pairs: tuple[WeightsPair, ...]
    groups: tuple[tuple[str, ...], ...]
    duplicates: tuple[tuple[str, ...], ...]
    failures: dict[str, str]
    not_comparable: tuple[str, ...]
    tests: int
    candidates: int
    alpha: float
    hypothesis: str = HYPOTHESIS
    conditions: tuple[str, ...] = _CONDITIONS
    warnings: tuple[str, ...] = ()
    ground: str = field(default="weights", init=False)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            **dataclasses.asdict(self),
            "pairs": [vars(pair) for pair in self.pairs],
            "groups": [list(group) for group in self.groups],
            "duplicates": [list(group) for group in self.duplicates],
            "not_comparable": list(self.not_comparable),
            "conditions": list(self.conditions),
            "warnings": list(self.warnings),
        }

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw a bar for each pair of related models: how many digits its p-value for all pairs has.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            FigureError: matplotlib is not installed.
        """
        from .plot import draw_pairs

        return draw_pairs(self, path)


def find_leaf(shares: dict[str, float], a: Sketch, b: Sketch) -> tuple[int, str] | None:
    """Which of two related models is the copy: what was lost by it cannot be made up again.

    Args:
        shares: of the values of both, by relation.
        a, b: their sketches.

    Returns:
        0 or 1, and why; None: the values do not say it.
    """
    lost = (
        (PRUNED, "pruned", a.zeros, b.zeros),
        (QUANTISED, "quantised", -a.distinct, -b.distinct),
    )
    equal = shares.get(EQUAL, 0.0)
    for relation, word, ours, theirs in lost:
        share = shares.get(relation, 0.0)
        if share > 0 and share + equal + shares.get(DTYPE, 0.0) >= _MIN_SHARE and abs(ours - theirs) >= _CLEAR:
            return int(theirs > ours), word
    if shares.get(DTYPE, 0.0) + equal >= _MIN_SHARE and shares.get(DTYPE, 0.0) > 0:
        low, high = sorted((a.short, b.short))
        if high >= _SHORT and low <= _LONG:
            return int(b.short > a.short), "a shorter dtype"
    return None
