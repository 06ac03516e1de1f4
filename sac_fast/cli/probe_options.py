"""The options of `sac-fast probes`, in groups, and what each group does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from ..io import choices
from .checks import Layout, parse_json_object, parse_preprocessing, parse_size, refuse_if
from .options import ImageSize, Mean, ModelArgs, RandomWeights, Std, Weights, file_option

if TYPE_CHECKING:
    from ..probes import ProbeSet


@dataclass(frozen=True)
class LevelOptions:
    """How strongly JPEG compresses: --severity or --quality"""

    severity: Annotated[
        list[int] | None, Option(min=1, max=5, help="JPEG severity: 1…5 = quality 25, 18, 15, 10, 7; repeatable.")
    ] = None
    quality: Annotated[
        list[int] | None, Option(min=1, max=100, help="JPEG quality instead of severity; repeatable.")
    ] = None
    subsampling: Annotated[choices.Subsampling, Option(help="JPEG chroma.")] = "4:2:0"

    def parse(self) -> dict[str, Any]:
        """The options as the API takes them; exactly one of severity and quality."""
        wrong = bool(self.severity) == bool(self.quality)
        kinds = "exactly one of --severity and --quality must be given (other kinds: normal, cutmix, corrupt)"
        refuse_if(wrong, "probes", kinds)
        levels = {"quality": _one_or_all(self.quality), "severity": _one_or_all(self.severity)}
        return {**levels, "subsampling": self.subsampling}


@dataclass(frozen=True)
class AfterOptions:
    """What is done last"""

    mix: Annotated[list[Path] | None, file_option("Append a probe file; repeatable.")] = None
    transpose: Annotated[bool, Option("--transpose", help="Then exchange height and width.")] = False

    def apply(self, probes: ProbeSet) -> ProbeSet:
        """Exchange height and width, and append other probes."""
        from .. import probes as kinds

        if self.transpose:
            probes = probes.transpose()
        if self.mix:
            probes = kinds.mixture([probes, *(kinds.ProbeSet.load(file) for file in self.mix)])
        return probes


@dataclass(frozen=True)
class ImageOptions:
    """How images are read."""

    loader: Annotated[Literal["pillow", "dali"], Option(help="Who decodes and resizes.")] = "pillow"
    image_size: ImageSize = None
    fit: Annotated[choices.Fit | None, Option(help="How images fit --image-size; default: crop.")] = None
    resample: Annotated[
        choices.Resample | None, Option(help="Pillow's filter for --image-size; default: bilinear.")
    ] = None
    labels: Annotated[choices.FolderLabels, Option(help="folder: one class a sub-folder.")] = "none"
    hdf5_layout: Annotated[Layout | None, Option(help="Layout of an HDF5 file whose shape is not clear.")] = None
    skip_bad: Annotated[bool, Option("--skip-bad", help="List unreadable images instead of stopping.")] = False
    device: Annotated[str, Option(help="Device of the engines native and dali, and of the DALI loader.")] = "cpu"

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of the loaders."""
        size = parse_size(self.image_size, "--image-size")
        return {
            "size": size,
            "fit": self.fit or "crop",
            "resample": self.resample or "bilinear",
            "labels": self.labels,
        }

    def check(self, source: Path, *, uses_device: bool) -> None:
        """Refuse what would have no effect on this source."""
        sized = self.fit is not None or self.resample is not None
        refuse_if(sized and self.image_size is None, "probes", "--fit and --resample go with --image-size")
        moved = self.device != "cpu" and self.loader != "dali" and not uses_device
        refuse_if(moved, "--device", "goes with --loader dali and with the engines native and dali")
        is_folder = source.is_dir() or self.loader == "dali"
        wrong = is_folder and self.hdf5_layout is not None
        refuse_if(wrong, "--hdf5-layout", f"goes with an HDF5 file, got {str(source)!r}")
        wrong = not is_folder and self.labels != "none"
        refuse_if(wrong, "--labels", f"goes with a folder of images, got the file {str(source)!r}")


@dataclass(frozen=True)
class ChoiceOptions:
    """Which images are taken."""

    limit: Annotated[int | None, Option(min=1, help="Use at most this number of images.")] = None
    seed: Annotated[
        int | None, Option(min=0, help="Seed of everything random; given, the limited number is drawn.")
    ] = None
    commit_seed: Annotated[
        str | None, Option(help="Draw by a seed whose commitment you have published; see the README.")
    ] = None
    per_class: Annotated[int | None, Option(min=1, help="This number of images of each class.")] = None
    distinct: Annotated[bool, Option("--distinct", help="Drop images that look like an earlier one.")] = False
    misclassified_by: Annotated[
        list[Path] | None, file_option("SAC-w: fingerprints of SOURCE (a probe file); repeatable.")
    ] = None

    def check(self, *, random_kind: bool) -> None:
        """Refuse a seed of nothing."""
        unused = self.seed is not None and self.limit is None and self.per_class is None and not random_kind
        refuse_if(unused, "--seed", "goes with --limit or --per-class: nothing else is random here")

    @property
    def draws(self) -> bool:
        """True if a limited number is drawn at random."""
        return self.seed is not None and self.limit is not None

    def filter(self, probes: ProbeSet) -> ProbeSet:
        """Apply --distinct and --misclassified-by."""
        from .. import probes as kinds
        from ..fingerprint import Fingerprint

        if self.distinct:
            probes = kinds.distinct(probes)
        if self.misclassified_by:
            probes = kinds.misclassified(probes, [Fingerprint.load(file) for file in self.misclassified_by])
        return probes


@dataclass(frozen=True)
class JudgeOptions:
    """A model that says how far the engines' pixels are apart"""

    model: Annotated[str | None, Option(help="package.module:callable, for a distance of its outputs.")] = None
    weights: Weights = None
    model_args: ModelArgs = None
    random_weights: RandomWeights = False
    mean: Mean = "0"
    std: Std = "1"

    def distance(self) -> Callable[[ProbeSet, ProbeSet], float] | None:
        """The distance of two probe sets as the model sees them."""
        if self.model is None:
            refuse_if(self != JudgeOptions(), "probes compare", "--weights, --model-args, … go with --model")
            return None
        from ..fingerprint import fingerprint
        from ..models import load_model
        from ..models.code_path import allow_code_in
        from ..models.own_weights import load_without_weights
        from ..ops import correlation_distance

        arguments = parse_json_object(self.model_args)
        preprocessing = parse_preprocessing("probes", self.mean, self.std)
        allow_code_in(os.getcwd())
        if self.weights is None:
            model, _ = load_without_weights(self.model, arguments, random_weights=self.random_weights)
        else:
            refuse_if(self.random_weights, "--random-weights", "goes with --model without --weights")
            model = load_model(self.model, weights=self.weights, kwargs=arguments)

        def distance(a: ProbeSet, b: ProbeSet) -> float:
            both = (fingerprint(model, probes, preprocessing=preprocessing).outputs for probes in (a, b))
            return float(correlation_distance(*both))

        return distance


def _one_or_all(values: list[int] | None) -> int | list[int] | None:
    return values[0] if values and len(values) == 1 else values or None
