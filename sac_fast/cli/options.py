"""Options that several commands share, each defined once, and how their texts are parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from ..models import Preprocessing

Layout = Literal["NCHW", "NHWC"]


def check_alpha(alpha: float) -> float:
    """Refuse an error rate that is none."""
    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    return alpha


def check_seed_option(seed: int) -> int:
    """Refuse a seed that torch would not take."""
    from ..labelled_zoo.training_pool import check_seed

    try:
        check_seed(seed)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--seed") from None
    return seed


Alpha = Annotated[float, typer.Option(callback=check_alpha, help="Stated error rate α, between 0 and 1.")]
ColourOrder = Annotated[Literal["RGB", "BGR", "GRAY"], typer.Option(help="Channels of the model's input.")]
Comparison = Annotated[Literal["l1", "l2", "rsa", "cka"], typer.Option(help="Comparison of two correlation matrices.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
ImageSize = Annotated[str | None, typer.Option(help="Resize the images that are read to N or HxW pixels (folders).")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Mean = Annotated[str, typer.Option(help="Mean to subtract, pixels in 0..1: one number or one a channel.")]
Metric = Annotated[
    Literal["cosine", "pearson", "spearman", "rbf"], typer.Option(help="Correlation of two probes' outputs.")
]
ModelArgs = Annotated[str | None, typer.Option(help="Arguments of the model's callable, a JSON object.")]
ModelLayout = Annotated[Layout, typer.Option(help="Layout of the model's input.")]
ProbeFile = Annotated[Path, typer.Option("--probes", exists=True, dir_okay=False, help="Probe file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Seed = Annotated[int, typer.Option(min=0, callback=check_seed_option, help="Seed of everything random.")]
Size = Annotated[str | None, typer.Option(help="Size of the model's input: probes are resized to N or HxW pixels.")]
Std = Annotated[str, typer.Option(help="Standard deviation to divide by, likewise.")]
Weights = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Weights: safetensors, or a weights_only state dict.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes; default: one a core.")]


@dataclass(frozen=True)
class InputOptions:
    """What a model takes as input."""

    size: Size = None
    mean: Mean = "0"
    std: Std = "1"
    colour_order: ColourOrder = "RGB"
    layout: ModelLayout = "NCHW"

    def parse(self, command: str) -> Preprocessing:
        """The options as the API takes them."""
        return parse_preprocessing(command, self.mean, self.std, self.size, self.colour_order, self.layout)


@dataclass(frozen=True)
class PrintOptions:
    """What a command that writes a file prints, and whether the file may exist."""

    force: Force = False
    as_json: Json = False
    quiet: Quiet = False


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Read "0.5,0.4,0.3"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"must be numbers with commas between them, got {text!r}", param_hint=option) from None


def parse_size(text: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Read "224" or "224x160" (height x width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise typer.BadParameter(f"must be N or HxW in pixels, got {text!r}", param_hint=option)
    return int(parts[0]), int(parts[-1])


def parse_preprocessing(
    command: str,
    mean: str,
    std: str,
    size: str | None = None,
    colour_order: Literal["RGB", "BGR", "GRAY"] = "RGB",
    layout: Layout = "NCHW",
) -> Preprocessing:
    """Read --mean, --std, --size, --colour-order and --layout; nonsense is a wrong use of the command."""
    from ..models import Preprocessing

    try:
        return Preprocessing(
            size=parse_size(size),
            mean=parse_numbers(mean, "--mean"),
            std=parse_numbers(std, "--std"),
            colour_order=colour_order,
            layout=layout,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=command) from None


def parse_json_object(text: str | None, option: str = "--model-args") -> dict[str, Any]:
    """Read the arguments of a model's callable."""
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"must be JSON, got {text!r} ({error})", param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"must be a JSON object, got {text!r}", param_hint=option)
    return value


def check_output_path(out: Path, force: bool, option: str = "--out") -> None:
    """Refuse before the work is done, not after, what cannot be written or must not be replaced."""
    if out.exists() and not out.is_file():
        raise FileExistsError(f"{option} must name a file, got {str(out)!r}, a folder or a device")
    if out.exists() and not force:
        raise FileExistsError(f"{option} must not exist yet, got {str(out)!r} (--force replaces it)")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the folder of {option} must exist, got {str(out.parent)!r}")
