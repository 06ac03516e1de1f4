"""Options that several commands share, each defined once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from ..io import choices
from .checks import Layout, check_alpha, check_output_form_option, check_seed_option, parse_preprocessing, refuse_if

if TYPE_CHECKING:
    from ..models import Preprocessing, TableFormat


def file_option(help: str, *names: str) -> Any:
    """The option of a file that exists."""
    return Option(*names, exists=True, dir_okay=False, help=help)


Alpha = Annotated[float, Option(callback=check_alpha, help="Stated error rate α, between 0 and 1.")]
ColourOrder = Annotated[Literal["RGB", "BGR", "GRAY"], Option(help="Channels of the model's input.")]
Comparison = Annotated[choices.Comparison, Option(help="Comparison of two correlation matrices.")]
Force = Annotated[bool, Option("--force", help="Replace the output file if it exists.")]
FixedInputs = Annotated[
    list[str] | None,
    Option(
        "--input", metavar="NAME=VALUE", help="Fixed value of an ONNX model's further input, JSON or zeros; repeatable."
    ),
]
ImageSize = Annotated[str | None, Option(help="Resize the images that are read to N or HxW pixels (folders).")]
Json = Annotated[bool, Option("--json", help="Print the result as one JSON document.")]
Mean = Annotated[str, Option(help="Mean to subtract, pixels in 0..1: one number or one a channel.")]
Metric = Annotated[choices.Metric, Option(help="Correlation of two probes' outputs.")]
ModelArgs = Annotated[str | None, Option(help="Arguments of the model's callable, a JSON object.")]
ModelLayout = Annotated[Layout, Option(help="Layout of the model's input.")]
OutputForm = Annotated[
    str | None,
    Option(
        callback=check_output_form_option,
        help="logits, probabilities, labels, embeddings, …; default: by the values.",
    ),
]
Choose = Annotated[
    Literal["named", "auto"],
    Option(
        "--preprocessing",
        help="auto: try no, ImageNet's and ±1's mean and std, and those beside the file; the probes' labels decide, or "
        "what its answers tell apart.",
    ),
]
ProbeFile = Annotated[Path, file_option("Probe file, or .npz with inputs of a model that takes no images.", "--probes")]
ProbeFiles = Annotated[
    list[Path] | None, file_option("Probe file on which every model is fingerprinted; repeatable.", "--probes")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Show no progress.")]
RandomWeights = Annotated[
    bool, Option("--random-weights", help="Take a callable without --weights whose weights are random.")
]
Seed = Annotated[int, Option(min=0, callback=check_seed_option, help="Seed of everything random.")]
Size = Annotated[str | None, Option(help="Size of the model's input: probes are resized to N or HxW pixels.")]
Std = Annotated[str, Option(help="Standard deviation to divide by, likewise.")]
Weights = Annotated[Path | None, file_option("Weights: safetensors, what torch.save wrote, or an index of files.")]
WeightsKey = Annotated[
    str | None, Option(help="Which state dict, where a file holds several that fit: state_dict_ema, say.")
]
Workers = Annotated[int | None, Option(min=1, help="Training processes; default: one a core.")]


@dataclass(frozen=True)
class InputOptions:
    """What a model takes as input."""

    size: Size = None
    mean: Mean = "0"
    std: Std = "1"
    colour_order: ColourOrder = "RGB"
    layout: ModelLayout = "NCHW"

    def parse(self, command: str, choose: str = "named") -> Preprocessing:
        """The options as the API takes them; with ``--preprocessing auto`` mean and std must not be named."""
        named = choose == "auto" and (self.mean, self.std) != ("0", "1")
        refuse_if(named, "--preprocessing", "must not be auto where --mean or --std name one")
        return parse_preprocessing(command, self.mean, self.std, self.size, self.colour_order, self.layout)


@dataclass(frozen=True)
class TableOptions:
    """How text tables of recorded outputs are written, where their content does not tell."""

    table_header: Annotated[
        Literal["yes", "no"] | None, Option(help="Whether the first line of a text table holds names.")
    ] = None
    table_index: Annotated[
        Literal["yes", "no"] | None, Option(help="Whether the first column of a text table numbers the rows.")
    ] = None
    table_delimiter: Annotated[
        Literal["comma", "semicolon", "tab", "space"] | None, Option(help="What separates the cells of a text table.")
    ] = None

    def parse(self) -> TableFormat:
        """The options as the API takes them."""
        from ..models import TableFormat

        meaning = {"yes": True, "no": False, None: None}
        return TableFormat(meaning[self.table_header], meaning[self.table_index], self.table_delimiter)


@dataclass(frozen=True)
class PrintOptions:
    """What a command that writes a file prints, and whether the file may exist."""

    force: Force = False
    as_json: Json = False
    quiet: Quiet = False
