"""`sac-fast verify --preset`: its options and checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..verify.fingerprints import Verification

Preset = Annotated[
    str | None, typer.Option(help="sac-jc, robust or calibrated: a named score instead of metric and comparison.")
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File written by `evaluate --fit`, for --preset calibrated."),
]


def verify_preset(
    preset: str | None,
    calibration: Path | None,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: list[Fingerprint],
    alpha: float,
) -> Verification:
    """Check --preset and --calibration, and judge by that preset."""
    from ..scores import PRESETS
    from ..verify.preset import verify_calibrated, verify_fixed

    if preset not in PRESETS:
        raise typer.BadParameter(f"must be one of {', '.join(PRESETS)}, got {preset!r}", param_hint="--preset")
    if (preset == "calibrated") != (calibration is not None):
        raise typer.BadParameter("goes with --preset calibrated, and that with it", param_hint="--calibration")
    if calibration is None:
        return verify_fixed(preset, source, suspect, nulls, alpha)
    return verify_calibrated(calibration, source, suspect, nulls, alpha)
