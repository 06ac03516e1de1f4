"""Claims about a model's origin, compared with what the weights show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .weights import WeightsResult

CONSISTENT, CONTRADICTED, NOT_DECIDED = "consistent", "contradicted", "not decided"
#: Share of a file's values that must have been compared before a missing relation contradicts a claim.
MIN_COVERAGE = 0.5
# A number or a version: ``v2``, ``0``, ``7b``, ``e29f68``.
_VERSION = re.compile(r"v?\d+[a-z]?|([a-z]\d+){2,}")
#: Words of names that any model's file may have.
_GENERIC = {"model", "models", "pytorch", "weights", "checkpoint", "network", "diffusion", "adapter", "best", "last"}


@dataclass(frozen=True)
class ClaimResult:
    """One claim and what the weights say of it.

    Attributes:
        verdict: ``"consistent"``, ``"contradicted"`` or ``"not decided"``.
        claim: the claim as a sentence.
        source: where it stands: a file's name, ``"metadata"`` or ``"name"``.
        reason: one sentence.
    """

    verdict: str
    claim: str
    source: str
    reason: str


def compare_claims(result: WeightsResult, a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[ClaimResult, ...]:
    """Compare what two files claim of each other with the result of the weights test.

    A claim that one file was made from the other is *consistent* if the weights are related, in whichever direction:
    the test does not tell child from parent. It is *contradicted* if the weights are not distinguished from independent
    ones although at least half of the values were compared. A name that continues the other one, such as
    ``model-r2scan``, says of which family a model is, not of which version: it is never contradicted. A claim of
    another base model is not decided by this pair.

    Args:
        result: of `sac_fast.weights_test` on the two files.
        a, b: `OpenedWeights.claims` of the two.

    Returns:
        A result for each claim of either file about the other, and for each base model that is not the other file.

    Example::

        >>> rng = np.random.default_rng(0)
        >>> sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
        >>> base = {f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)}
        >>> tuned = {name: array + 0.05 * rng.normal(size=array.shape) for name, array in base.items()}
        >>> claims = {"base_models": [{"name": "me/base", "relation": "finetune", "source": "README.md"}]}
        >>> result = sac_fast.weights_test(tuned, base)
        >>> [found.verdict for found in compare_claims(result, claims, {"names": ["base"]})]
        ['consistent']
    """
    return tuple(
        claim
        for ours, theirs, name, other in ((a, b, result.a, result.b), (b, a, result.b, result.a))
        for claim in _claims_of(result, ours, theirs, name, other)
    )


def _claims_of(
    result: WeightsResult, ours: Mapping[str, Any], theirs: Mapping[str, Any], name: str, other: str
) -> list[ClaimResult]:
    names = [str(text) for text in theirs.get("names", ())]
    found = []
    own = {_plain(str(text)) for text in ours.get("names", ())}
    for model in ours.get("base_models", ()):
        if _plain(model["name"]) in own:
            continue  # configurations name the model itself under the same key
        claim = f"{name} was made from {model['name']}"
        if _plain(model["name"]) in map(_plain, names):
            verdict, reason = _decide(result)
            found.append(ClaimResult(verdict, claim, model["source"], reason))
        else:
            found.append(ClaimResult(NOT_DECIDED, claim, model["source"], f"{other} has another name."))
    if any(_continues(text, base) for text in ours.get("names", ()) for base in names):
        verdict, reason = _decide(result)
        if verdict == CONTRADICTED:
            verdict, reason = NOT_DECIDED, "A name does not say of which version a model was made."
        found.append(ClaimResult(verdict, f"{name} has a name that continues that of {other}", "name", reason))
    return found


def _decide(result: WeightsResult) -> tuple[str, str]:
    if result.verdict in ("identical", "weights related"):
        return CONSISTENT, f"The weights say: {result.verdict}."
    coverage = max(result.coverage.values(), default=0.0)
    if result.verdict == "not distinguished" and coverage >= MIN_COVERAGE:
        return CONTRADICTED, f"The weights do not show it, with {coverage:.0%} of the values compared."
    return NOT_DECIDED, f"The weights say: {result.verdict}, with {coverage:.0%} of the values compared."


def _plain(name: str) -> str:
    """A model's own name, without its owner, in one spelling."""
    return "-".join(_words(name.rstrip("/").rpartition("/")[2]))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_. ]+", name.lower()) if word]


def _continues(name: str, base: str) -> bool:
    """Whether a name has the words of another one, and goes on; numbers and versions left out."""
    words, core = ([word for word in _words(text) if not _VERSION.fullmatch(word)] for text in (name, base))
    return not set(core) <= _GENERIC and words[: len(core)] == core and len(words) > len(core)
