"""Independents as nulls of one source: their kinds, models that count once, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.choices import Metric
from ..models.kinds import KINDS
from ..models.output_form import CLASSIFIER_FORMS
from ..ops import pairwise_correlation_distances
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
# Cohen's κ of a null's labels with the source's below which it has not learnt the task ("slight agreement").
_MIN_KAPPA = 0.2


@dataclass(frozen=True, eq=False)
class NullModels:
    """Nulls of one source in the form in which suspects are compared with it.

    Attributes:
        names: m different names.
        fingerprints: (m,) on the source's probes.
        kinds: (m,) one of `KINDS`, or `UNDECLARED`.
        groups: indices of nulls that count once (`near_duplicates`).
        to_source: (m,) correlation distances to the source.
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


def collect_nulls(source: Fingerprint, nulls: Sequence[Fingerprint], form: str) -> NullModels:
    """Look for nulls that are no evidence.

    Args:
        source: fingerprint of the source.
        nulls: fingerprints of independents on the same probes; `Fingerprint.kind` says what each has in common with
            the source.
        form: output form of all of them.

    Returns:
        The nulls, with warnings of: nulls that count once; nulls much nearer to the source than others of their kind;
        nulls worse at the source's task, or that have not learnt it; nulls of another task.
    """
    names: list[str] = []
    for fp in nulls:
        names.append(unique_name(fp.name, names))
    kinds = tuple(fp.kind or UNDECLARED for fp in nulls)
    chosen = evenly_spaced(len(source), MAX_PROBES)
    rows = [fp.outputs[chosen] for fp in (source, *nulls)]
    metric = choose_metric(source.outputs.shape[1], form)
    between = pairwise_correlation_distances(rows, metric=metric).double().numpy()
    groups = tuple(map(tuple, near_duplicates(between[1:, 1:], kinds)))
    found = NullModels(tuple(names), tuple(nulls), kinds, groups, between[0, 1:], ())
    warnings = [*_repeated(found), *_near_the_source(found)]
    if form in CLASSIFIER_FORMS:
        warnings += [*_worse(source, found), *_untrained(source, found), *_other_tasks(source, found)]
    return dataclasses.replace(found, warnings=tuple(warnings))


def choose_metric(columns: int, form: str) -> Metric:
    """Centred correlations of two outputs are ±1, and embeddings have a direction of their own."""
    return "cosine" if columns <= 2 or form == "embeddings" else "pearson"


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
    agreement = {i: shared for i, (shared, _) in _agreement(source, nulls).items()}
    names = []
    for kind in nulls.declared():
        of_kind = {i: share for i, share in agreement.items() if nulls.kinds[i] == kind}
        middle = float(np.median(list(of_kind.values()))) if of_kind else 0.0
        names += [nulls.names[i] for i, share in of_kind.items() if share < middle - _MAX_LOSS]
    return [f"nulls worse at the source's task than others of their kind: {list_names(names)}"] if names else []


def _untrained(source: Fingerprint, nulls: NullModels) -> list[str]:
    """Nulls of the source's classes that hardly agree with it: too far away to say how near an independent comes."""
    kappa = {i: (shared - chance) / (1 - chance) for i, (shared, chance) in _agreement(source, nulls).items()}
    names = [nulls.names[i] for i, value in kappa.items() if value < _MIN_KAPPA and nulls.kinds[i] != "other-classes"]
    what = "nulls that hardly agree with the source's labels are no independents of its task (untrained?)"
    return [f"{what}: {list_names(names)}"] if names else []


def _agreement(source: Fingerprint, nulls: NullModels) -> dict[int, tuple[float, float]]:
    """Share of the probes with the source's label, and what chance alone would give, of nulls with as many outputs."""
    k = source.outputs.shape[1]
    label = source.outputs.argmax(dim=1)
    shares = label.bincount(minlength=k).double() / len(label)
    found = {}
    for i, fp in enumerate(nulls.fingerprints):
        if fp.outputs.shape[1] == k:
            theirs = fp.outputs.argmax(dim=1)
            chance = float(shares @ (theirs.bincount(minlength=k).double() / len(label)))
            # 1 where both have one and the same label everywhere, which `check_informative` does not let through
            found[i] = float((theirs == label).double().mean()), min(chance, 1 - 1e-9)
    return found


def _other_tasks(source: Fingerprint, nulls: NullModels) -> list[str]:
    """Classifiers of other classes: all of them far away."""
    k = source.outputs.shape[1]
    listed = zip(nulls.names, nulls.fingerprints, nulls.kinds, strict=True)
    names = [name for name, fp, kind in listed if kind != "other-classes" and fp.outputs.shape[1] != k]
    what = "nulls of another task, with another number of outputs than the source"
    return [f"{what} ({k}), are too far: {list_names(names)}"] if names else []
