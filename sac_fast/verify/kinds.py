"""Verdicts by kind: the largest p-value over the kinds of nulls, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..models.kinds import KINDS
from ..ops import correlation_distances
from ..ops.arguments import check_choice
from ..scores import evenly_spaced
from ..scores.weights import Floats
from ..verdict import KindPool, Verdict, judge_by_kind
from ..verdict.kinds import NEAR_DUPLICATE
from .comparable import ComparableOutputs
from .names import list_names
from .nulls import MAX_PROBES, UNDECLARED, NullModels, choose_metric

#: What a suspect of undeclared kind is always compared with, where nulls declare their kinds: all that a model with
#: the source's outputs can be without the source. No kind stands for another: which is nearest depends on score and
#: task.
REQUIRED = ("same-data-same-architecture", "same-data", "other-data", "same-backbone", "other-backbone")
# Share by which distances of two models of their own differ.
_EQUAL = 1e-4


def required_kinds(same_outputs: bool) -> tuple[str, ...]:
    """The kinds without whose nulls a suspect of undeclared kind is never called derived.

    `REQUIRED`, and ``other-classes`` for suspects with another number of outputs than the source. ``sibling`` is not
    among them: models of the source's own recipe are the members of the sibling test, which is exact for it.

    Args:
        same_outputs: the suspect has the source's number of outputs.
    """
    return REQUIRED if same_outputs else (*REQUIRED, "other-classes")


def judge_by_score(
    distances: Callable[[Sequence[int]], Floats],
    nulls: NullModels,
    alpha: float,
    kinds: Sequence[str] | None = None,
    known: Mapping[str, float] | None = None,
    required: Sequence[str] = REQUIRED,
) -> tuple[Verdict, Floats]:
    """Judge a suspect by a score, kind by kind, near-duplicates among the nulls counted once.

    The p-value of a kind is the larger of two: over all of its nulls, exact if suspect and nulls are exchangeable one
    by one, and over its distinct models, exact if they are so model by model.

    Args:
        distances: from indices of r nulls to (1 + r,) distances of the suspect and of these to the source, with suspect
            and nulls in symmetric roles.
        nulls: the nulls.
        alpha: α.
        kinds: kinds that the suspect may be of if it was made without the source. Default: those of the nulls, and
            `required` where nulls declare any.
        known: distances of further nulls of undeclared kind, by name; equal ones count once.
        required: kinds of a suspect of undeclared kind, see `required_kinds`.

    Returns:
        The verdict, and (m,) distances of the nulls.

    Raises:
        ValueError: an unknown kind, or α outside (0, 1).
    """
    for kind in kinds or ():
        check_choice("kinds", kind, (*KINDS, UNDECLARED))
    further = list((known or {}).values())
    declared = nulls.declared()
    needed = list(kinds) if kinds else list(required) if set(declared) - {UNDECLARED} else []
    tested = list(kinds) if kinds else declared
    if not kinds and (further or not declared) and UNDECLARED not in tested:
        tested.append(UNDECLARED)
    everyone = range(len(nulls.names))
    found = distances(everyone)
    pools = _pools(found, nulls, everyone, tested, further)
    apart = _apart(further)
    if nulls.groups or len(apart) < len(further):
        pools += _pools(distances(nulls.distinct), nulls, nulls.distinct, tested, apart)
    return judge_by_kind(pools, alpha, required=needed), found[1:]


def _apart(known: Sequence[float]) -> list[float]:
    """Distances that differ: of nulls without outputs nothing else tells two models from one in two guises."""
    kept: list[float] = []
    for value in sorted(known):
        if not kept or value - kept[-1] > _EQUAL * value:
            kept.append(value)
    return kept


def _pools(
    found: Floats, nulls: NullModels, rows: Sequence[int], kinds: Sequence[str], known: Sequence[float]
) -> list[KindPool]:
    of = np.array([nulls.kinds[i] for i in rows], dtype=object)
    return [
        KindPool(kind, float(found[0]), [*found[1:][of == kind], *(known if kind == UNDECLARED else ())])
        for kind in kinds
    ]


def describe_hypothesis(verdict: Verdict, kinds: Sequence[str] | None) -> str:
    """What a *derived* by these nulls rejects, in one sentence."""
    if not verdict.null_count:
        return "The suspect is one more independent; there are no nulls to compare it with."
    if list(verdict.by_kind) == [UNDECLARED] and not kinds:
        return f"The suspect is one more model like these {verdict.null_count} nulls of undeclared kind."
    listed = ", ".join(f"{kind} ({count} nulls)" for kind, count in verdict.null_counts.items())
    one = "this kind" if len(verdict.by_kind) == 1 else "one of these kinds"
    return f"The suspect was made without the source and is one more model of {one}: {listed}."


def describe_conditions(
    nulls: NullModels, kinds: Sequence[str] | None, required: Sequence[str] = ()
) -> tuple[str, ...]:
    """What has to be true for the p-value to be exact, and what it says nothing of."""
    exchangeable = "Suspect and nulls of its kind are exchangeable: no null was chosen by its outputs."
    tested = list(kinds) if kinds else nulls.declared()
    if tested in ([], [UNDECLARED]):
        return (
            exchangeable,
            "The nulls declare no kind: an honest model that has more in common with the source than they have (data, "
            "architecture, backbone) is called derived more often than α.",
        )
    others = [kind for kind in KINDS if kind not in tested]
    found = [exchangeable, "Every null is of the kind that it declares."]
    if kinds:
        found.append(f"If made without the source, the suspect is of the kind that was declared: {', '.join(kinds)}.")
    if others:
        found.append(f"Nothing is said of the kinds {', '.join(others)}.")
    if not kinds and (missing := [kind for kind in required if kind in others]):
        found.append(
            f"A suspect of undeclared kind is not called derived without nulls of the kinds {', '.join(missing)}: add "
            "them, or name the kinds that it can be of (`kinds`, --kind), before you look at results."
        )
    return tuple(found)


def describe_nearness(compared: ComparableOutputs, nulls: NullModels) -> tuple[str | None, float | None]:
    """A remark if the suspect nearly equals another model, and its distance as a multiple of the nearest null's.

    Args:
        compared: source and suspect in one form.
        nulls: in the same form.
    """
    chosen = evenly_spaced(len(compared.source), MAX_PROBES)
    everyone = (compared.suspect, compared.source, *nulls.fingerprints)
    suspect, *others = (fp.outputs[chosen] for fp in everyone)
    metric = choose_metric(compared.source.outputs.shape[1], compared.form.form)
    found = correlation_distances(suspect, others, metric=metric).double().numpy()
    if not nulls.fingerprints:
        return ("the suspect's outputs are those of the source" if found[0] == 0 else None), None
    nearest = float(nulls.to_source.min())
    ratio = float(found[0]) / nearest if nearest > 0 else None
    notes = []
    if found[0] < NEAR_DUPLICATE * nearest:
        equal = "are those of the source" if found[0] == 0 else "are nearly those of the source"
        notes.append(f"the suspect's outputs {equal}: {ratio:.2g} of the distance of the nearest null")
    bound = NEAR_DUPLICATE * float(np.median(nulls.to_source))
    if same := [name for name, distance in zip(nulls.names, found[1:], strict=True) if distance < bound]:
        notes.append(f"the suspect's outputs are nearly those of a null: {list_names(same)}")
    return "; ".join(notes) or None, ratio
