"""Verdict on one suspect by the score of a preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..models.common_form import CommonForm, formed
from ..ops.arguments import check_choice
from ..scores import FIXED, Calibration
from ..scores.weights import Floats
from .comparable import comparable_outputs
from .fingerprints import Verification, fixed_distances, verify_by_score
from .kinds import UNDECLARED, check_distinct_models, collect_nulls
from .names import unique_name


def verify_fixed(
    preset: str,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    alpha: float = 0.05,
    kinds: Sequence[str] | None = None,
) -> Verification:
    """Judge a suspect by the score of a fixed preset, compared with independent models.

    Args:
        preset: ``"sac-jc"`` or ``"robust"``. Fingerprints of another kind of probes than the preset's give a warning.
        source, suspect, nulls: fingerprints on the same probes.
        alpha, kinds: see `verify_fingerprints`.

    Returns:
        The verdict.

    Raises:
        FingerprintError: fingerprints of different probes or of forms that cannot be compared, a source whose outputs
            are no evidence, or a null that is the source, the suspect or another null.
        ValueError: an unknown preset, or a rate outside (0, 1).

    Example::

        >>> import torch
        >>> from sac_fast import Fingerprint
        >>> about = {"probe_hash": "sha256:" + "0" * 64, "probes": {"kind": "jpeg"}}
        >>> outputs = torch.randn(8, 50, 10, generator=torch.Generator().manual_seed(0))
        >>> outputs[1] = outputs[0] + 0.1 * outputs[1]
        >>> source, suspect, *nulls = (Fingerprint(o, {**about, "name": f"m{i}"}) for i, o in enumerate(outputs))
        >>> result = verify_fixed("sac-jc", source, suspect, nulls, alpha=0.2)
        >>> result.verdict.verdict, result.score
        ('derived', 'raw/cosine/l1@jpeg-q15')
    """
    score = FIXED[check_choice("preset", preset, tuple(FIXED))]
    check_distinct_models(source, nulls, suspect)
    compared = comparable_outputs(source, suspect, nulls, metric=score.metric)
    found = score.distances(compared.source.outputs, [fp.outputs for fp in (compared.suspect, *compared.nulls)])
    kind, wanted = _probe_kind(source), "jpeg" if score.probes.startswith("jpeg") else score.probes
    warnings = [] if kind == wanted else [f"the preset {preset} is meant for probes of the kind {wanted}, got {kind}"]
    return verify_by_score(compared, fixed_distances(found), score.name, alpha, kinds, warnings)


def verify_calibrated(
    calibration: StrPath,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint] = (),
    alpha: float = 0.05,
    kinds: Sequence[str] | None = None,
) -> Verification:
    """Judge a suspect by a calibrated score, compared with the independents of its file and further nulls.

    The independents are cohort and nulls at once (`Calibration.conformal_distances`).

    Args:
        calibration: file written by `Calibration.save`.
        source, suspect, nulls: fingerprints on the probes of the calibration.
        alpha, kinds: see `verify_fingerprints`.

    Returns:
        The verdict.

    Raises:
        FileFormatError: not a calibration.
        FingerprintError: fingerprints of other probes, another source, or a source, suspect or null that is one of
            the calibration's cohort, stolen models or nulls; or forms that cannot be compared.
        ValueError: a rate outside (0, 1).
    """
    fitted = Calibration.load(calibration)
    check_distinct_models(source, nulls, suspect)
    probes, wanted = next(iter(fitted.probe_hashes.items()))
    for fp in (source, suspect, *nulls):
        if fp.probe_hash != wanted:
            raise FingerprintError(f"{fp.name!r} must be of the calibration's probes {wanted}, got {fp.probe_hash}")
    if not torch.equal(source.outputs, fitted.source[probes]):
        raise FingerprintError(f"the calibration must be of the source {source.name!r}, got one of another model")
    inside = {**fitted.used_hashes, **fitted.null_hashes}
    # With the source among the nulls of a file, no suspect could be the nearest model.
    for role, group in (("the source", [source]), ("a null", nulls), ("the suspect", [suspect])):
        for fp in group:
            if fp.model_hash in inside:
                raise FingerprintError(
                    f"{role} must be no model that the calibration holds, got {fp.name!r} "
                    f"(there: {inside[str(fp.model_hash)]!r})"
                )
    score = "calibrated, −log P"
    if not fitted.thefts:
        return _verify_first_form(fitted, source, suspect, nulls, score, alpha, kinds)
    names = {name: model_hash for model_hash, name in fitted.used_hashes.items()}
    own = [
        Fingerprint(
            outputs,
            {
                **{"name": name, "probe_hash": wanted, "model_hash": names.get(name), "kind": fitted.kinds.get(name)},
                "preprocessing_hash": source.provenance.get("preprocessing_hash"),
            },
        )
        for name, outputs in fitted.cohort[probes].items()
    ]
    compared = comparable_outputs(source, suspect, [*own, *nulls], metric=fitted.statistics[0].metric)
    fitted = _converted(fitted, compared.form)
    pool = collect_nulls(compared.source, compared.nulls)

    def distances(rows: Sequence[int]) -> Floats:
        chosen = {pool.names[i]: {probes: pool.fingerprints[i].outputs} for i in rows}
        return fitted.conformal_distances({probes: compared.suspect.outputs}, chosen)

    return verify_by_score(compared, distances, score, alpha, kinds, nulls=pool)


def _converted(fitted: Calibration, form: CommonForm) -> Calibration:
    """The same score with source and stolen models in the form in which a suspect is compared."""
    try:
        source = {probes: form.rows(formed(outputs)) for probes, outputs in fitted.source.items()}
        thefts = {
            probes: {name: form.rows(formed(outputs)) for name, outputs in group.items()}
            for probes, group in fitted.thefts.items()
        }
    except ValueError as error:
        raise FingerprintError(f"the calibration must be of models that can be compared: {error}") from error
    return dataclasses.replace(fitted, source=source, thefts=thefts)


def _verify_first_form(
    fitted: Calibration,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    score: str,
    alpha: float,
    kinds: Sequence[str] | None,
) -> Verification:
    """By a file of the first form, which has the distances of nulls and not their outputs."""
    probes = next(iter(fitted.probe_hashes))
    compared = comparable_outputs(source, suspect, nulls, metric=fitted.statistics[0].metric)
    if compared.source is not source:
        raise FingerprintError(
            f"source and suspect must give logits for a calibration that keeps no outputs of its nulls, got "
            f"{source.output_form} and {suspect.output_form}; fit the calibration again"
        )
    outputs = {str(i): {probes: fp.outputs} for i, fp in enumerate((compared.suspect, *compared.nulls))}
    found = np.array(list(fitted.distances(outputs).values()))
    pool = collect_nulls(source, compared.nulls)
    known: list[str] = []
    for name in fitted.null:
        known.append(unique_name(name, [*pool.names, *known]))
    kinds_of_all = (*pool.kinds, *([UNDECLARED] * len(known)))
    extended = dataclasses.replace(pool, names=(*pool.names, *known), kinds=kinds_of_all)
    everything = np.concatenate([found, list(fitted.null.values())])
    return verify_by_score(compared, fixed_distances(everything), score, alpha, kinds, nulls=extended)


def _probe_kind(fp: Fingerprint) -> str:
    """Kind of the probes as recorded in the fingerprint, as far as presets depend on it."""
    summary = fp.provenance.get("probes")
    if not isinstance(summary, dict):
        return "unknown"
    chosen = summary.get("selection")
    steps = chosen if isinstance(chosen, list) else []
    if any(isinstance(step, dict) and step.get("kind") == "misclassified" for step in steps):
        return "misclassified"
    return str(summary.get("kind", "unknown"))
