"""Source, suspect and nulls in one output form, and which of them are no evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..models.common_form import CommonForm
from ..models.output_form import check_informative

_MAX_NAMES = 5


@dataclass(frozen=True)
class ComparableOutputs:
    """Outputs that can be compared.

    Attributes:
        form: the form of all rows.
        source, suspect: fingerprints whose outputs are the rows that scores take, see `score_rows`.
        nulls: likewise, those that are kept.
        inconclusive: why no verdict can be reached on this suspect; None otherwise.
        warnings: remarks for the reader: the form where it is not the source's, nulls left out.
    """

    form: CommonForm
    source: Fingerprint
    suspect: Fingerprint
    nulls: tuple[Fingerprint, ...]
    inconclusive: str | None
    warnings: tuple[str, ...]


def comparable_outputs(
    source: Fingerprint, suspect: Fingerprint, nulls: Sequence[Fingerprint], *, metric: str | None = None
) -> ComparableOutputs:
    """Bring source and one suspect to the weaker of their two forms, and the nulls to the same.

    Nulls of a stronger form are converted. Nulls of a weaker form, and those whose outputs are no evidence
    (`check_informative`), are left out and counted. The rule for a null depends on source and suspect alone and is the
    one that a suspect is under, so an independent suspect stays exchangeable with the nulls that are kept.

    Args:
        source, suspect, nulls: fingerprints on the same probes.
        metric: of the correlations, see `check_informative`.

    Returns:
        All of them in one form.

    Raises:
        FingerprintError: other probes; forms that cannot be brought together; or a source that is no evidence.

    Example::

        >>> import torch
        >>> from sac_fast import Fingerprint
        >>> about = {"probe_hash": "sha256:" + "0" * 64}
        >>> outputs = torch.randn(3, 50, 10, generator=torch.Generator().manual_seed(0))
        >>> source, null = (Fingerprint(o, {**about, "name": f"model {i}"}) for i, o in enumerate(outputs[:2]))
        >>> labels = source.outputs.argmax(1).float()[:, None]
        >>> suspect = Fingerprint(labels, {**about, "name": "labels only"})
        >>> found = comparable_outputs(source, suspect, [null])
        >>> found.form.form, torch.equal(found.source.outputs, found.suspect.outputs), len(found.nulls)
        ('labels', True, 1)
    """
    for fp in (suspect, *nulls):
        source.check_same_probes(fp)
    if reason := check_informative(source.outputs, source.output_form, metric=metric):
        raise FingerprintError(f"source {source.name!r} must have outputs that are evidence, got: {reason}")
    form = source.common_form(suspect)
    kept: list[Fingerprint] = []
    weaker, empty = [], []
    for fp in nulls:
        if not form.accepts(fp.formed):
            weaker.append(fp.name)
        elif check_informative(form.convert(fp.formed), form.form, metric=metric):
            empty.append(fp.name)
        else:
            kept.append(_in_form(form, fp))
    warnings = []
    if form.form != source.output_form or suspect.output_form != source.output_form:
        given = f"the source gives {source.output_form}, the suspect {suspect.output_form}"
        warnings.append(f"compared as {form.describe()}: {given}")
    if weaker:
        warnings.append(f"{_named(weaker)} left out: their outputs cannot be brought to the form {form.form}")
    if empty:
        warnings.append(f"{_named(empty)} left out: their outputs are no evidence, being nearly constant or tied")
    return ComparableOutputs(
        form,
        _in_form(form, source),
        _in_form(form, suspect),
        tuple(kept),
        _why_inconclusive(form, source, suspect, metric),
        tuple(warnings),
    )


def _in_form(form: CommonForm, fp: Fingerprint) -> Fingerprint:
    rows = form.rows(fp.formed)
    # The rows are no outputs that a model gave: what was declared of those does not hold for them.
    return fp if rows is fp.outputs else Fingerprint(rows, {**fp.provenance, "output_form": None})


def _why_inconclusive(form: CommonForm, source: Fingerprint, suspect: Fingerprint, metric: str | None) -> str | None:
    for who, fp in (("the suspect", suspect), ("the source", source)):
        if reason := check_informative(form.convert(fp.formed), form.form, metric=metric):
            return f"The outputs of {who} ({form.describe()}) are no evidence: {reason}."
    return None


def _named(names: Sequence[str]) -> str:
    some = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
    return f"{len(names)} {'null' if len(names) == 1 else 'nulls'} ({some})"
