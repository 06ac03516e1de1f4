"""Verdict on one suspect by the score of a preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..models.common_form import CommonForm, formed
from ..ops.arguments import check_choice
from ..scores import FIXED, Calibration
from .comparable import comparable_outputs
from .fingerprints import Verification, check_distinct_models, judge_distances


def verify_fixed(
    preset: str, source: Fingerprint, suspect: Fingerprint, nulls: Sequence[Fingerprint], alpha: float = 0.05
) -> Verification:
    """Judge a suspect by the score of a fixed preset, compared with independent models.

    Args:
        preset: ``"sac-jc"`` or ``"robust"``. Fingerprints of another kind of probes than the preset's give a warning.
        source, suspect, nulls: fingerprints on the same probes.
        alpha: α, see `verify_fingerprints`.

    Returns:
        The verdict; its metric and comparison name the score.

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
        >>> result.verdict.verdict, result.metric, result.comparison, result.warnings
        ('derived', 'raw / cosine', 'l1', ())
    """
    score = FIXED[check_choice("preset", preset, tuple(FIXED))]
    check_distinct_models(source, suspect, nulls)
    compared = comparable_outputs(source, suspect, nulls, metric=score.metric)
    distances = score.distances(compared.source, [compared.suspect, *compared.nulls]).tolist()
    kind, wanted = _probe_kind(source), "jpeg" if score.probes.startswith("jpeg") else score.probes
    warnings = [] if kind == wanted else [f"the preset {preset} is meant for probes of the kind {wanted}, got {kind}"]
    metric, comparison = f"{score.measure} / {score.metric}", str(score.comparison)
    return judge_distances(source, suspect, compared, distances, alpha, metric, comparison, warnings=warnings)


def verify_calibrated(
    calibration: StrPath,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint] = (),
    alpha: float = 0.05,
) -> Verification:
    """Judge a suspect by a calibrated score, compared with the nulls of its file and further nulls.

    Args:
        calibration: file written by `Calibration.save`.
        source, suspect, nulls: fingerprints on the probes of the calibration.
        alpha: α, see `verify_fingerprints`.

    Returns:
        The verdict.

    Raises:
        FileFormatError: not a calibration.
        FingerprintError: fingerprints of other probes, another source, or a source, suspect or null that is one of
            the calibration's cohort, stolen models or nulls.
        ValueError: a rate outside (0, 1).
    """
    fitted = Calibration.load(calibration)
    check_distinct_models(source, suspect, nulls)
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
    compared = comparable_outputs(source, suspect, nulls, metric=fitted.statistics[0].metric)
    warnings = []
    if compared.form == source.common_form(source):
        # The outputs as they are in the file; the nulls in it need no conversion.
        rows = [compared.form.convert(fp.formed) for fp in (suspect, *compared.kept)]
    else:
        rows = [compared.suspect, *compared.nulls]
        left = len(fitted.null)
        fitted = _converted(fitted, compared.form)
        if left:
            warnings.append(f"the {left} nulls of the calibration are left out: only their distances are kept in it")
    distances = list(fitted.distances({str(i): {probes: outputs} for i, outputs in enumerate(rows)}).values())
    return judge_distances(
        source,
        suspect,
        compared,
        distances,
        alpha,
        "calibrated",
        "−log P",
        known_nulls=fitted.null,
        warnings=warnings,
    )


def _converted(fitted: Calibration, form: CommonForm) -> Calibration:
    """The same score for suspects of a weaker form; its nulls, of which only the distances are known, are left out."""
    try:
        source = {probes: form.rows(formed(outputs)) for probes, outputs in fitted.source.items()}
        cohort = {
            probes: {name: form.rows(formed(outputs)) for name, outputs in group.items()}
            for probes, group in fitted.cohort.items()
        }
    except ValueError as error:
        raise FingerprintError(f"the cohort must be of a form that can be compared as {form.form}: {error}") from error
    return dataclasses.replace(fitted, source=source, cohort=cohort, null={}, null_hashes={})


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
