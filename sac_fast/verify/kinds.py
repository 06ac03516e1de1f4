"""Independents as nulls of one source: their kinds, models that count once, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..models.kinds import KINDS
from ..ops import correlation_distances, pairwise_correlation_distances
from ..ops.arguments import check_choice
from ..scores import evenly_spaced
from ..scores.weights import Floats
from ..verdict import KindPool, Verdict, judge_by_kind, near_duplicates
from ..verdict.kinds import NEAR_DUPLICATE
from .names import unique_name

#: Kind of nulls that declare none.
UNDECLARED = "undeclared"
#: What a suspect of undeclared kind is always compared with, where nulls declare their kinds: the nearest that a model
#: trained from new weights can be.
REQUIRED = ("same-data-same-architecture",)
# Distances between nulls need no more probes than this to tell copies from models of their own.
_MAX_PROBES = 500
# Share of the probes by which a null may agree less with the source than the median of its kind.
_MAX_LOSS = 0.2


@dataclass(frozen=True, eq=False)
class NullModels:
    """Nulls of one source, before any suspect is looked at.

    Attributes:
        names: m different names.
        fingerprints: (m,) on the source's probes; only the first ones, where outputs of the others are not known.
        kinds: (m,) one of `KINDS`, or `UNDECLARED`.
        groups: indices of nulls that count once (`near_duplicates`).
        to_source: correlation distances (pearson, l1) of those with fingerprints to the source.
        warnings: remarks for the reader.
    """

    names: tuple[str, ...]
    fingerprints: tuple[Fingerprint, ...]
    kinds: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    to_source: Floats
    warnings: tuple[str, ...]

    @property
    def distinct(self) -> list[int]:
        """Indices of one null for each model: of those that count once the nearest to the source."""
        dropped = {i for group in self.groups for i in group if i != min(group, key=lambda i: (self.to_source[i], i))}
        return [i for i in range(len(self.names)) if i not in dropped]

    def declared(self) -> list[str]:
        """The kinds of the nulls, each once, in the order of `KINDS`."""
        return [kind for kind in (*KINDS, UNDECLARED) if kind in self.kinds]


def collect_nulls(source: Fingerprint, nulls: Sequence[Fingerprint]) -> NullModels:
    """Check nulls of a source, and look for those that are no evidence.

    Args:
        source: fingerprint of the source.
        nulls: fingerprints of independents on the same probes; `Fingerprint.kind` says what each has in common with
            the source.

    Returns:
        The nulls, with warnings of: nulls that count once; nulls much nearer to the source than others of their kind;
        nulls worse at the source's task; nulls of another task.

    Raises:
        FingerprintError: other probes, or a null with the weights (by hash) of the source or another null.
    """
    check_distinct_models(source, nulls)
    names: list[str] = []
    for fp in nulls:
        source.check_same_probes(fp)
        names.append(unique_name(fp.name, names))
    kinds = [fp.kind or UNDECLARED for fp in nulls]
    rows = evenly_spaced(len(source), _MAX_PROBES)
    outputs = [fp.outputs[rows] for fp in (source, *nulls)]
    between = pairwise_correlation_distances(outputs, metric="pearson").double().numpy()
    groups = near_duplicates(between[1:, 1:], kinds)
    found = NullModels(tuple(names), tuple(nulls), tuple(kinds), tuple(map(tuple, groups)), between[0, 1:], ())
    warnings = (*_repeated(found), *_near_the_source(found), *_worse(source, found), *_other_tasks(source, found))
    return NullModels(found.names, found.fingerprints, found.kinds, found.groups, found.to_source, warnings)


def check_distinct_models(
    source: Fingerprint, nulls: Sequence[Fingerprint], suspect: Fingerprint | None = None
) -> None:
    """Raise a FingerprintError if a null has the weights of the source, the suspect or another null."""
    known = {source.model_hash: "the source"} if source.model_hash else {}
    if suspect is not None and suspect.model_hash:
        known.setdefault(suspect.model_hash, "the suspect")
    for fp in nulls:
        if fp.model_hash in known:
            raise FingerprintError(
                f"a null must be a model of its own, got {fp.name!r} with the weights of {known[fp.model_hash]}"
            )
        if fp.model_hash:
            known[fp.model_hash] = f"the null {fp.name!r}"


def judge_by_score(
    distances: Callable[[Sequence[int]], Floats], nulls: NullModels, alpha: float, kinds: Sequence[str] | None = None
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
            `REQUIRED` where nulls declare any.

    Returns:
        The verdict, and (m,) distances of the nulls.

    Raises:
        ValueError: an unknown kind, or α outside (0, 1).
    """
    for kind in kinds or ():
        check_choice("kinds", kind, (*KINDS, UNDECLARED))
    declared = nulls.declared()
    required = list(kinds) if kinds else list(REQUIRED) if set(declared) - {UNDECLARED} else []
    tested = list(kinds) if kinds else declared or [UNDECLARED]
    found = distances(range(len(nulls.names)))
    pools = _pools(found, nulls, range(len(nulls.names)), tested)
    if nulls.groups:
        pools += _pools(distances(nulls.distinct), nulls, nulls.distinct, tested)
    return judge_by_kind(pools, alpha, required=required), found[1:]


def _pools(found: Floats, nulls: NullModels, rows: Sequence[int], kinds: Sequence[str]) -> list[KindPool]:
    of = np.array([nulls.kinds[i] for i in rows], dtype=object)
    return [KindPool(kind, float(found[0]), found[1:][of == kind]) for kind in kinds]


def describe_hypothesis(nulls: NullModels, kinds: Sequence[str] | None) -> str:
    """What a *derived* by these nulls rejects, in one sentence."""
    counts = {kind: nulls.kinds.count(kind) for kind in (kinds or nulls.declared())}
    if not counts:
        return "The suspect is one more independent; there are no nulls to compare it with."
    if list(counts) == [UNDECLARED]:
        return f"The suspect is one more model like these {counts[UNDECLARED]} nulls of undeclared kind."
    listed = ", ".join(f"{kind} ({count} nulls)" for kind, count in counts.items())
    one = "this kind" if len(counts) == 1 else "one of these kinds"
    return f"The suspect was made without the source and is one more model of {one}: {listed}."


def describe_conditions(nulls: NullModels, kinds: Sequence[str] | None) -> tuple[str, ...]:
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
    if "same-backbone" in others:
        found.append("If the source was fine-tuned from a public model, nulls of the kind same-backbone are needed.")
    return tuple(found)


def describe_nearness(source: Fingerprint, suspect: Fingerprint, nulls: NullModels) -> tuple[str | None, float | None]:
    """A remark if the suspect nearly equals another model, and its distance as a multiple of the nearest null's."""
    rows = evenly_spaced(len(source), _MAX_PROBES)
    others = [fp.outputs[rows] for fp in (source, *nulls.fingerprints)]
    found = correlation_distances(suspect.outputs[rows], others, metric="pearson").double().numpy()
    notes = []
    if not nulls.fingerprints:
        return ("the suspect's outputs are those of the source" if found[0] == 0 else None), None
    nearest = float(nulls.to_source.min())
    ratio = float(found[0]) / nearest if nearest > 0 else None
    if found[0] < NEAR_DUPLICATE * nearest:
        equal = "are those of the source" if found[0] == 0 else "are nearly those of the source"
        notes.append(f"the suspect's outputs {equal}: {ratio:.2g} of the distance of the nearest null")
    bound = NEAR_DUPLICATE * float(np.median(nulls.to_source))
    if same := [name for name, d in zip(nulls.names, found[1:], strict=False) if d < bound]:
        notes.append(f"the suspect's outputs are nearly those of a null: {_listed(same)}")
    return "; ".join(notes) or None, ratio


def _repeated(nulls: NullModels) -> list[str]:
    groups = [_listed([nulls.names[i] for i in group]) for group in nulls.groups]
    return [f"nulls that are nearly the same model count once: {names}" for names in groups]


def _near_the_source(nulls: NullModels) -> list[str]:
    names = []
    for kind in nulls.declared():
        rows = [i for i, of in enumerate(nulls.kinds) if of == kind]
        bound = NEAR_DUPLICATE * float(np.median(nulls.to_source[rows]))
        names += [nulls.names[i] for i in rows if nulls.to_source[i] <= bound]
    return [f"nulls much nearer to the source than others of their kind: {_listed(names)}; derived?"] if names else []


def _worse(source: Fingerprint, nulls: NullModels) -> list[str]:
    """Nulls of the source's classes that agree with it on fewer probes than others of their kind."""
    label = source.outputs.argmax(dim=1)
    agreement = {
        i: float((fp.outputs.argmax(dim=1) == label).double().mean())
        for i, fp in enumerate(nulls.fingerprints)
        if fp.outputs.shape[1] == source.outputs.shape[1] > 1
    }
    names = []
    for kind in nulls.declared():
        of_kind = {i: share for i, share in agreement.items() if nulls.kinds[i] == kind}
        middle = float(np.median(list(of_kind.values()))) if of_kind else 0.0
        names += [nulls.names[i] for i, share in of_kind.items() if share < middle - _MAX_LOSS]
    return [f"nulls that are worse at the source's task than others of their kind: {_listed(names)}"] if names else []


def _other_tasks(source: Fingerprint, nulls: NullModels) -> list[str]:
    k = source.outputs.shape[1]
    names = [
        name
        for name, fp, kind in zip(nulls.names, nulls.fingerprints, nulls.kinds, strict=True)
        if fp.outputs.shape[1] != k and kind != "other-classes"
    ]
    if not names:
        return []
    return [
        f"nulls of another task, with another number of outputs than the source ({k}), are too far: {_listed(names)}"
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
