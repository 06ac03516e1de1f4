"""Verdicts on suspects by the strongest ground that is available: siblings, nulls, or both; weights beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ..fingerprint import Fingerprint
from ..io.choices import Comparison, Ground, Metric
from ..io.files import StrPath
from ..ops.arguments import check_choice
from ..scores.siblings_channels import SIBLING_SCORES
from ..verdict import holm
from ..verdict.checks import check_rate
from ..verdict.pool import min_null_count
from .asked_alike import warn_of_inputs
from .fingerprints import POOL_SCORES, pool_test
from .packs import pack_conditions
from .pool import PoolTest, Verification
from .pool_by_rows import judge_by_rows
from .preset import calibrated_test
from .sibling_p_values import MIN_SIBLINGS, MIN_STUDENT_P
from .sibling_result import SiblingResult
from .siblings import sibling_test
from .verdicts import Verdicts
from .weights import WeightsResult

GROUNDS: tuple[Ground, ...] = get_args(Ground)
#: Every score of some ground.
SCORES = tuple(dict.fromkeys((*SIBLING_SCORES, *POOL_SCORES)))
# Of several grounds' words the first one counts.
_ORDER = ("derived", "derived (approximate)", "not distinguished", "inconclusive")


@dataclass(frozen=True)
class _Part:
    """What one ground says: p-values before and after adjustment for all suspects, by name."""

    ground: str
    p_value: dict[str, float]
    adjusted: dict[str, float]
    verdict: dict[str, str]
    reason: dict[str, str]
    smallest_p: float
    realised_rate: float
    hypothesis: str
    conditions: tuple[str, ...]
    warnings: tuple[str, ...]
    score: str


def verify_suspects(
    source: Fingerprint,
    suspects: Sequence[Fingerprint] | Mapping[str, Fingerprint],
    *,
    siblings: Sequence[Fingerprint] = (),
    nulls: Sequence[Fingerprint] = (),
    ground: Ground = "auto",
    score: str = "default",
    metric: Metric | None = None,
    comparison: Comparison | None = None,
    alpha: float = 0.05,
    kinds: Sequence[str] | None = None,
    thefts: Mapping[str, Sequence[Fingerprint]] | None = None,
    calibration: StrPath | None = None,
    weights: Mapping[str, WeightsResult] | None = None,
) -> Verdicts:
    """Judge suspects by the strongest ground that is available.

    * 4 or more siblings: `sac_fast.sibling_test`, exact from 1/α − 1 siblings on;
    * else nulls: `sac_fast.verify_fingerprints`, by the contrast where there are 1 to 3 siblings, by the similarity
      given the other nulls where there are none (`strongest_score`).

    With ``ground="both"`` both are tested at α/2 (Bonferroni). Fix ground and score before you look at results.

    Args:
        source: fingerprint of your model.
        suspects: fingerprints on the same probes, by name or with names of their own. Those of some of the probes
            (``probe_rows`` in their provenance) are compared on these, and are judged with the others.
        siblings: fingerprints of models of the source's recipe with other seeds.
        nulls: fingerprints of independents, with their kinds.
        ground: one of `GROUNDS`.
        score: ``"default"``, a score of the sibling test, or one of `POOL_SCORES`; ``"sac-jc"`` is the published one.
        metric, comparison, kinds, thefts: see `sac_fast.verify_fingerprints`.
        alpha: α.
        calibration: file of the calibrated score; the ground is then the null pool.
        weights: results of `sac_fast.weights_test` by suspect, to be reported beside the verdicts.

    Returns:
        The verdicts.

    Raises:
        FingerprintError: see `sac_fast.verify_fingerprints` and `sac_fast.sibling_test`.
        ValueError: no suspect, two of one name, an unknown name, a ground without what it needs, α outside (0, 1).

    Example::

        >>> import torch
        >>> outputs = torch.randn(11, 50, 10, generator=torch.Generator().manual_seed(0))
        >>> source, suspect, *nulls = (
        ...     sac_fast.Fingerprint(o, {"name": f"model {i}", "probe_hash": "sha256:" + "0" * 64})
        ...     for i, o in enumerate(outputs)
        ... )
        >>> result = sac_fast.verify_suspects(source, [suspect], nulls=nulls, alpha=0.1)
        >>> result.ground, result.verdict["model 1"], result.smallest_p
        ('null pool', 'not distinguished', 0.1)
    """
    alpha = check_rate("alpha", alpha)
    check_choice("ground", ground, GROUNDS)
    named = _by_name(suspects)
    chosen, why = choose_ground(len(siblings), len(nulls), ground, score, alpha, calibrated=calibration is not None)
    share = alpha / 2 if chosen == "both" else alpha
    found: SiblingResult | None = None
    pool: dict[str, Verification] = {}
    parts: list[_Part] = []
    against: dict[str, dict[str, float]] = {}
    if chosen in ("siblings", "both"):
        of_siblings = score if score in SIBLING_SCORES else "default"
        found = sibling_test(source, list(siblings), named, score=of_siblings, alpha=share)
        parts.append(_siblings_part(found))
        against = _against_thefts(source, siblings, found, of_siblings, thefts or {})
    if chosen in ("null pool", "both"):

        def make_test(**models: Any) -> PoolTest:
            if calibration is not None:
                return calibrated_test(calibration, source, nulls, share, kinds)
            return pool_test(
                **models, score=score if score in POOL_SCORES else "default", alpha=share, metric=metric,
                comparison=comparison, kinds=kinds,
            )  # fmt: skip

        pool, test = judge_by_rows(make_test, source, named, nulls, siblings, thefts or {})
        parts.append(_pool_part(pool, test))
        against = against or {name: result.thefts for name, result in pool.items()}
    made = _combine(source.name, list(named), parts, why, alpha, found, pool, dict(weights or {}), against)
    warned = warn_of_inputs(source, named, [*siblings, *nulls])
    more = pack_conditions([*siblings, *nulls])
    return dataclasses.replace(made, warnings=(*made.warnings, *warned), conditions=(*made.conditions, *more))


def choose_ground(
    siblings: int, nulls: int, ground: str, score: str, alpha: float, *, calibrated: bool = False
) -> tuple[str, str]:
    """The ground that decides, one of `GROUNDS` but "auto", and why in a few words.

    Raises:
        ValueError: a ground without what it needs, or a score that it does not have.
    """
    if score not in (*SIBLING_SCORES, *POOL_SCORES):
        raise ValueError(
            f"score must be one of {', '.join(dict.fromkeys((*SIBLING_SCORES, *POOL_SCORES)))}, got {score!r}"
        )
    enough = siblings >= MIN_SIBLINGS
    if ground in ("siblings", "both") and not enough:
        raise ValueError(f"siblings must be at least {MIN_SIBLINGS} for the ground {ground!r}, got {siblings}")
    if ground == "siblings" and score not in SIBLING_SCORES:
        raise ValueError(f"score must be one of {', '.join(SIBLING_SCORES)} for siblings, got {score!r}")
    if ground != "auto":
        return ground, "it was asked for"
    if calibrated:
        return "null pool", "a calibration was given"
    if enough and score in SIBLING_SCORES:
        exact = 1 / (siblings + 1) <= alpha
        return "siblings", f"{siblings} siblings are the strongest ground" + ("" if exact else ", though few")
    if score not in POOL_SCORES:
        raise ValueError(f"score {score!r} needs at least {MIN_SIBLINGS} siblings, got {siblings}")
    if enough:
        return "null pool", f"the score {score!r} is one of null pools"
    some = f"{siblings} sibling{'s' if siblings > 1 else ''}"
    have = f"{some}, fewer than {MIN_SIBLINGS}" if siblings else "no siblings"
    if not nulls:
        have += f": {MIN_SIBLINGS} give a first answer, {min_null_count(alpha)} an exact one"
    return "null pool", f"{nulls or 'no'} nulls, and {have}"


def _by_name(suspects: Sequence[Fingerprint] | Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    if isinstance(suspects, Mapping):
        named = dict(suspects)
    else:
        named = {fp.name: fp for fp in suspects}
        if len(named) < len(suspects):
            raise ValueError(f"suspects must have different names, got {[fp.name for fp in suspects]}")
    if not named:
        raise ValueError("suspects must hold at least one fingerprint, got none")
    return named


def _siblings_part(found: SiblingResult) -> _Part:
    return _Part(
        "siblings",
        dict(found.p_exact if found.exact else found.p_student),
        dict(found.adjusted if found.exact else found.adjusted_student),
        dict(found.verdict),
        dict(found.reason),
        found.smallest_p if found.exact else MIN_STUDENT_P,
        found.realised_rate,
        found.hypothesis,
        found.conditions,
        found.warnings,
        found.score,
    )


def _pool_part(pool: Mapping[str, Verification], test: PoolTest) -> _Part:
    results = list(pool.values())
    p_values = {name: result.verdict.p_value for name, result in pool.items()}
    adjusted = dict(zip(pool, holm(list(p_values.values())).tolist(), strict=True))
    verdict = {name: str(result.verdict.verdict) for name, result in pool.items()}
    reason = {name: result.verdict.reason for name, result in pool.items()}
    for name in pool:
        if verdict[name] == "derived" and adjusted[name] > test.alpha:
            verdict[name] = "inconclusive"
            reason[name] = (
                f"p = {p_values[name]:.3g}, but {adjusted[name]:.3g} adjusted for {len(pool)} suspects (Holm)."
            )
    warnings = dict.fromkeys(warning for result in results for warning in result.warnings)
    if len(pool) > 1:
        own = {name: [w for w in result.warnings if w.startswith("the suspect")] for name, result in pool.items()}
        warnings = dict.fromkeys(warning for warning in warnings if not warning.startswith("the suspect"))
        warnings |= dict.fromkeys(f"{name}: {warning}" for name, some in own.items() for warning in some)
    return _Part(
        "null pool",
        p_values,
        adjusted,
        verdict,
        reason,
        max(result.verdict.attainable_p_value for result in results),
        max(result.verdict.realised_rate for result in results),
        results[0].hypothesis,
        results[0].conditions,
        tuple(warnings),
        test.score,
    )


def _combine(
    source: str,
    names: Sequence[str],
    parts: Sequence[_Part],
    why: str,
    alpha: float,
    siblings: SiblingResult | None,
    pool: dict[str, Verification],
    weights: dict[str, WeightsResult],
    thefts: dict[str, dict[str, float]],
) -> Verdicts:
    """One verdict a suspect; p-values of several grounds count as many times as there are grounds."""
    times = len(parts)
    verdict, reason = {}, {}
    for name in names:
        words = [part.verdict[name] for part in parts]
        word = min(words, key=_ORDER.index)
        verdict[name] = word
        reason[name] = parts[words.index(word)].reason[name]

    def least(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: min(1.0, times * min(of[name] for of in values)) for name in names}

    return Verdicts(
        source=source,
        ground=" and ".join(part.ground for part in parts),
        why=why,
        alpha=alpha,
        verdict=verdict,
        p_value=least([part.p_value for part in parts]),
        adjusted=least([part.adjusted for part in parts]),
        reason=reason,
        smallest_p=min(1.0, times * min(part.smallest_p for part in parts)),
        realised_rate=sum(part.realised_rate for part in parts),
        hypothesis=" Or: ".join(part.hypothesis for part in parts),
        conditions=tuple(dict.fromkeys(text for part in parts for text in part.conditions)),
        warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        tried={
            name: tuple({"ground": part.ground, "score": part.score, "p_value": part.p_value[name]} for part in parts)
            for name in names
        },
        thefts=thefts,
        siblings=siblings,
        pool=pool,
        weights=weights,
    )


def _against_thefts(
    source: Fingerprint,
    siblings: Sequence[Fingerprint],
    found: SiblingResult,
    score: str,
    thefts: Mapping[str, Sequence[Fingerprint]],
) -> dict[str, dict[str, float]]:
    """p-values against simulated thefts: the share, with the suspect, whose statistic is not above the suspect's."""
    against: dict[str, dict[str, float]] = {name: {} for name in found.statistic}
    for attack, some in thefts.items():
        if not some:
            continue
        of_thefts = sibling_test(source, list(siblings), {str(i): fp for i, fp in enumerate(some)}, score=score)
        known = np.array([value for value in of_thefts.statistic.values() if value == value])
        for name, value in found.statistic.items():
            if value == value:
                against[name][attack] = float((1 + (known <= value).sum()) / (1 + len(known)))
    return against
