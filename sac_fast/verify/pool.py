"""The ground "null pool": a suspect by any score, compared with independents, kind by kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..io.html import html_pairs
from ..models.common_form import CommonForm
from ..scores.weights import Floats
from ..verdict import Verdict
from .comparable import ComparableOutputs, comparable_outputs
from .kinds import describe_conditions, describe_hypothesis, describe_nearness, judge_by_score, required_kinds
from .names import unique_name
from .nulls import UNDECLARED, NullModels, check_distinct_models, check_outside, collect_nulls

#: From the rows of m models, the suspect first, to their (m,) distances to the source; all models in one role.
Measure = Callable[[Sequence[Tensor]], Floats]


@dataclass(frozen=True)
class Verification:
    """A verdict by a null pool, and the values it follows from.

    Attributes:
        verdict: see `sac_fast.verdict.Verdict`; its ``by_kind`` has the p-value against each kind of nulls.
        source, suspect: names of the two models.
        probe_hash: hash of the probes of all fingerprints.
        score: what the distances are.
        null_distances: distances of the independent models to the source, by name.
        null_kinds: their kinds, by name.
        ratio: the suspect's correlation distance to the source as a multiple of the nearest null's; None without nulls.
        thefts: p-value against each kind of simulated theft, by attack: small where the suspect is less like the source
            than such thefts are.
        hypothesis: what a verdict *derived* rejects.
        conditions: what has to be true for its rate to hold, and of what it says nothing.
        warnings: remarks for the reader, such as different preprocessing.
        ground: ``"null pool"``.

    Example::

        >>> import torch
        >>> outputs = torch.randn(12, 50, 10, generator=torch.Generator().manual_seed(0))
        >>> provenance = {"probe_hash": "sha256:" + "0" * 64}
        >>> source, *nulls = [
        ...     sac_fast.Fingerprint(o, {**provenance, "name": f"model {i}"}) for i, o in enumerate(outputs[:11])
        ... ]
        >>> suspect = sac_fast.Fingerprint(outputs[11], {**provenance, "name": "suspect"})
        >>> result = sac_fast.verify_fingerprints(source, suspect, nulls, alpha=0.1)
        >>> result.suspect, len(result.null_distances), result.to_dict()["verdict"]
        ('suspect', 10, 'not distinguished')
    """

    verdict: Verdict
    source: str
    suspect: str
    probe_hash: str
    score: str
    null_distances: dict[str, float]
    null_kinds: dict[str, str]
    ratio: float | None
    thefts: dict[str, float]
    hypothesis: str
    conditions: tuple[str, ...]
    warnings: tuple[str, ...]
    ground: str = "null pool"

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values, those of the verdict at the top level."""
        fields = dataclasses.asdict(self)
        verdict = fields.pop("verdict")
        lists = {name: list(fields[name]) for name in ("conditions", "warnings")}
        return {"source": self.source, "suspect": self.suspect, **verdict, **fields, **lists}

    def _repr_html_(self) -> str:
        """A table for notebooks; names are escaped."""
        by_kind = ", ".join(f"{kind} {p:.3g}" for kind, p in self.verdict.by_kind.items())
        pairs = {
            "verdict": self.verdict.verdict,
            "p": f"{self.verdict.p_value:.4g} (smallest attainable {self.verdict.attainable_p_value:.3g})",
            "p by kind": by_kind or None,
            "distance": f"{self.verdict.distance:.6g} ({self.score})",
            "why": self.verdict.reason,
            "hypothesis": self.hypothesis,
        }
        return html_pairs(f"{self.suspect} and {self.source}", pairs, (*self.conditions, *self.warnings))

    def plot(self, path: StrPath | None = None) -> Any:
        """Draw the suspect's distance to the source among those of the nulls.

        Args:
            path: PNG that is written, replaced if it is there; None: none.

        Returns:
            The matplotlib figure.

        Raises:
            SacFastError: matplotlib is not installed.
        """
        from .plot import draw_pools

        return draw_pools({self.suspect: self}, path)

    @property
    def strip(self) -> tuple[float, dict[str, list[float]]]:
        """The suspect's distance, and those of the nulls by kind."""
        groups: dict[str, list[float]] = {}
        for name, distance in self.null_distances.items():
            groups.setdefault(self.null_kinds[name], []).append(distance)
        return self.verdict.distance, groups or {"no nulls": []}


@dataclass(frozen=True, eq=False)
class PoolTest:
    """What a null pool needs to judge suspects of one source.

    Attributes:
        source: its fingerprint.
        nulls: fingerprints of independents.
        score: name of the score, for the report.
        make_measure: from source and suspect in a common form to the score's `Measure`.
        siblings: fingerprints of siblings that the score compares with: none may be a null.
        metric: of the correlations, where outputs have to be told from those that are no evidence.
        alpha: α.
        kinds: see `judge_by_score`.
        thefts: fingerprints of simulated thefts of the source, by attack.
        warnings: remarks for the report.
        known: distances of further nulls of undeclared kind, by name.
        held: names by `weights_hash` of models that took part in fitting the score: no suspect may be one of them.

    Raises:
        FingerprintError: a null with the weights (by hash) of the source, a sibling or another null.
    """

    source: Fingerprint
    nulls: Sequence[Fingerprint]
    score: str
    make_measure: Callable[[ComparableOutputs], Measure]
    siblings: Sequence[Fingerprint] = ()
    metric: str | None = None
    alpha: float = 0.05
    kinds: Sequence[str] | None = None
    thefts: Mapping[str, Sequence[Fingerprint]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    known: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    _collected: dict[CommonForm, NullModels] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        check_distinct_models(self.source, [*self.siblings, *self.nulls])

    def judge(self, suspect: Fingerprint) -> Verification:
        """Judge one suspect.

        Raises:
            FingerprintError: other probes, forms that cannot be compared, or a null with the suspect's weights.
            ValueError: an unknown kind, or α outside (0, 1).
        """
        check_outside(suspect, self.held, "the suspect")
        check_distinct_models(self.source, self.nulls, suspect)
        compared = comparable_outputs(self.source, suspect, self.nulls, metric=self.metric)
        if compared.form not in self._collected:
            self._collected[compared.form] = collect_nulls(compared.source, compared.nulls, compared.form.form)
        nulls = self._collected[compared.form]
        measure = self.make_measure(compared)
        rows = [compared.suspect.outputs, *(fp.outputs for fp in nulls.fingerprints)]
        required = required_kinds(rows[0].shape == compared.source.outputs.shape)
        verdict, of_nulls = judge_by_score(
            lambda chosen: measure([rows[0], *(rows[1 + i] for i in chosen)]),
            nulls,
            self.alpha,
            self.kinds,
            self.known,
            required,
        )
        if compared.inconclusive is not None:
            verdict = dataclasses.replace(verdict, verdict="inconclusive", p_value=1.0, reason=compared.inconclusive)
        nearness, ratio = describe_nearness(compared, nulls)
        names = list(nulls.names)
        for name in self.known:
            names.append(unique_name(name, names))
        return Verification(
            verdict=verdict,
            source=self.source.name,
            suspect=suspect.name,
            probe_hash=self.source.probe_hash,
            score=self.score,
            null_distances=dict(zip(names, [*of_nulls.tolist(), *self.known.values()], strict=True)),
            null_kinds=dict(zip(names, [*nulls.kinds, *[UNDECLARED] * len(self.known)], strict=True)),
            ratio=ratio,
            thefts=self._against_thefts(compared, measure, rows),
            hypothesis=describe_hypothesis(verdict, self.kinds),
            conditions=describe_conditions(nulls, self.kinds, required),
            warnings=(
                *preprocessing_warnings(self.source, [suspect, *nulls.fingerprints]),
                *([nearness] if nearness else []),
                *compared.warnings,
                *nulls.warnings,
                *self.warnings,
            ),
        )

    def _against_thefts(
        self, compared: ComparableOutputs, measure: Measure, rows: Sequence[Tensor]
    ) -> dict[str, float]:
        """``p = (1 + #{thefts at least as far as the suspect}) / (1 + #thefts)`` for each attack.

        Suspect and thefts are in one role: the nulls are measured with all of them.
        """
        found = {}
        for attack, thefts in self.thefts.items():
            given = [compared.form.rows(fp.formed) for fp in thefts if compared.form.accepts(fp.formed)]
            if given:
                distances = measure([rows[0], *given, *rows[1:]])[: 1 + len(given)]
                found[attack] = float(np.mean(distances >= distances[0]))
        return found


def preprocessing_warnings(source: Fingerprint, others: Sequence[Fingerprint]) -> tuple[str, ...]:
    """A warning that names the models with another preprocessing than the source, if there are any."""
    key = "preprocessing_hash"
    differ = [fp.name for fp in others if fp.provenance.get(key) != source.provenance.get(key)]
    if not differ:
        return ()
    return (f"preprocessing differs from the source's (correct if each model was trained so): {', '.join(differ)}",)
