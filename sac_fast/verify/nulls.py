"""Independents as nulls of one source: their kinds, models that count once, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import FingerprintError
from ..fingerprint import KINDS, Fingerprint
from ..models.output_form import CLASSIFIER_FORMS
from ..ops import correlation_distance, pairwise_correlation_distances
from ..scores import evenly_spaced
from ..scores.weights import Floats
from ..verdict import near_duplicates
from ..verdict.kinds import NEAR_DUPLICATE
from .names import list_names, unique_name

#: Kind of nulls that declare none.
UNDECLARED = "undeclared"
#: Distances between nulls need no more probes than this to tell copies from models of their own.
MAX_PROBES = 500
# Share of the probes by which a null may agree less with the source than the median of its kind.
_MAX_LOSS = 0.2


@dataclass(frozen=True, eq=False)
class NullModels:
    """Nulls of one source, before any suspect is looked at.

    Attributes:
        names: m different names.
        fingerprints: (m,) on the source's probes.
        kinds: (m,) one of `KINDS`, or `UNDECLARED`.
        groups: indices of nulls that count once (`near_duplicates`).
        to_source: (m,) correlation distances to the source; infinite where outputs cannot be compared.
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

    def keep(self, kept: Sequence[Fingerprint]) -> NullModels:
        """Those of the nulls, in their order."""
        wanted = {id(fp) for fp in kept}
        rows = [i for i, fp in enumerate(self.fingerprints) if id(fp) in wanted]
        new = {old: i for i, old in enumerate(rows)}
        groups = (tuple(new[i] for i in group if i in new) for group in self.groups)
        return NullModels(
            tuple(self.names[i] for i in rows),
            tuple(self.fingerprints[i] for i in rows),
            tuple(self.kinds[i] for i in rows),
            tuple(group for group in groups if len(group) > 1),
            self.to_source[rows],
            self.warnings,
        )


def collect_nulls(
    source: Fingerprint, nulls: Sequence[Fingerprint], siblings: Sequence[Fingerprint] = ()
) -> NullModels:
    """Check nulls of a source, and look for those that are no evidence.

    Args:
        source: fingerprint of the source.
        nulls: fingerprints of independents on the same probes; `Fingerprint.kind` says what each has in common with
            the source.
        siblings: fingerprints of siblings that a score compares with: none may be a null.

    Returns:
        The nulls, with warnings of: nulls that count once; nulls much nearer to the source than others of their kind;
        nulls worse at the source's task; nulls of another task.

    Raises:
        FingerprintError: other probes, or a null with the weights (by hash) of the source, a sibling or another null.
    """
    check_distinct_models(source, [*siblings, *nulls])
    names: list[str] = []
    for fp in (*siblings, *nulls):
        source.check_same_probes(fp)
    for fp in nulls:
        names.append(unique_name(fp.name, names))
    kinds = tuple(fp.kind or UNDECLARED for fp in nulls)
    rows, to_source = _rows_and_distances(source, nulls)
    # Only outputs of one form can be near duplicates of each other.
    sorts = [f"{kind} {fp.output_form}" for kind, fp in zip(kinds, nulls, strict=True)]
    metric = choose_metric(source.outputs.shape[1], source.output_form)
    between = pairwise_correlation_distances(rows, metric=metric).double().numpy() if rows else np.zeros((0, 0))
    groups = tuple(map(tuple, near_duplicates(between, sorts)))
    found = NullModels(tuple(names), tuple(nulls), kinds, groups, to_source, ())
    warnings = (*_repeated(found), *_near_the_source(found), *_worse(source, found), *_other_tasks(source, found))
    return dataclasses.replace(found, warnings=warnings)


def choose_metric(columns: int, form: str) -> str:
    """Centred correlations of two outputs are ±1, and embeddings have a direction of their own."""
    return "cosine" if columns <= 2 or form == "embeddings" else "pearson"


def _rows_and_distances(source: Fingerprint, nulls: Sequence[Fingerprint]) -> tuple[list[Tensor], Floats]:
    """Rows of the nulls as they are compared with the source, and their distances to it."""
    chosen = evenly_spaced(len(source), MAX_PROBES)
    metric = choose_metric(source.outputs.shape[1], source.output_form)
    rows, distances = [], []
    for fp in nulls:
        try:
            shared = source.common_form(fp)
        except FingerprintError:  # no suspect is compared with it
            rows.append(fp.outputs[chosen])
            distances.append(np.inf)
            continue
        rows.append(shared.rows(fp.formed)[chosen])
        mine = shared.rows(source.formed)[chosen]
        distances.append(float(correlation_distance(mine, rows[-1], metric=metric)))
    return rows, np.array(distances)


def check_outside(fp: Fingerprint, held: Mapping[str, str], role: str) -> None:
    """Raise a FingerprintError if a model is one of those by which a score was fitted."""
    if fp.model_hash in held:
        raise FingerprintError(
            f"{role} must be no model that the calibration holds, got {fp.name!r} (there: {held[str(fp.model_hash)]!r})"
        )


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


def _repeated(nulls: NullModels) -> list[str]:
    groups = [list_names([nulls.names[i] for i in group]) for group in nulls.groups]
    return [f"nulls that are nearly the same model count once: {names}" for names in groups]


def _near_the_source(nulls: NullModels) -> list[str]:
    names = []
    for kind in nulls.declared():
        rows = [i for i, of in enumerate(nulls.kinds) if of == kind]
        bound = NEAR_DUPLICATE * float(np.median(nulls.to_source[rows]))
        names += [nulls.names[i] for i in rows if nulls.to_source[i] <= bound]
    return [f"nulls much nearer to the source than others of their kind: {list_names(names)}"] if names else []


def _worse(source: Fingerprint, nulls: NullModels) -> list[str]:
    """Nulls of the source's classes that agree with it on fewer probes than others of their kind."""
    if source.output_form not in CLASSIFIER_FORMS:
        return []
    label = _labels(source)
    agreement = {
        i: float((_labels(fp) == label).double().mean())
        for i, fp in enumerate(nulls.fingerprints)
        if fp.output_form in CLASSIFIER_FORMS and (_has_classes_of(source, fp) or fp.output_form == "labels")
    }
    names = []
    for kind in nulls.declared():
        of_kind = {i: share for i, share in agreement.items() if nulls.kinds[i] == kind}
        middle = float(np.median(list(of_kind.values()))) if of_kind else 0.0
        names += [nulls.names[i] for i, share in of_kind.items() if share < middle - _MAX_LOSS]
    return [f"nulls worse at the source's task than others of their kind: {list_names(names)}"] if names else []


def _labels(fp: Fingerprint) -> Tensor:
    return fp.outputs[:, 0].long() if fp.outputs.shape[1] == 1 else fp.outputs.argmax(dim=1)


def _has_classes_of(source: Fingerprint, null: Fingerprint) -> bool:
    return null.outputs.shape[1] == source.outputs.shape[1]


def _other_tasks(source: Fingerprint, nulls: NullModels) -> list[str]:
    """Classifiers of other classes: all of them far away."""
    if source.output_form not in CLASSIFIER_FORMS or source.outputs.shape[1] == 1:
        return []
    names = [
        name
        for name, fp, kind in zip(nulls.names, nulls.fingerprints, nulls.kinds, strict=True)
        if kind != "other-classes" and fp.outputs.shape[1] > 1 and not _has_classes_of(source, fp)
    ]
    if not names:
        return []
    k = source.outputs.shape[1]
    return [
        f"nulls of another task, with another number of outputs than the source ({k}), are too far: {list_names(names)}"
    ]
