"""`sac-fast verify`: judge a suspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .checks import refuse_if
from .options import Alpha, Comparison, Json, Metric, file_option

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..verify.fingerprints import Verification

Preset = Annotated[
    str | None, Option(help="sac-jc, robust or calibrated: a named score instead of metric and comparison.")
]
CalibrationFile = Annotated[Path | None, file_option("File written by `evaluate --fit`, for --preset calibrated.")]


def verify(
    context: typer.Context,
    source: Annotated[Path, Argument(exists=True, dir_okay=False, help="Fingerprint of your model.")],
    suspect: Annotated[Path, Argument(exists=True, dir_okay=False, help="Fingerprint of the suspect.")],
    null: Annotated[
        list[Path] | None, Option(exists=True, help="Fingerprints of independent models: files or folders; repeatable.")
    ] = None,
    alpha: Alpha = 0.05,
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    preset: Preset = None,
    calibration: CalibrationFile = None,
    as_json: Json = False,
) -> None:
    """Judge a suspect by its distance to your model, beside those of independent models."""
    from ..fingerprint import Fingerprint
    from ..verify.fingerprints import verify_fingerprints
    from .render.common import show_verification

    unused = calibration is not None and preset is None
    refuse_if(unused, "--calibration", "goes with --preset calibrated, got no --preset")
    for option in ("metric", "comparison"):
        origin = context.get_parameter_source(option)
        both = preset is not None and origin is not None and origin.name == "COMMANDLINE"
        refuse_if(both, f"--{option}", f"goes without --preset, which has its own, got --preset {preset}")
    nulls = [Fingerprint.load(file) for file in _files(null or [])]
    ours, theirs = Fingerprint.load(source), Fingerprint.load(suspect)
    if preset is not None:
        result = _verify_preset(preset, calibration, ours, theirs, nulls, alpha)
    else:
        result = verify_fingerprints(ours, theirs, nulls, alpha=alpha, metric=metric, comparison=comparison)
    show_verification(result, as_json)


def _files(paths: list[Path]) -> list[Path]:
    """The fingerprint files of --null."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"--null folder {str(path)!r} must hold *.safetensors files, got none")
        files += inside
    return files


def _verify_preset(
    preset: str,
    calibration: Path | None,
    source: Fingerprint,
    suspect: Fingerprint,
    nulls: list[Fingerprint],
    alpha: float,
) -> Verification:
    """Check --preset and --calibration, and judge by that preset."""
    from ..scores import PRESETS
    from ..verify.preset import verify_calibrated, verify_fixed

    refuse_if(preset not in PRESETS, "--preset", f"must be one of {', '.join(PRESETS)}, got {preset!r}")
    alone = (preset == "calibrated") != (calibration is not None)
    refuse_if(alone, "--calibration", "goes with --preset calibrated, and that with it")
    if calibration is None:
        return verify_fixed(preset, source, suspect, nulls, alpha)
    return verify_calibrated(calibration, source, suspect, nulls, alpha)
