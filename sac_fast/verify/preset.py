"""From fingerprints to a verdict by a preset's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.container import StrPath
from ..scores import FIXED, Calibration
from ..verdict import NullPool
from .fingerprints import Verification, check_distinct_models, preprocessing_warnings, unique_name


def verify_fixed(
    preset: str,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    alpha: float = 0.05,
) -> Verification:
    """Judge a suspect by a fixed preset's measure, beside independent models.

    Args:
        preset: ``"sac-jc"`` or ``"robust"``. Which probes it is meant for is not enforced: a warning says where the
            fingerprints are of other ones.
        source, suspect, nulls: fingerprints on the same probes.
        alpha: α.

    Returns:
        The verdict; its metric and comparison name the score.

    Raises:
        FingerprintError: fingerprints of different probes, or a null that is the source, the suspect or another null.
        ValueError: an unknown preset, or a rate outside (0, 1).
    """
    if preset not in FIXED:
        raise ValueError(f"preset must be one of {', '.join(FIXED)}, got {preset!r}")
    score = FIXED[preset]
    check_distinct_models(source, suspect, nulls)
    for fp in (suspect, *nulls):
        if fp.probe_hash != source.probe_hash:
            raise FingerprintError(
                f"{fp.name!r} must be of the same probes as {source.name!r}: {source.probe_hash}, got {fp.probe_hash}"
            )
    found = score.distances(source.outputs, [suspect.outputs, *(fp.outputs for fp in nulls)])
    warnings = list(preprocessing_warnings(source, [suspect, *nulls]))
    if (kind := _kind(source)) != _wanted(preset):
        warnings.append(f"the preset {preset} is meant for probes of the kind {_wanted(preset)}, got {kind}")
    return _verification(
        source, suspect, nulls, [float(d) for d in found], alpha, source.probe_hash,
        f"{score.measure} / {score.metric}", str(score.comparison), warnings,
    )  # fmt: skip


def verify_calibrated(
    calibration: StrPath,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint] = (),
    alpha: float = 0.05,
) -> Verification:
    """Judge a suspect by a fitted score, beside the nulls in its file and further ones.

    Args:
        calibration: file of `Calibration.save`.
        source, suspect, nulls: fingerprints on the probes of the calibration.
        alpha: α.

    Returns:
        The verdict.

    Raises:
        FileFormatError: not a calibration.
        FingerprintError: fingerprints of other probes, another source, or a source, suspect or null that is among
            the calibration's cohort, thefts or nulls.
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
    # The source among the nulls of a file would make every suspect look far.
    for role, group in (("the source", [source]), ("a null", nulls), ("the suspect", [suspect])):
        for fp in group:
            if fp.model_hash in inside:
                raise FingerprintError(
                    f"{role} must be no model that the calibration holds, got {fp.name!r} "
                    f"(there: {inside[str(fp.model_hash)]!r})"
                )
    answers: Mapping[str, Mapping[str, torch.Tensor]] = {
        str(i): {probes: fp.outputs} for i, fp in enumerate((suspect, *nulls))
    }
    found = list(fitted.distances(answers).values())
    return _verification(
        source, suspect, nulls, found, alpha, wanted, "calibrated", "−log P",
        list(preprocessing_warnings(source, [suspect, *nulls])), fitted.null,
    )  # fmt: skip


def _verification(
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: Sequence[Fingerprint],
    found: Sequence[float],
    alpha: float,
    probe_hash: str,
    metric: str,
    comparison: str,
    warnings: Sequence[str],
    more: Mapping[str, float] | None = None,
) -> Verification:
    distances = dict(more or {})
    for fp, distance in zip(nulls, found[1:], strict=True):
        distances[unique_name(fp.name, distances)] = distance
    verdict = NullPool(list(distances.values())).judge(found[0], alpha)
    return Verification(verdict, source.name, suspect.name, probe_hash, metric, comparison, distances, tuple(warnings))


def _kind(fp: Fingerprint) -> str:
    """What the fingerprint says of its probes, as far as presets differ by it."""
    summary = fp.provenance.get("probes")
    if not isinstance(summary, dict):
        return "unknown"
    chosen = summary.get("selection")
    steps = chosen if isinstance(chosen, list) else []
    if any(isinstance(step, dict) and step.get("kind") == "misclassified" for step in steps):
        return "misclassified"
    return str(summary.get("kind", "unknown"))


def _wanted(preset: str) -> str:
    probes = FIXED[preset].probes
    return "jpeg" if probes.startswith("jpeg") else probes
