"""What stands beside the p-value: a shared start, a common ancestor, reordered units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ...verdict.pool import attainable_p_value, conformal_p_value
from .ancestor import Divergence, describe_divergence, measure_divergence
from .arrays import NamedWeights, Weights, open_any
from .layers import Layer
from .reordered import measure_agreement
from .rules import describe_layers

_REORDERED = (
    "b agrees with a no more than one more of the independents does: exact where b, if honest, is exchangeable with "
    "them, which only how they were made can show"
)


def judge_reordered(a: NamedWeights, b: NamedWeights, independents: Sequence[Weights], alpha: float) -> dict[str, Any]:
    """Compare how far a's and b's units agree after matching with how far a's and the independents' do.

    Args:
        a, b: the two models.
        independents: models of a's architecture made without a, as b would be if it were honest.
        alpha: α.

    Returns:
        JSON values: share, those of the independents, p, the smallest p attainable, layers, verdict, hypothesis.
    """
    ours = _comparable(a)
    found = measure_agreement(ours, _comparable(b))
    shares = []
    for number, weights in enumerate(independents):
        with open_any(weights, f"independents[{number}]") as opened:
            shares.append(measure_agreement(ours, _comparable(opened)).share)
    p = conformal_p_value(-found.share, [-share for share in shares])
    attainable = attainable_p_value(len(shares))
    verdict = "weights related" if p <= alpha else "inconclusive" if attainable > alpha else "not distinguished"
    return {
        "share": found.share,
        "independents": shares,
        "p_value": p,
        "attainable_p_value": attainable,
        "verdict": verdict,
        "hypothesis": _REORDERED,
        "layers": [{"name": name, "units": units, "agree": agree} for name, units, agree in found.layers],
    }


def judge_ancestor(
    a: NamedWeights,
    b: NamedWeights,
    ancestor: NamedWeights,
    log10_p: tuple[float, float],
    independents: Sequence[Weights],
    alpha: float,
) -> dict[str, Any]:
    """What a common ancestor leaves to explain.

    Args:
        a, b, ancestor: the three models.
        log10_p: of a, and of b, against the ancestor.
        independents: models that come from the ancestor too, made without a.
        alpha: α.

    Returns:
        JSON values: the statement and the geometry; p of the cosine of both differences where there are independents.
    """
    base, ours, theirs = ({layer.name: layer for layer in _comparable(side)} for side in (ancestor, a, b))
    found = measure_divergence(ours, theirs, base)
    related = [p <= math.log10(alpha) for p in log10_p]
    cosines = []
    for number, weights in enumerate(independents if found is not None else ()):
        with open_any(weights, f"independents[{number}]") as opened:
            cosines.append(_cosine(measure_divergence(ours, {x.name: x for x in _comparable(opened)}, base)))
    p = conformal_p_value(-_cosine(found), [-cosine for cosine in cosines]) if cosines else None
    return {
        "name": ancestor.name,
        "log10_p": {"a": log10_p[0], "b": log10_p[1]},
        "statement": describe_divergence(found, related, p, alpha),
        "approximate": True,
        "p_value": p,
        "attainable_p_value": attainable_p_value(len(cosines)) if cosines else None,
        "independents": cosines,
        **({} if found is None else dataclasses.asdict(found)),
    }


def _cosine(found: Divergence | None) -> float:
    return 0.0 if found is None else found.cosine


def _comparable(weights: NamedWeights) -> list[Layer]:
    return [layer for layer in describe_layers(weights.arrays, weights.uses) if layer.use.left_out is None]
