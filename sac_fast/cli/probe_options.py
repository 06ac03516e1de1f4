"""The options of `sac-fast probes make`, in groups, and what each group does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from .checks import Layout, parse_json_object, parse_preprocessing, parse_size, refuse_if
from .options import ImageSize, Mean, ModelArgs, RandomWeights, Std, Weights, file_option

if TYPE_CHECKING:
    from ..probes import ProbeSet


@dataclass(frozen=True)
class KindOptions:
    """What is done to the images: exactly one kind, of JPEG several levels."""

    severity: Annotated[
        list[int] | None, Option(min=1, max=5, help="JPEG severity: 1…5 = quality 25, 18, 15, 10, 7; repeatable.")
    ] = None
    quality: Annotated[
        list[int] | None, Option(min=1, max=100, help="JPEG quality instead of severity; repeatable.")
    ] = None
    normal: Annotated[bool, Option("--normal", help="Keep the images as they are (SAC-normal).")] = False
    cutmix: Annotated[bool, Option("--cutmix", help="Paste a patch of another image (SAC-m).")] = False
    corruption: Annotated[
        str | None, Option(help="NAME:SEVERITY of the imagecorruptions package (extra 'corruptions').")
    ] = None
    mix: Annotated[list[Path] | None, file_option("Append a probe file; repeatable.")] = None
    transpose: Annotated[bool, Option("--transpose", help="Then exchange height and width.")] = False
    subsampling: Annotated[Literal["4:4:4", "4:2:2", "4:2:0"], Option(help="JPEG chroma.")] = "4:2:0"
    engine: Annotated[
        Literal["native", "pillow", "dali"] | None, Option(help="JPEG engine; default: native if compiled.")
    ] = None
    device: Annotated[str, Option(help="Device of the engines native and dali, and of the DALI loader.")] = "cpu"

    @property
    def levels(self) -> dict[str, Any]:
        """JPEG quality or severity as the API takes them."""
        return {"quality": _one_or_all(self.quality), "severity": _one_or_all(self.severity)}

    def check(self) -> None:
        """Refuse all but exactly one kind."""
        chosen = [bool(self.severity), bool(self.quality), self.normal, self.cutmix, self.corruption is not None]
        kinds = "exactly one of --severity, --quality and --normal, --cutmix, --corruption must be given"
        refuse_if(sum(chosen) != 1, "probes", kinds)
        _corruption(self.corruption)

    def apply(self, probes: ProbeSet, seed: int | None) -> ProbeSet:
        """Make the probes of plain images."""
        from .. import probes as kinds

        corruption = _corruption(self.corruption)
        if self.quality or self.severity:
            probes = probes.jpeg(**self.levels, subsampling=self.subsampling, engine=self.engine, device=self.device)
        elif self.cutmix:
            probes = kinds.cutmix(probes, seed=seed or 0)
        elif corruption is not None:
            probes = kinds.corrupt(probes, corruption[0], severity=corruption[1], seed=seed or 0)
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
    fit: Annotated[Literal["crop", "stretch", "pad"], Option(help="How images fit the size.")] = "crop"
    resample: Annotated[
        Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"], Option(help="Pillow's filter.")
    ] = "bilinear"
    labels: Annotated[Literal["none", "folder"], Option(help="folder: one class a sub-folder.")] = "none"
    hdf5_layout: Annotated[Layout | None, Option(help="Layout of an HDF5 file whose shape is not clear.")] = None
    skip_bad: Annotated[bool, Option("--skip-bad", help="List unreadable images instead of stopping.")] = False

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of the loaders."""
        size = parse_size(self.image_size, "--image-size")
        return {"size": size, "fit": self.fit, "resample": self.resample, "labels": self.labels}


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
class CompareOptions:
    """The comparison of JPEG engines, and the model that may judge it."""

    compare_engines: Annotated[
        bool, Option("--compare-engines", help="Write nothing; show how far each engine is from Pillow.")
    ] = False
    model: Annotated[str | None, Option(help="Compare engines: package.module:callable, for a distance.")] = None
    weights: Weights = None
    model_args: ModelArgs = None
    random_weights: RandomWeights = False
    mean: Mean = "0"
    std: Std = "1"

    def check(self, out: Path | None, kind: KindOptions) -> None:
        """Refuse options that do not go together."""
        compares, has_levels = self.compare_engines, bool(kind.severity or kind.quality)
        for wrong, message in (
            (compares == (out is not None), "exactly one of --out and --compare-engines must be given"),
            (compares and not has_levels, "--compare-engines needs --severity or --quality"),
            (self.model is not None and not compares, "--model is for --compare-engines"),
        ):
            refuse_if(wrong, "probes", message)

    def distance(self) -> Callable[[ProbeSet, ProbeSet], float] | None:
        """The distance of two probe sets as the model sees them."""
        if self.model is None:
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
            model = load_model(self.model, weights=self.weights, kwargs=arguments)

        def distance(a: ProbeSet, b: ProbeSet) -> float:
            both = (fingerprint(model, probes, preprocessing=preprocessing).outputs for probes in (a, b))
            return float(correlation_distance(*both))

        return distance


def _one_or_all(values: list[int] | None) -> int | list[int] | None:
    return values[0] if values and len(values) == 1 else values or None


def _corruption(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    name, _, level = text.partition(":")
    is_level = level in ("1", "2", "3", "4", "5")
    refuse_if(not is_level, "--corruption", f"must be NAME:SEVERITY, severity 1…5, got {text!r}")
    return name, int(level)
