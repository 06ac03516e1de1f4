"""The sibling test: was a suspect made with access to the source, or does it know source and siblings equally little?

A sibling is a model made by the owner's own recipe with another seed. A suspect made without access to the source
cannot tell it from its siblings, whatever the suspect is. `docs/verdicts.md` has the proof and its conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import FingerprintError
from ..models.common_form import CommonForm
from ..models.output_form import OUTPUT_FORMS, check_informative
from ..ops.arguments import check_choice
from ..scores.siblings_chance import agreement_with_members, correlation_agreement
from ..scores.siblings_channels import SIBLING_SCORES, sibling_similarities
from ..verdict.checks import check_rate
from ..verdict.pool import largest_count
from .sibling_diagnostics import Diagnostic, diagnose_siblings, same_outputs, sibling_warnings
from .sibling_group import Group
from .sibling_inputs import (
    Member,
    Outputs,
    check_together,
    positions_of,
    read_members,
    read_suspects,
    representatives,
    shared_form,
)
from .sibling_p_values import (
    MIN_STUDENT_P,
    Floats,
    max_p_values,
    rank_p_values,
    standardise,
)
from .sibling_result import APPROXIMATE, CONDITIONS, SiblingResult, SiblingVerdict, format_student

# One-sided 0.1 % of the normal distribution.
_MIN_AGREEMENT = 3.09
_SILENT_SOURCE = "the source's outputs are equal for all probes in the form that both can be brought to"
_BY_CHANCE = "its outputs agree with source and siblings no better than chance, so they are no evidence"
# Scores that compare outputs of other classes too.
_ANY_CLASSES = ("default", "correlations", "regression", "sac-jc")
_T = TypeVar("_T")


def sibling_test(
    source: Outputs,
    siblings: Sequence[Outputs] | Mapping[str, Outputs],
    suspects: Mapping[str, Outputs] | Outputs,
    *,
    score: str = "default",
    output_form: str = "auto",
    alpha: float = 0.05,
    labels: ArrayLike | None = None,
) -> SiblingResult:
    """Test whether suspects were made from the source, by siblings: models of the same recipe with other seeds.

    ``p(b) = (1 + #{j ≥ 1: T(b, s_j) ≥ T(b, s_0)}) / (K + 1)`` with s_0 the source, s_1 … s_K its siblings. It is exact:
    a suspect made without access to the source gets ``p ≤ α`` with probability at most α, whatever its architecture,
    data, backbone, classes or output form. For several suspects ``adjusted`` bounds the probability of any false
    accusation: ``(1 + #{j ≥ 1: max_c T(c, s_j) ≥ T(b, s_0)}) / (K + 1)``. With fewer than 1/α − 1 siblings verdicts
    follow from Student's t and are approximate.

    Args:
        source: (n, k) outputs of your model on n probes: a fingerprint, recorded outputs, or an array; (n,) class
            numbers are labels.
        siblings: K ≥ 4 of them, on the same probes, in a list or by name.
        suspects: by name, or one suspect. k may differ, and a fingerprint whose ``probe_rows`` say that it is of some
            of the probes is compared on these. Each is compared in the weakest output form of it and
            the members.
        score: ``"default"``, or one of `sac_fast.scores.siblings_channels.SIBLING_SCORES`; fix it before you look at
            results.
        output_form: ``"auto"``, or the form in which to compare: everything stronger is brought to it. For arrays that
            could be of several forms it declares theirs.
        alpha: α.
        labels: (n,) true classes of the probes. They serve the diagnostics alone.

    Returns:
        p-values and verdicts by name, with conditions and diagnostics.

    Raises:
        FingerprintError: fingerprints of different probes, or siblings with the same weights or outputs.
        TypeError, ValueError: fewer than 4 siblings, wrong shapes, NaN in source or siblings, unknown names, or α
            outside (0, 1).

    Example::

        >>> import torch
        >>> outputs = torch.randn(21, 200, 10, generator=torch.Generator().manual_seed(0))
        >>> task = 2 * outputs[20]
        >>> source, *siblings = outputs[:20] + task
        >>> thief = source + 0.5 * torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
        >>> result = sac_fast.sibling_test(source, siblings, {"thief": thief})
        >>> result.p_value["thief"], result.verdict["thief"]
        (0.05, 'derived')

    Source: permutation tests of exchangeability; max-T: Westfall and Young, "Resampling-based multiple testing", 1993.
    """
    alpha = check_rate("alpha", alpha)
    check_choice("score", score, SIBLING_SCORES)
    check_choice("output_form", output_form, ("auto", *OUTPUT_FORMS))
    members = read_members(source, siblings, output_form)
    tested = read_suspects(suspects, output_form)
    check_together(members, tested)
    groups = _group(members, tested, output_form)
    for group in list(groups):
        _check_agreement(group, members, tested)
        if score in _ANY_CLASSES:
            groups.append(_split_other_classes(group, members))
    groups = [group for group in groups if group.places]
    for group in groups:
        _compare(group, members, score)
    own_form = shared_form(representatives(members), members[0].formed, output_form)
    brought = [own_form.rows(member.formed) for member in members]
    same = same_outputs(brought, form=own_form.form)
    for i, j in same:
        if i > 0:  # a copy of the source counts against the accusation, one of a sibling for it
            raise FingerprintError(
                f"{members[j].name} must be a model of its own, got the outputs of {members[i].name}"
            )
    diagnostics = diagnose_siblings(brought, _check_labels(labels, len(brought[0])), form=own_form.form)
    return _judge(members, tested, groups, alpha, score, diagnostics, sibling_warnings(members, diagnostics, same))


def _check_labels(labels: ArrayLike | None, count: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    checked = np.asarray(labels)
    if checked.shape != (count,) or checked.dtype.kind not in "iu":
        raise ValueError(f"labels must be {count} integers, got {checked.dtype} {checked.shape}")
    return checked.astype(np.int64)


def _group(members: Sequence[Member], tested: Sequence[Member], output_form: str) -> list[Group]:
    """Suspects by common form and width; those that cannot be compared stand in a group of their own."""
    groups: dict[tuple[CommonForm | None, int, tuple[int, ...] | None], Group] = {}
    deciding = representatives(members)
    for place, suspect in enumerate(tested):
        shared, rows, problem = None, suspect.outputs, suspect.problem
        if problem is None:
            try:
                shared = shared_form(deciding, suspect.formed, output_form)
                rows = shared.rows(suspect.formed)
            except ValueError as error:
                shared, problem = None, str(error)
        at = positions_of(suspect, members[0]) if shared else None
        group = groups.setdefault((shared, rows.shape[1] if shared else 0, at), Group(shared, at))
        group.places.append(place)
        group.rows.append(rows)
        group.problems.append(problem)
    return list(groups.values())


def _check_agreement(group: Group, members: Sequence[Member], tested: Sequence[Member]) -> None:
    """Note the suspects of a group that are no evidence."""
    if group.shared is None:
        return
    heads = group.heads(members)
    form = group.shared.form
    if bool((heads[0] == heads[0][0]).all()):
        group.problems = [problem or _SILENT_SOURCE for problem in group.problems]
        return
    for i, z in enumerate(_agreement(heads, group.rows, form)):
        if z < _MIN_AGREEMENT:
            formed = tested[group.places[i]].formed
            group.problems[i] = check_informative(formed.outputs, formed.form) or _BY_CHANCE


def _split_other_classes(group: Group, members: Sequence[Member]) -> Group:
    """Take out the suspects whose outputs agree with the members' by their correlations alone.

    They have other classes, or the same ones in another order. The decision treats all members alike.
    """
    moved = Group(group.shared, group.at, same_classes=False)
    at = [i for i, problem in enumerate(group.problems) if problem == _BY_CHANCE]
    if group.shared is None or not at or group.shared.form in ("similarities", "embeddings"):
        return moved
    heads = group.heads(members)
    if {rows.shape[1] for rows in group.rows} != {head.shape[1] for head in heads}:
        return moved
    metric = "cosine" if group.shared.form == "labels" else "pearson"
    found = correlation_agreement(heads, [group.rows[i] for i in at], metric)
    for i in [i for i, z in zip(at, found, strict=True) if z >= _MIN_AGREEMENT][::-1]:
        moved.places.append(group.places.pop(i))
        moved.rows.append(group.rows.pop(i))
        group.problems.pop(i)
        moved.problems.append(None)
    return moved


def _compare(group: Group, members: Sequence[Member], score: str) -> None:
    """Fill in the group's channels; a suspect that is no evidence gets NaN."""
    if group.shared is None:
        return
    heads = group.heads(members)
    silent = [i for i, problem in enumerate(group.problems) if problem]
    form = group.shared.form
    found = sibling_similarities(heads, group.rows, form, score, same_classes=group.same_classes)
    for name, similarities in found.items():
        group.channels[name] = standardise(similarities)
        group.channels[name][silent] = np.nan


def _agreement(heads: Sequence[Tensor], rows: Sequence[Tensor], form: str) -> Floats:
    if form == "embeddings" or len({model.shape[1] for model in (*heads, *rows)}) > 1:
        return correlation_agreement(heads, rows, "cosine" if form in ("embeddings", "labels") else "pearson")
    return agreement_with_members(heads, rows, soft=form not in ("labels", "similarities"))


def _judge(
    members: Sequence[Member],
    tested: Sequence[Member],
    groups: Sequence[Group],
    alpha: float,
    score: str,
    diagnostics: Sequence[Diagnostic],
    warnings: Sequence[str],
) -> SiblingResult:
    profiles = np.full((len(tested), len(members)), np.nan)
    student, adjusted_student = np.ones(len(tested)), np.ones(len(tested))
    problems: list[str | None] = [None] * len(tested)
    forms = [suspect.formed.form for suspect in tested]
    channels: list[tuple[str, ...]] = [()] * len(tested)
    for group in groups:
        profiles[group.places] = group.profiles(len(members))
        student[group.places] = group.student(over_suspects=False)
        adjusted = group.student(over_suspects=True) * len(groups)
        adjusted_student[group.places] = np.clip(adjusted, student[group.places], 1.0)
        for place, problem in zip(group.places, group.problems, strict=True):
            problems[place] = problem
            channels[place] = tuple(group.channels)
            forms[place] = group.shared.form if group.shared else forms[place]
    exact = rank_p_values(profiles)
    adjusted_exact = max_p_values(profiles)
    smallest = 1 / len(members)
    told = [
        _verdict(problem, a, t, smallest, alpha)
        for problem, a, t in zip(problems, adjusted_exact, adjusted_student, strict=True)
    ]
    names = [suspect.name for suspect in tested]

    def by_name(values: Iterable[_T]) -> dict[str, _T]:
        return dict(zip(names, values, strict=True))

    return SiblingResult(
        source=members[0].name,
        siblings=tuple(member.name for member in members[1:]),
        alpha=alpha,
        score=score,
        exact=_is_exact(smallest, alpha),
        p_exact=by_name(exact.tolist()),
        p_student=by_name(student.tolist()),
        p_value=by_name(exact.tolist()),
        adjusted=by_name(adjusted_exact.tolist()),
        adjusted_student=by_name(adjusted_student.tolist()),
        statistic=by_name(profiles[:, 0].tolist()),
        profiles=by_name([tuple(row) for row in profiles.tolist()]),
        output_form=by_name(forms),
        channels=by_name(channels),
        verdict=by_name([verdict for verdict, _ in told]),
        reason=by_name([reason for _, reason in told]),
        smallest_p=smallest,
        realised_rate=largest_count(alpha, len(members)) / len(members) if _is_exact(smallest, alpha) else alpha,
        diagnostics=tuple(diagnostics),
        conditions=CONDITIONS if _is_exact(smallest, alpha) else (*CONDITIONS, APPROXIMATE),
        warnings=tuple(warnings),
    )


def _is_exact(smallest: float, alpha: float) -> bool:
    return smallest <= alpha + 1e-12


def _verdict(
    problem: str | None, adjusted: float, student: float, smallest: float, alpha: float
) -> tuple[SiblingVerdict, str]:
    if problem:
        return "inconclusive", problem
    if _is_exact(smallest, alpha):
        if adjusted <= alpha + 1e-12:
            return "derived", f"it is nearer to the source than to siblings: exact p = {adjusted:.3g}"
        return "not distinguished", f"it is not nearer to the source than to siblings: exact p = {adjusted:.3g}"
    if alpha < MIN_STUDENT_P:
        return "inconclusive", f"too few siblings for α = {alpha:g}: the smallest exact p is {smallest:.3g}"
    shown = f"p by Student's t {format_student(student)}"
    if student <= alpha:
        return "derived (approximate)", f"it is nearer to the source than to siblings: {shown}"
    return "not distinguished", f"it is not nearer to the source than to siblings: {shown}"
