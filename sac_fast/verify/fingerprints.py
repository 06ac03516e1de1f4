"""Verdict on one suspect by a null pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..fingerprint import Fingerprint
from ..scores.weights import Floats
from ..verdict import Verdict
from .comparable import ComparableOutputs, comparable_outputs
from .kinds import (
    NullModels,
    check_distinct_models,
    collect_nulls,
    describe_conditions,
    describe_hypothesis,
    describe_nearness,
    judge_by_score,
)


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


def verify_fingerprints(
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    *,
    alpha: float = 0.05,
    metric: str = "cosine",
    comparison: str = "l1",
    kinds: Sequence[str] | None = None,
    backend: str = "auto",
) -> Verification:
    """Judge a suspect by its distance to the source, compared with the distances of independent models.

    Nulls declare what they have in common with the source (`Fingerprint.kind`). The p-value is the largest over kinds:
    an independent suspect of any of them is called derived with probability at most α. Nulls that declare nothing are
    one pool, and the verdict says so. Source and suspect are compared in the weaker of their two output forms, and the
    nulls in the same (`comparable_outputs`); a suspect whose outputs hardly vary is *inconclusive*.

    Args:
        source: fingerprint of your model.
        suspect: fingerprint of the suspect, on the same probes.
        nulls: fingerprints of models known to be independent of the source, on the same probes. With too few (or no)
            nulls of a kind the verdict is *inconclusive*. Nulls that are nearly one model count once.
        alpha: α, bound on the probability that an independent model is called derived.
        metric, comparison, backend: see `sac_fast.correlation_distance`.
        kinds: kinds, of `sac_fast.fingerprint.KINDS`, that the suspect may be of if it is independent. Default: those
            of the nulls, and "same-data-same-architecture" where nulls declare any kind.

    Returns:
        The verdict, with the distances it is based on.

    Raises:
        FingerprintError: fingerprints of different probe sets or of forms that cannot be compared, a source whose
            outputs are no evidence, or a null with the weights (by hash) of the source, the suspect or another null.
        ValueError: an unknown name, or a rate outside (0, 1).

    Example::

        >>> import torch
        >>> from sac_fast import Fingerprint, verify_fingerprints
        >>> def fingerprint_of(name, outputs):
        ...     return Fingerprint(outputs, {"name": name, "probe_hash": "sha256:" + "0" * 64})
        >>> outputs = torch.randn(11, 50, 10, generator=torch.Generator().manual_seed(0))
        >>> source = fingerprint_of("source", outputs[0])
        >>> suspect = fingerprint_of("suspect", outputs[0] + 0.1 * outputs[1])
        >>> nulls = [fingerprint_of(f"independent {i}", outputs[i]) for i in range(2, 11)]
        >>> result = verify_fingerprints(source, suspect, nulls, alpha=0.1)
        >>> result.verdict.verdict, result.verdict.p_value
        ('derived', 0.1)
    """
    check_distinct_models(source, nulls, suspect)
    compared = comparable_outputs(source, suspect, nulls, metric=metric)
    options = {"metric": metric, "comparison": comparison, "backend": backend}
    found = [compared.source.distance(fp, **options) for fp in (compared.suspect, *compared.nulls)]
    return verify_by_score(compared, fixed_distances(np.array(found)), f"{metric}, {comparison}", alpha, kinds)


def fixed_distances(found: Floats) -> Callable[[Sequence[int]], Floats]:
    """Distances of a score that looks at each model alone, as `judge_by_score` takes them.

    Args:
        found: (1 + m,) distances of the suspect and of all nulls.
    """
    return lambda rows: found[[0, *(1 + i for i in rows)]]


def verify_by_score(
    compared: ComparableOutputs,
    distances: Callable[[Sequence[int]], Floats],
    score: str,
    alpha: float,
    kinds: Sequence[str] | None = None,
    warnings: Sequence[str] = (),
    nulls: NullModels | None = None,
) -> Verification:
    """Verdict by any score.

    Args:
        compared: the fingerprints of all models, in one form.
        distances, alpha, kinds: see `judge_by_score`.
        score: its name, for the report.
        warnings: remarks for the report, besides those on preprocessing, forms and nulls.
        nulls: see `collect_nulls`. Default: those that are compared.
    """
    source, suspect = compared.source, compared.suspect
    nulls = collect_nulls(source, compared.nulls) if nulls is None else nulls
    verdict, of_nulls = judge_by_score(distances, nulls, alpha, kinds)
    if compared.inconclusive is not None:
        verdict = dataclasses.replace(verdict, verdict="inconclusive", p_value=1.0, reason=compared.inconclusive)
    nearness, ratio = describe_nearness(source, suspect, nulls)
    return Verification(
        verdict=verdict,
        source=source.name,
        suspect=suspect.name,
        probe_hash=source.probe_hash,
        score=score,
        null_distances=dict(zip(nulls.names, of_nulls.tolist(), strict=True)),
        null_kinds=dict(zip(nulls.names, nulls.kinds, strict=True)),
        ratio=ratio,
        hypothesis=describe_hypothesis(nulls, kinds),
        conditions=describe_conditions(nulls, kinds),
        warnings=(
            *preprocessing_warnings(source, [suspect, *nulls.fingerprints]),
            *([nearness] if nearness else []),
            *compared.warnings,
            *nulls.warnings,
            *warnings,
        ),
    )


def preprocessing_warnings(source: Fingerprint, others: Sequence[Fingerprint]) -> tuple[str, ...]:
    """A warning that names the models with another preprocessing than the source, if there are any."""
    key = "preprocessing_hash"
    differ = [fp.name for fp in others if fp.provenance.get(key) != source.provenance.get(key)]
    if not differ:
        return ()
    return (f"preprocessing differs from the source's (correct if each model was trained so): {', '.join(differ)}",)
