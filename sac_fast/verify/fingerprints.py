"""From fingerprints to a verdict."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..verdict import NullPool, Verdict


@dataclass(frozen=True)
class Verification:
    """A verdict and all that led to it.

    Attributes:
        verdict: see `sac_fast.verdict.Verdict`.
        source, suspect: names of the two models.
        probe_hash: of the probes that all models answered.
        metric, comparison: the distance's.
        null_distances: distance to the source by name of independent model.
        warnings: what a reader should know (fingerprints made under different preprocessing, say).
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
        """All of it as JSON can hold it, the verdict's fields at the top."""
        return {
            "source": self.source,
            "suspect": self.suspect,
            **self.verdict.to_dict(),
            "metric": self.metric,
            "comparison": self.comparison,
            "probe_hash": self.probe_hash,
            "null_distances": self.null_distances,
            "warnings": list(self.warnings),
        }


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
    """Judge a suspect by its distance to the source, beside those of independent models.

    Args:
        source: your model's fingerprint.
        suspect: the suspect's, on the same probes.
        nulls: fingerprints of models known to be independent of the source, on the same probes. Too few for
            the rate, none included, make the verdict *inconclusive*.
        alpha: α, the share of independent models that may be called derived.
        metric, comparison, backend: see `sac_fast.correlation_distance`.

    Returns:
        The verdict with the distances behind it.

    Raises:
        FingerprintError: fingerprints of different probe sets, or a null that is the source, the suspect or
            another null once more (by the hash of the weights).
        ValueError: unknown names, or a rate outside (0, 1).
    """
    check_distinct_models(source, suspect, nulls)
    distances: dict[str, float] = {}
    for fp in nulls:
        name = unique_name(fp.name, distances)
        distances[name] = source.distance(fp, metric=metric, comparison=comparison, backend=backend)
    distance = source.distance(suspect, metric=metric, comparison=comparison, backend=backend)
    verdict = NullPool(list(distances.values())).judge(distance, alpha)
    return Verification(
        verdict,
        source.name,
        suspect.name,
        source.probe_hash,
        metric,
        comparison,
        distances,
        preprocessing_warnings(source, [suspect, *nulls]),
    )


def check_distinct_models(source: Fingerprint, suspect: Fingerprint, nulls: Sequence[Fingerprint]) -> None:
    """Raise a FingerprintError where a null is the source, the suspect or another null once more."""
    known = {fp.model_hash: who for fp, who in ((source, "the source"), (suspect, "the suspect")) if fp.model_hash}
    for fp in nulls:
        if fp.model_hash in known:
            raise FingerprintError(
                f"a null must be a model of its own, got {fp.name!r} with the weights of {known[fp.model_hash]}"
            )
        if fp.model_hash:
            known[fp.model_hash] = f"the null {fp.name!r}"


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, where it is taken with a number that makes it another."""
    numbered = (f"{name} ({number})" for number in itertools.count(len(taken) + 1))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def preprocessing_warnings(source: Fingerprint, others: Sequence[Fingerprint]) -> tuple[str, ...]:
    """What to say of models that saw the probes in another form than the source did."""
    key = "preprocessing_hash"
    differ = [fp.name for fp in others if fp.provenance.get(key) != source.provenance.get(key)]
    if not differ:
        return ()
    return (f"preprocessing differs from the source's (right, if each model was trained so): {', '.join(differ)}",)
