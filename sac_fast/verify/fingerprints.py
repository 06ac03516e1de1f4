"""Verdict on one suspect by a null pool, from fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from ..fingerprint import Fingerprint
from ..io.choices import Backend, Comparison, Metric
from ..ops import correlation_distance
from ..ops.arguments import COMPARISONS, METRICS, check_choice
from ..scores import FIXED
from ..scores.weights import Floats
from .comparable import ComparableOutputs
from .contrast import MIN_COHORT, contrast_distances, given_cohort_distances
from .pool import Measure, PoolTest, Verification

__all__ = ["POOL_SCORES", "Verification", "pool_test", "verify_fingerprints"]

#: Scores of a null pool. "distance": `correlation_distance` by metric and comparison. "default": the strongest one that
#: the given models allow, see `strongest_score`.
POOL_SCORES = ("default", "contrast", "given-cohort", "distance", *FIXED)


def strongest_score(siblings: int, nulls: int) -> str:
    """The score of a null pool that finds most, by the numbers of models alone, so that the choice costs nothing.

    The contrast where there are siblings; else what is left beyond the other nulls (`given_cohort_distances`), which on
    trained models finds two thirds more of the extracted ones than the published distance; that one with fewer than 4
    nulls.

    Example::

        >>> [strongest_score(*counts) for counts in ((2, 19), (0, 19), (0, 3))]
        ['contrast', 'given-cohort', 'distance']
    """
    if siblings:
        return "contrast"
    return "given-cohort" if nulls >= MIN_COHORT else "distance"


def verify_fingerprints(
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    *,
    siblings: Sequence[Fingerprint] = (),
    score: str = "default",
    alpha: float = 0.05,
    metric: Metric | None = None,
    comparison: Comparison | None = None,
    kinds: Sequence[str] | None = None,
    thefts: Mapping[str, Sequence[Fingerprint]] | None = None,
    backend: Backend = "auto",
) -> Verification:
    """Judge a suspect by a score, compared with the scores of independent models.

    Nulls declare what they have in common with the source (`Fingerprint.kind`). The p-value is the largest over kinds:
    an independent suspect of any of them is called derived with probability at most α. Nulls that declare nothing are
    one pool, and the verdict says so. Source and suspect are compared in the weaker of their two output forms, and the
    nulls in the same (`sac_fast.verify.comparable`); outputs that hardly vary are *inconclusive*.

    Args:
        source: fingerprint of your model.
        suspect: fingerprint of the suspect, on the same probes.
        nulls: fingerprints of models known to be independent of the source, on the same probes. With too few (or no)
            nulls of a kind the verdict is *inconclusive*. Nulls that are nearly one model count once.
        siblings: fingerprints of models of the source's recipe with other seeds, for the score "contrast". With 4 or
            more `sac_fast.sibling_test` needs no nulls.
        score: one of `POOL_SCORES`.
        alpha: α, bound on the probability that an independent model is called derived.
        metric, comparison, backend: see `sac_fast.correlation_distance`. A metric or comparison that is given asks for
            the score "distance", whose own are ``"cosine"`` and ``"l1"``.
        kinds: kinds, of `sac_fast.fingerprint.KINDS`, that the suspect may be of if it is independent. Default: those
            of the nulls and, where nulls declare any kind, all that a model made without the source can be
            (`sac_fast.verify.kinds.required_kinds`).
        thefts: fingerprints of simulated thefts of the source, by attack, for p-values against each.

    Returns:
        The verdict, with the distances it is based on.

    Raises:
        FingerprintError: fingerprints of different probe sets or of forms that cannot be compared, a source whose
            outputs are no evidence, or a null with the weights (by hash) of the source, a sibling, the suspect or
            another null.
        ValueError: an unknown name, a score without what it needs, or a rate outside (0, 1).

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
    test = pool_test(
        source, nulls, siblings=siblings, score=score, alpha=alpha, metric=metric, comparison=comparison,
        kinds=kinds, thefts=thefts, backend=backend,
    )  # fmt: skip
    return test.judge(suspect)


def pool_test(
    source: Fingerprint,
    nulls: Sequence[Fingerprint],
    *,
    siblings: Sequence[Fingerprint] = (),
    score: str = "default",
    alpha: float = 0.05,
    metric: Metric | None = None,
    comparison: Comparison | None = None,
    kinds: Sequence[str] | None = None,
    thefts: Mapping[str, Sequence[Fingerprint]] | None = None,
    backend: Backend = "auto",
) -> PoolTest:
    """The test of `verify_fingerprints` for any number of suspects; arguments and errors as there."""
    check_choice("score", score, POOL_SCORES)
    if score == "default":
        is_named = metric is not None or comparison is not None
        score = "distance" if is_named else strongest_score(len(siblings), len(nulls))
    metric, comparison = metric or "cosine", comparison or "l1"
    check_choice("metric", metric, METRICS)
    check_choice("comparison", comparison, COMPARISONS)
    if score == "contrast" and not siblings:
        raise ValueError("siblings must hold at least one fingerprint for the score 'contrast', got none")
    if score == "given-cohort" and len(nulls) < MIN_COHORT:
        raise ValueError(f"nulls must be at least {MIN_COHORT} for the score 'given-cohort', got {len(nulls)}")
    warnings: list[str] = []
    name = score
    of_correlations: str | None = None
    if score == "contrast":
        name = f"contrast with {len(siblings)} sibling" + ("s" if len(siblings) > 1 else "")
    elif score == "given-cohort":
        name = "similarity given the other nulls"
    elif score == "distance":
        name, of_correlations = f"{metric}, {comparison}", metric
    elif score in FIXED:
        name, of_correlations = FIXED[score].name, FIXED[score].metric
        wanted = "jpeg" if FIXED[score].probes.startswith("jpeg") else FIXED[score].probes
        if (kind := _probe_kind(source)) != wanted:
            warnings.append(f"the preset {score} is meant for probes of the kind {wanted}, got {kind}")
    distance = partial(correlation_distance, metric=metric, comparison=comparison, backend=backend)

    def published(own: Tensor, models: Sequence[Tensor]) -> Floats:
        return np.array([float(distance(own, rows)) for rows in models])

    def make_measure(compared: ComparableOutputs) -> Measure:
        own, form = compared.source.outputs, compared.form
        if score == "contrast":
            members = [form.rows(fp.formed) for fp in siblings]
            return lambda models: contrast_distances(own, members, models, form.form)
        if score == "given-cohort":
            # of a form that few nulls have, or of copies counted once, too few may be left
            return lambda models: (
                given_cohort_distances(own, models, form.form) if len(models) > MIN_COHORT else published(own, models)
            )
        if score in FIXED:
            return lambda models: FIXED[score].distances(own, models)
        return lambda models: published(own, models)

    for fp in siblings:
        source.check_same_probes(fp)
    return PoolTest(source, nulls, name, make_measure, siblings, of_correlations, alpha, kinds, thefts or {}, warnings)


def _probe_kind(fp: Fingerprint) -> str:
    """Kind of the probes as recorded in the fingerprint, as far as presets depend on it."""
    summary = fp.provenance.get("probes")
    if not isinstance(summary, dict):
        return "unknown"
    chosen = summary.get("selection")
    steps = chosen if isinstance(chosen, list) else []
    if any(isinstance(step, dict) and step.get("kind") == "misclassified" for step in steps):
        return "misclassified"
    return str(summary.get("kind", "unknown"))
