"""What a comparison of two files' weights found."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from typing import Any

from ...io.files import StrPath
from ...io.html import html_table

HYPOTHESIS = (
    "fewer than half of the comparable layers hold weights that depend on each other "
    "(the two files' weights were made independently)"
)
CONDITIONS = (
    "Hidden units of the compared layers have no order of their own; docs/verdicts.md says where that is argued.",
    "The two trainings did not begin with one seed: a shared start rejects too, and proves no copying.",
    "A rejection says that the weights are related: by a copy in either direction or by a common ancestor.",
)


@dataclass(frozen=True)
class WeightsLayer:
    """One array of a and what its comparison gave.

    Attributes:
        name: in a; of an array that b alone has, the name there.
        other: name of the partner in b; None: there is none.
        units: number of units that the bound counts.
        matches: units whose best match is the unit of the same number.
        cosine: median |cosine| of units of the same number.
        log10_p: log10 of the layer's p, at most 0.
        variant: the form in which b holds it.
        candidates: partners and forms among which was chosen; p is multiplied by it.
        parameters: number of values.
        left_out: why it was not compared; None: it was.
        side: ``"b"`` of an array of b that has no partner.
    """

    name: str
    other: str | None = None
    units: int | None = None
    matches: int | None = None
    cosine: float | None = None
    log10_p: float | None = None
    variant: str | None = None
    candidates: int | None = None
    parameters: int = 0
    left_out: str | None = None
    side: str = "a"

    @property
    def p_value(self) -> float | None:
        """Of the layer; None where it was not compared. Never below the smallest normal float."""
        return None if self.log10_p is None else to_p_value(self.log10_p)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the p-value as JSON values."""
        return {**dataclasses.asdict(self), "p_value": self.p_value}


@dataclass(frozen=True)
class WeightsResult:
    """A verdict on two files' weights and what it follows from.

    Attributes:
        verdict: ``"identical"``, ``"weights related"``, ``"not distinguished"`` or ``"inconclusive"``.
        reason: one sentence.
        log10_p: log10 of p, at most 0; 0 where the verdict is inconclusive.
        attainable_log10_p: the same if every unit of every compared layer matched.
        alpha: α.
        a, b: names of the two.
        layers: compared ones first, in a's order, then those left out.
        coverage: share of each file's values that was compared, by ``"a"`` and ``"b"``.
        facts: what needs no statistic, such as the share of equal arrays; see `sac_fast.verify.weights.facts`.
        same_start: seeds that draw both models' first values; None: not looked for.
        ancestor: what a common ancestor explains; None: none was given.
        reordered: how far units agree after matching, beside independents; None: none were given.
        hypothesis: what p is the p-value of.
        conditions: under which it holds.
        warnings: remarks for the reader.

    Example::

        >>> rng = np.random.default_rng(0)
        >>> sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
        >>> a = {f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)}
        >>> b = {name: array + 0.05 * rng.normal(size=array.shape) for name, array in a.items()}
        >>> result = sac_fast.weights_test(a, b)
        >>> result.verdict, result.p_value < 1e-6, [layer.matches for layer in result.layers[:3]]
        ('weights related', True, [16, 32, 16])
    """

    verdict: str
    reason: str
    log10_p: float
    attainable_log10_p: float
    alpha: float
    a: str
    b: str
    layers: tuple[WeightsLayer, ...]
    coverage: dict[str, float]
    facts: dict[str, Any]
    same_start: dict[str, Any] | None = None
    ancestor: dict[str, Any] | None = None
    reordered: dict[str, Any] | None = None
    hypothesis: str = HYPOTHESIS
    conditions: tuple[str, ...] = CONDITIONS
    warnings: tuple[str, ...] = ()
    ground: str = field(default="weights", init=False)

    @property
    def p_value(self) -> float:
        """p of the hypothesis; never below the smallest normal float, `log10_p` says how small it is."""
        return to_p_value(self.log10_p)

    @property
    def compared(self) -> tuple[WeightsLayer, ...]:
        """The layers that were compared."""
        return tuple(layer for layer in self.layers if layer.left_out is None)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the p-value as JSON values."""
        fields = dataclasses.asdict(self)
        fields["layers"] = [layer.to_dict() for layer in self.layers]
        fields["conditions"], fields["warnings"] = list(self.conditions), list(self.warnings)
        return {**fields, "p_value": self.p_value}

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        rows = [
            (layer.name, layer.other, f"{layer.matches} of {layer.units}", layer.cosine, format_log10_p(layer.log10_p))
            for layer in self.compared
        ]
        about = f"{self.a} and {self.b}: {self.verdict}, p = {format_log10_p(self.log10_p)}. {self.reason}"
        columns = ("layer", "of the other", "units matched", "median |cosine|", "p")
        return html_table(columns, rows, about, (*self.conditions, *self.warnings))

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw matches and |cosine| of every compared layer.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            SacFastError: matplotlib is not installed.
        """
        from .plot import draw_layers

        return draw_layers(self, path)


def to_p_value(log10_p: float) -> float:
    """10 ** log10_p, never below the smallest normal float: 0 would claim too much."""
    return float(max(10.0**log10_p, sys.float_info.min))


def format_log10_p(log10_p: float | None) -> str:
    """A p-value that may be too small for a float; nothing for None."""
    if log10_p is None:
        return ""
    return f"{10.0**log10_p:.3g}" if log10_p > -4 else f"1e{log10_p:.0f}"
