"""Result of the sibling test."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from ..io.files import StrPath
from ..io.html import html_table
from .sibling_diagnostics import Diagnostic
from .sibling_p_values import MIN_STUDENT_P

SiblingVerdict = Literal["derived", "derived (approximate)", "not distinguished", "inconclusive"]
HYPOTHESIS = (
    "The suspect was made without access to the source, to its outputs, or to anything made from them: given the "
    "suspect, source and siblings are exchangeable."
)
CONDITIONS = (
    "Source and siblings were made by the same recipe, each with a seed of its own that nobody could predict.",
    "The source was not chosen among its siblings by accuracy or by this test.",
    "The probes were chosen without regard to which of the models is the source.",
    "The rate is over the owner's trainings: honest suspects of one source are right or wrong together.",
)
APPROXIMATE = "With so few siblings the verdicts follow from Student's t, which is approximate and holds down to 0.001."


@dataclass(frozen=True)
class SiblingResult:
    """Verdicts of the sibling test, by the suspect's name.

    Attributes:
        source: name of the source.
        siblings: names of the K siblings.
        alpha: α.
        score: as it was asked for.
        exact: whether the verdicts follow from the exact rank (1 / (K + 1) ≤ α), or from Student's t.
        p_exact: rank of the source among source and siblings.
        p_student: Student's t for one new value; approximate, never shown below 0.001.
        p_value: the same as `p_exact`.
        adjusted: `p_exact` adjusted for all suspects (max-T); verdicts follow from it.
        adjusted_student: `p_student` adjusted likewise; approximate.
        statistic: T(b, source); NaN where nothing varies.
        profiles: T(b, ·) of the source and of each sibling, in this order.
        output_form: in which form a suspect was compared.
        channels: what was compared, for each suspect.
        verdict: one of the four.
        reason: one sentence for each verdict.
        smallest_p: 1 / (K + 1).
        realised_rate: how often an honest suspect that ties with nobody is called derived: ⌊α(K + 1)⌋ / (K + 1), at
            most α; α itself where verdicts follow from Student's t.
        diagnostics: the source among its siblings, without a suspect.
        hypothesis, conditions, warnings: sentences.
        ground: ``"siblings"``.

    Example::

        >>> import torch
        >>> outputs = torch.randn(21, 200, 10, generator=torch.Generator().manual_seed(0))
        >>> source, *siblings = outputs[:20] + 2 * outputs[20]
        >>> result = sac_fast.sibling_test(source, siblings, {"copy": 2 * source, "noise": outputs[20].flip(0)})
        >>> result.verdict
        {'copy': 'derived', 'noise': 'inconclusive'}
        >>> result.adjusted["copy"], result.to_dict()["ground"]
        (0.05, 'siblings')
    """

    source: str
    siblings: tuple[str, ...]
    alpha: float
    score: str
    exact: bool
    p_exact: dict[str, float]
    p_student: dict[str, float]
    p_value: dict[str, float]
    adjusted: dict[str, float]
    adjusted_student: dict[str, float]
    statistic: dict[str, float]
    profiles: dict[str, tuple[float, ...]]
    output_form: dict[str, str]
    channels: dict[str, tuple[str, ...]]
    verdict: dict[str, SiblingVerdict]
    reason: dict[str, str]
    smallest_p: float
    realised_rate: float
    diagnostics: tuple[Diagnostic, ...]
    conditions: tuple[str, ...]
    warnings: tuple[str, ...]
    hypothesis: str = HYPOTHESIS
    ground: str = "siblings"

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values; NaN becomes None."""
        return {key: _json(value) for key, value in dataclasses.asdict(self).items()}

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        columns = ("suspect", "verdict", "p (exact)", "p adjusted", "p (Student's t)", "output form", "reason")
        rows = [
            (
                *(name, verdict, f"{self.p_exact[name]:.3g}", f"{self.adjusted[name]:.3g}"),
                *(format_student(self.p_student[name]), self.output_form[name], self.reason[name]),
            )
            for name, verdict in self.verdict.items()
        ]
        about = (
            f"Source {self.source}, {len(self.siblings)} siblings, α = {self.alpha:g}, smallest exact p = "
            f"{self.smallest_p:.3g}. Hypothesis: {self.hypothesis}"
        )
        among = tuple(f"Source among its siblings: {one.describe()}." for one in self.diagnostics)
        return html_table(columns, rows, about, (*self.conditions, *among, *self.warnings))

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw the similarity of each suspect to the source among those to the siblings.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            SacFastError: matplotlib is not installed.
        """
        from .plot import draw_strips

        strips = {name: (own, {"siblings": others}) for name, (own, *others) in self.profiles.items()}
        return draw_strips(strips, "similarity (line: to the source)", path)


def format_student(p: float) -> str:
    """Student's p as it may be shown: "< 0.001" at the limit down to which it holds."""
    return f"< {MIN_STUDENT_P:g}" if p <= MIN_STUDENT_P else f"{p:.3g}"


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value
