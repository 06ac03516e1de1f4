"""Verdict on one suspect by the score of a preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..models.common_form import CommonForm, formed
from ..ops.arguments import check_choice
from ..scores import FIXED, Calibration
from ..scores.weights import Floats
from .comparable import ComparableOutputs
from .fingerprints import verify_fingerprints
from .nulls import check_outside
from .pool import Measure, PoolTest, Verification

_SCORE = "calibrated, −log P"


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
    check_choice("preset", preset, tuple(FIXED))
    return verify_fingerprints(source, suspect, nulls, score=preset, alpha=alpha, kinds=kinds)


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
            the calibration's cohort, stolen models or nulls.
        ValueError: a rate outside (0, 1), or a calibration of the first form for a suspect that does not give logits.
    """
    return calibrated_test(calibration, source, nulls, alpha, kinds).judge(suspect)


def calibrated_test(
    calibration: StrPath,
    source: Fingerprint,
    nulls: Sequence[Fingerprint] = (),
    alpha: float = 0.05,
    kinds: Sequence[str] | None = None,
) -> PoolTest:
    """The test of `verify_calibrated` for any number of suspects; arguments and errors as there."""
    fitted = Calibration.load(calibration)
    probes, wanted = next(iter(fitted.probe_hashes.items()))
    for fp in (source, *nulls):
        if fp.probe_hash != wanted:
            raise FingerprintError(f"{fp.name!r} must be of the calibration's probes {wanted}, got {fp.probe_hash}")
    if not torch.equal(source.outputs, fitted.source[probes]):
        raise FingerprintError(f"the calibration must be of the source {source.name!r}, got one of another model")
    hashes = {name: model_hash for model_hash, name in fitted.used_hashes.items()}
    about = {"probe_hash": wanted, "preprocessing_hash": source.provenance.get("preprocessing_hash")}
    own = [
        Fingerprint(outputs, {**about, "name": name, "model_hash": hashes.get(name), "kind": fitted.kinds.get(name)})
        for name, outputs in (fitted.cohort[probes].items() if fitted.thefts else ())
    ]
    held = {**fitted.used_hashes, **fitted.null_hashes}
    # With the source among the nulls of a file, no suspect could be the nearest model.
    for role, group in (("the source", [source]), ("a null", nulls)):
        for fp in group:
            check_outside(fp, held, role)

    def make_measure(compared: ComparableOutputs) -> Measure:
        if not fitted.thefts:
            return partial(_first_form_distances, fitted, compared.form)
        alike = _converted(fitted, compared)

        def measure(models: Sequence[Tensor]) -> Floats:
            suspect, *others = ({probes: rows} for rows in models)
            return alike.conformal_distances(suspect, {str(i): rows for i, rows in enumerate(others)})

        return measure

    metric = fitted.statistics[0].metric
    return PoolTest(
        source, [*own, *nulls], _SCORE, make_measure, (), metric, alpha, kinds, known=fitted.null, held=held
    )


def _converted(fitted: Calibration, compared: ComparableOutputs) -> Calibration:
    """The same calibration with its source and its stolen models as they are compared."""
    probes = next(iter(fitted.probe_hashes))
    try:
        thefts = {name: compared.form.rows(formed(outputs)) for name, outputs in fitted.thefts[probes].items()}
    except ValueError as error:
        form = compared.form.form
        raise FingerprintError(f"the stolen models cannot be compared as {form}: {error}") from error
    return dataclasses.replace(fitted, source={probes: compared.source.outputs}, thefts={probes: thefts})


def _first_form_distances(fitted: Calibration, form: CommonForm, models: Sequence[Tensor]) -> Floats:
    """By a file of the first form, which has the distances of nulls and not their outputs: its weights are kept."""
    if form.form != "logits":
        raise ValueError(f"a calibration of the first form must be fitted anew for suspects that give {form.form}")
    probes = next(iter(fitted.probe_hashes))
    return np.array(list(fitted.distances({str(i): {probes: rows} for i, rows in enumerate(models)}).values()))
