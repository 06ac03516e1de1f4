"""Options and checks that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ..models import Preprocessing

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Metric = Annotated[Literal["cosine", "pearson", "spearman", "rbf"], typer.Option(help="Correlation of two answers.")]
Comparison = Annotated[Literal["l1", "l2", "rsa", "cka"], typer.Option(help="Comparison of the correlations.")]
Layout = Literal["NCHW", "NHWC"]
ModelArgs = Annotated[str | None, typer.Option(help="The callable's arguments, a JSON object.")]
Weights = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Weights: safetensors, or a weights_only state dict.")
]
Mean = Annotated[str, typer.Option(help="Mean to subtract, pixels in 0..1: one number or one a channel.")]
Std = Annotated[str, typer.Option(help="Standard deviation to divide by, likewise.")]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Read "0.5,0.4,0.3"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"must be numbers with commas between them, got {text!r}", param_hint=option) from None


def sides(text: str | None) -> tuple[int, int] | None:
    """Read "224" or "224x160" (height x width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise typer.BadParameter(f"must be N or HxW in pixels, got {text!r}", param_hint="--size")
    return int(parts[0]), int(parts[-1])


def preprocessing_of(
    command: str,
    mean: str,
    std: str,
    size: str | None = None,
    colour_order: Literal["RGB", "BGR", "GRAY"] = "RGB",
    layout: Layout = "NCHW",
) -> Preprocessing:
    """What --mean, --std, --size, --colour-order and --layout say; nonsense is a wrong use of the command."""
    from ..models import Preprocessing

    try:
        return Preprocessing(
            size=sides(size),
            mean=numbers(mean, "--mean"),
            std=numbers(std, "--std"),
            colour_order=colour_order,
            layout=layout,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=command) from None


def json_object(text: str | None) -> dict[str, Any]:
    """Read the arguments of a model's callable."""
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"must be JSON, got {text!r} ({error})", param_hint="--model-args") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"must be a JSON object, got {text!r}", param_hint="--model-args")
    return value


def free(out: Path, force: bool, option: str = "--out") -> None:
    """Refuse before the work is done, not after, what cannot be written or must not be replaced."""
    if out.exists() and not out.is_file():
        raise FileExistsError(f"{option} must name a file, got {str(out)!r}, a folder or a device")
    if out.exists() and not force:
        raise FileExistsError(f"{option} must not exist yet, got {str(out)!r} (--force replaces it)")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the folder of {option} must exist, got {str(out.parent)!r}")
