"""The result of `verify_suspects`: one form over all grounds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..io.files import StrPath
from ..io.html import html_table
from .pool import Verification
from .sibling_result import SiblingResult
from .weights import WeightsResult


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on suspects of one source, by name, with what they follow from.

    Attributes:
        source: name of the source.
        ground: ``"siblings"``, ``"null pool"`` or ``"siblings and null pool"``: what decides.
        why: why this ground was taken.
        alpha: α, the bound on the probability that any honest suspect is called derived.
        verdict: ``"derived"``, ``"derived (approximate)"``, ``"not distinguished"`` or ``"inconclusive"``.
        p_value: of the deciding ground; of both together by Bonferroni.
        adjusted: the same, adjusted for all suspects: max-T over siblings, Holm over a null pool.
        reason: one sentence for each verdict.
        smallest_p: the smallest attainable p-value.
        realised_rate: how often the ground calls an honest suspect derived at α, on average; at most α.
        hypothesis: what *derived* rejects.
        conditions: what has to be true for α to hold.
        warnings: remarks for the reader.
        tried: for each suspect: every ground and score that was tried on it, with its p-value.
        thefts: for each suspect: p-value against each kind of simulated theft; small where it is less like the source
            than such thefts are.
        siblings: the sibling test; None where it was not made.
        pool: verdicts by the null pool.
        weights: weights tests, reported beside the verdict and never part of it.

    Example::

        >>> import torch
        >>> outputs = torch.randn(21, 200, 10, generator=torch.Generator().manual_seed(0))
        >>> def fingerprint_of(i, o):
        ...     return sac_fast.Fingerprint(o, {"name": f"model {i}", "probe_hash": "sha256:" + "0" * 64})
        >>> source, *siblings = (fingerprint_of(i, o) for i, o in enumerate(outputs[:20] + 2 * outputs[20]))
        >>> copy = fingerprint_of("copy", 2 * source.outputs)
        >>> result = sac_fast.verify_suspects(source, [copy], siblings=siblings)
        >>> result.ground, result.verdict
        ('siblings', {'model copy': 'derived'})
    """

    source: str
    ground: str
    why: str
    alpha: float
    verdict: dict[str, str]
    p_value: dict[str, float]
    adjusted: dict[str, float]
    reason: dict[str, str]
    smallest_p: float
    realised_rate: float
    hypothesis: str
    conditions: tuple[str, ...]
    warnings: tuple[str, ...]
    tried: dict[str, tuple[dict[str, Any], ...]]
    thefts: dict[str, dict[str, float]] = field(default_factory=dict)
    siblings: SiblingResult | None = None
    pool: dict[str, Verification] = field(default_factory=dict)
    weights: dict[str, WeightsResult] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        rows = [
            (name, verdict, f"{self.p_value[name]:.3g}", f"{self.adjusted[name]:.3g}", self.reason[name])
            for name, verdict in self.verdict.items()
        ]
        about = (
            f"Source {self.source}, by {self.ground} ({self.why}), α = {self.alpha:g}, smallest p = "
            f"{self.smallest_p:.3g}. Hypothesis: {self.hypothesis}"
        )
        return html_table(
            ("suspect", "verdict", "p", "p adjusted", "reason"), rows, about, (*self.conditions, *self.warnings)
        )

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw the suspects among the siblings; without siblings among the nulls.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            FigureError: matplotlib is not installed, or no suspect was compared.
        """
        if self.siblings is not None:
            return self.siblings.plot(path)
        from .plot import draw_pools

        return draw_pools(self.pool, path)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        nested = ("siblings", "pool", "weights")
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in nested}
        own |= {name: list(own[name]) for name in ("conditions", "warnings")}
        own["tried"] = {name: list(tried) for name, tried in self.tried.items()}
        return {
            **own,
            "siblings": None if self.siblings is None else self.siblings.to_dict(),
            "pool": {name: result.to_dict() for name, result in self.pool.items()},
            "weights": {name: result.to_dict() for name, result in self.weights.items()},
        }
