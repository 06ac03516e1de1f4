"""Verdict on one suspect from fingerprints."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..ops import correlation_distance
from ..verdict import NullPool, Verdict
from .comparable import ComparableOutputs, comparable_outputs


@dataclass(frozen=True)
class Verification:
    """A verdict and the values it follows from.

    Attributes:
        verdict: see `sac_fast.verdict.Verdict`.
        source, suspect: names of the two models.
        probe_hash: hash of the probes of all fingerprints.
        metric, comparison: of the distance.
        null_distances: distances of the independent models to the source, by name.
        warnings: remarks for the reader, such as different preprocessing.

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
        ('suspect', 10, 'independent')
    """

    verdict: Verdict
    source: str
    suspect: str
    probe_hash: str
    metric: str
    comparison: str
    null_distances: dict[str, float]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values, those of the verdict at the top level."""
        fields = dataclasses.asdict(self)
        verdict = fields.pop("verdict")
        return {"source": self.source, "suspect": self.suspect, **verdict, **fields, "warnings": list(self.warnings)}


def verify_fingerprints(
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    *,
    alpha: float = 0.05,
    metric: str = "cosine",
    comparison: str = "l1",
    backend: str = "auto",
) -> Verification:
    """Judge a suspect by its distance to the source, compared with the distances of independent models.

    Source and suspect are compared in the weaker of their two output forms, and the nulls in the same
    (`sac_fast.verify.comparable`); outputs that hardly vary are *inconclusive*.

    Args:
        source: fingerprint of your model.
        suspect: fingerprint of the suspect, on the same probes.
        nulls: fingerprints of models known to be independent of the source, on the same probes. With too few (or no)
            nulls for α the verdict is *inconclusive*.
        alpha: α, bound on the probability that an independent model is called derived.
        metric, comparison, backend: see `sac_fast.correlation_distance`.

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
    check_distinct_models(source, suspect, nulls)
    compared = comparable_outputs(source, suspect, nulls, metric=metric)
    distances = [
        float(correlation_distance(compared.source, rows, metric=metric, comparison=comparison, backend=backend))
        for rows in (compared.suspect, *compared.nulls)
    ]
    return judge_distances(source, suspect, compared, distances, alpha, metric, comparison)


def judge_distances(
    source: Fingerprint,
    suspect: Fingerprint,
    compared: ComparableOutputs,
    distances: Sequence[float],
    alpha: float,
    metric: str,
    comparison: str,
    *,
    known_nulls: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> Verification:
    """Verdict from the distances of the suspect and of each null that is kept, in this order, to the source.

    Args:
        source, suspect: fingerprints of the models.
        compared: what `comparable_outputs` says of them and of the nulls.
        distances: (1 + number of nulls,) of the suspect, then of the nulls.
        alpha: α.
        metric, comparison: names for the report.
        known_nulls: distances of further nulls, by name.
        warnings: remarks for the report, besides those on preprocessing and forms.
    """
    null_distances = dict(known_nulls or {})
    for fp, distance in zip(compared.kept, distances[1:], strict=True):
        null_distances[unique_name(fp.name, null_distances)] = distance
    verdict = NullPool(list(null_distances.values())).judge(distances[0], alpha)
    if compared.inconclusive is not None:
        verdict = dataclasses.replace(verdict, verdict="inconclusive", p_value=1.0, reason=compared.inconclusive)
    return Verification(
        verdict,
        source.name,
        suspect.name,
        source.probe_hash,
        metric,
        comparison,
        null_distances,
        (*preprocessing_warnings(source, [suspect, *compared.kept]), *compared.warnings, *warnings),
    )


def check_distinct_models(source: Fingerprint, suspect: Fingerprint, nulls: Sequence[Fingerprint]) -> None:
    """Raise a FingerprintError if a null has the weights of the source, the suspect or another null."""
    known = {fp.model_hash: who for fp, who in ((source, "the source"), (suspect, "the suspect")) if fp.model_hash}
    for fp in nulls:
        if fp.model_hash in known:
            raise FingerprintError(
                f"a null must be a model of its own, got {fp.name!r} with the weights of {known[fp.model_hash]}"
            )
        if fp.model_hash:
            known[fp.model_hash] = f"the null {fp.name!r}"


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended if it is taken."""
    numbered = (f"{name} ({number})" for number in itertools.count(len(taken) + 1))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)


def preprocessing_warnings(source: Fingerprint, others: Sequence[Fingerprint]) -> tuple[str, ...]:
    """A warning that names the models with another preprocessing than the source, if there are any."""
    key = "preprocessing_hash"
    differ = [fp.name for fp in others if fp.provenance.get(key) != source.provenance.get(key)]
    if not differ:
        return ()
    return (f"preprocessing differs from the source's (correct if each model was trained so): {', '.join(differ)}",)
