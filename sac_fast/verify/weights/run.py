"""The test of two files' weights."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...formats.weights import WeightArray
from ...verdict.checks import check_rate
from .arrays import NamedWeights, Weights, open_any
from .combine import MIN_LAYERS, partial_conjunction
from .explain import judge_ancestor, judge_reordered
from .facts import EQUAL, Facts
from .fixed_points import Array
from .layers import Layer
from .matching import Comparison, compare_layers
from .merges import describe_adapter
from .result import WeightsLayer, WeightsResult
from .rules import describe_layers
from .same_start import Architecture, find_same_start
from .variants import PLAIN

NO_PARTNER = "no layer of its shape in the other file"
_MAX_FACT_BYTES = 1 << 28  # of an array that is read for the facts alone
_READ_BYTES = 4  # of a value


def weights_test(
    a: Weights,
    b: Weights,
    *,
    ancestor: Weights | None = None,
    independents: Sequence[Weights] = (),
    architecture: Architecture | None = None,
    alpha: float = 1e-3,
) -> WeightsResult:
    """Test whether two files' weights were made independently, from the weights alone.

    A layer's statistic is N, the number of hidden units whose best match in the other file (largest |cosine| of the
    weights) is the unit of the same number; ``P(N ≥ k) ≤ 1/k!`` if the weights are independent. At least half of the
    comparable layers must speak: ``p = (n − u + 1) · p_(u)``, u = ⌈n/2⌉ of n layers. Layers whose units are the same in
    every model, such as output layers and embeddings, are left out.

    Args:
        a, b: a path of any format that `open_weights` reads, a mapping of names to arrays or tensors, or a module.
        ancestor: a model from which both may come, such as a public backbone: what it explains is judged apart, in
            `WeightsResult.ancestor`.
        independents: models made without a, as b would be if it were honest (from the ancestor, where there is one).
            They calibrate what has no exact p-value: hidden units that were permuted or rescaled
            (`WeightsResult.reordered`), and what is shared beyond the ancestor.
        architecture: makes the untrained network, a callable or ``"package.module:callable"``: a start that both share
            by a usual seed is then named (`WeightsResult.same_start`). A module given as a or b serves too.
        alpha: α, bound on the probability that independent weights are called related.

    Returns:
        The verdict: *identical*, *weights related*, *not distinguished* or *inconclusive*, with every layer.

    Raises:
        ModelRefusedError: a file that cannot be read safely, or too many arrays.
        ValueError, TypeError: an argument of another kind, or a rate outside (0, 1).

    Example::

        >>> rng = np.random.default_rng(0)
        >>> sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
        >>> a, b = ({f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)} for _ in "ab")
        >>> sac_fast.weights_test(a, b).verdict
        'not distinguished'
        >>> sac_fast.weights_test(a, {name: array.astype("float16") for name, array in a.items()}).verdict
        'weights related'

    Source: docs/verdicts.md, "Weights".
    """
    check_rate("alpha", alpha)
    with open_any(a, "a") as ours, open_any(b, "b") as theirs:
        result = judge_weights(ours, theirs, alpha)
        found: dict[str, Any] = {}
        adapter = describe_adapter(ours, theirs) or describe_adapter(theirs, ours)
        if adapter is not None:
            found["facts"] = {**result.facts, "adapter": adapter}
        if result.verdict == "weights related":
            found["same_start"] = find_same_start(ours, theirs, architecture)
        if ancestor is not None:
            with open_any(ancestor, "ancestor") as origin:
                log10_p = (judge_weights(ours, origin, alpha).log10_p, judge_weights(theirs, origin, alpha).log10_p)
                found["ancestor"] = judge_ancestor(ours, theirs, origin, log10_p, independents, alpha)
        elif independents:
            found["reordered"] = judge_reordered(ours, theirs, independents, alpha)
        return dataclasses.replace(result, **found, warnings=_warn(found))


def _warn(found: dict[str, Any]) -> tuple[str, ...]:
    start = found.get("same_start")
    if not start or not start["seeds"]:
        return ()
    seeds = ", ".join(map(str, start["seeds"]))
    return (f"same initialisation: both models begin with what seed {seeds} draws, which proves no copying.",)


def judge_weights(ours: NamedWeights, theirs: NamedWeights, alpha: float) -> WeightsResult:
    """`weights_test` of two models that are open, without what stands beside the p-value."""
    left, right = describe_layers(ours.arrays, ours.uses), describe_layers(theirs.arrays, theirs.uses)
    facts = Facts()
    seen: set[int] = set()

    def watch(a: Layer, b: Layer, x: Array, y: Array) -> None:
        if a.name == b.name:
            seen.update((id(a.array), id(b.array)))
            facts.add(x, y, (a.array.dtype, b.array.dtype))

    left_in, right_in = ([layer for layer in side if layer.use.left_out is None] for side in (left, right))
    compared = compare_layers(left_in, right_in, watch)
    unread = _compare_rest(ours, theirs, facts, seen) + _compare_renamed(ours, theirs, compared, facts, seen)
    identical = facts.counts[EQUAL] == len(ours.arrays) == len(theirs.arrays) > 0
    usable = [pair for pair in compared if pair.refused is None]
    log10_p = partial_conjunction([pair.log10_p for pair in usable])
    attainable = partial_conjunction([pair.attainable_log10_p for pair in usable])
    verdict, reason = _decide(usable, log10_p, attainable, alpha, identical)
    return WeightsResult(
        verdict=verdict,
        reason=reason,
        log10_p=0.0 if verdict == "inconclusive" else log10_p,
        attainable_log10_p=attainable if len(usable) >= MIN_LAYERS else 0.0,
        alpha=alpha,
        a=ours.name,
        b=theirs.name,
        layers=_list_layers(left, right, compared),
        coverage={
            "a": sum(pair.a.parameters for pair in usable) / max(1, ours.parameters),
            "b": sum(pair.b.parameters for pair in usable) / max(1, theirs.parameters),
        },
        facts={"same_weights": identical, "arrays_not_read": unread, **facts.to_dict()},
    )


def _decide(
    usable: Sequence[Comparison], log10_p: float, attainable: float, alpha: float, identical: bool
) -> tuple[str, str]:
    """The verdict and its reason."""
    count = len(usable)
    if identical:
        return "identical", "Every array of one file has the same values in the other."
    if count < MIN_LAYERS:
        return "inconclusive", f"At least {MIN_LAYERS} comparable layers are needed, got {count}."
    if attainable > math.log10(alpha):
        return "inconclusive", f"The {count} comparable layers have too few units for α = {alpha:g}."
    half = (count + 1) // 2
    if log10_p <= math.log10(alpha):
        return (
            "weights related",
            f"At least {half} of {count} comparable layers hold weights that depend on each other.",
        )
    return "not distinguished", f"Fewer than {half} of {count} comparable layers show it at α = {alpha:g}."


def _compare_rest(ours: NamedWeights, theirs: NamedWeights, facts: Facts, seen: set[int]) -> int:
    """Count the facts of the other arrays of one name and shape; how many of them were too large to be read."""
    named = {array.name: array for array in theirs.arrays}
    unread = 0
    for array in ours.arrays:
        other = named.get(array.name)
        if other is None or {id(array), id(other)} & seen or other.shape != array.shape:
            continue
        if math.prod(array.shape) * _READ_BYTES > _MAX_FACT_BYTES:
            unread += 1
            continue
        seen.update((id(array), id(other)))
        facts.add(array.read(), other.read(), (array.dtype, other.dtype))
    return unread


def _compare_renamed(
    ours: NamedWeights, theirs: NamedWeights, compared: Sequence[Comparison], facts: Facts, seen: set[int]
) -> int:
    """Count the facts of arrays of other names: of equal content, or partners of the test; how many were too large."""
    rest = [[array for array in side.arrays if id(array) not in seen] for side in (ours, theirs)]
    forms = set.intersection(*({_form(array) for array in side} for side in rest))
    rest = [[array for array in side if _form(array) in forms] for side in rest]
    small = [[array for array in side if math.prod(array.shape) * _READ_BYTES <= _MAX_FACT_BYTES] for side in rest]
    by_content: dict[object, list[WeightArray]] = defaultdict(list)
    for array in small[1]:
        by_content[_content(array)].append(array)
    for array in small[0]:
        equal = by_content[_content(array)]
        if equal:
            other = equal.pop()
            seen.update((id(array), id(other)))
            facts.add(array.read(), other.read().reshape(array.shape), (array.dtype, other.dtype))
    for pair in compared:
        apart = pair.refused is None and not {id(pair.a.array), id(pair.b.array)} & seen
        if apart and pair.a.shape == pair.b.shape and pair.variant == PLAIN:
            facts.add(pair.a.read(), pair.b.read(), (pair.a.array.dtype, pair.b.array.dtype))
    return len(rest[0]) - len(small[0])


def _form(array: WeightArray) -> object:
    """Equal for arrays that may hold the same values: gates are an axis of their own where names tell of them."""
    return math.prod(array.shape), array.dtype


def _content(array: WeightArray) -> object:
    values = np.ascontiguousarray(array.read())
    return _form(array), hashlib.sha256(values.view(np.uint8).data if values.size else b"").digest()


def _list_layers(
    left: Sequence[Layer], right: Sequence[Layer], compared: Sequence[Comparison]
) -> tuple[WeightsLayer, ...]:
    """Compared layers in a's order, then the arrays of a and of b that were left out."""
    by_layer = {id(pair.a): pair for pair in compared}
    partners = {id(pair.b) for pair in compared}
    done = [_show(by_layer[id(layer)]) for layer in left if id(layer) in by_layer]
    rest = [
        WeightsLayer(layer.name, side=side, parameters=layer.parameters, left_out=layer.use.left_out or NO_PARTNER)
        for side, layers, used in (("a", left, set(by_layer)), ("b", right, partners))
        for layer in layers
        if id(layer) not in used
    ]
    return (*done, *rest)


def _show(pair: Comparison) -> WeightsLayer:
    sound = pair.refused is None
    return WeightsLayer(
        pair.a.name,
        pair.b.name,
        units=pair.units,
        matches=pair.matches if sound else None,
        cosine=pair.cosine if sound else None,
        log10_p=pair.log10_p if sound else None,
        variant=pair.variant,
        candidates=pair.candidates,
        parameters=pair.a.parameters,
        left_out=pair.refused,
    )
