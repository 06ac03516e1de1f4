"""`sac-fast probes`: make probe sets, compare the JPEG engines, remake a probe file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from .options import Force, Json, Layout, Mean, ModelArgs, Quiet, Std, Weights, free, json_object, numbers, sides
from .render import common

if TYPE_CHECKING:
    from ..probes import ProbeSet


class _MakeUnlessNamed(TyperGroup):
    """`sac-fast probes SOURCE …` is `sac-fast probes make SOURCE …`; a folder called "verify" is "./verify"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["make", *args])


app = typer.Typer(cls=_MakeUnlessNamed, rich_markup_mode=None)


@app.command("make")
def make(
    source: Annotated[
        Path,
        typer.Argument(exists=True, help="Folder of images, HDF5 with /data, or probe file; DALI: .txt, .tar too."),
    ],
    out: Annotated[Path | None, typer.Option(help="Probe file to write (safetensors).")] = None,
    severity: Annotated[
        list[int] | None,
        typer.Option(min=1, max=5, help="JPEG severity: 1…5 = quality 25, 18, 15, 10, 7; repeatable."),
    ] = None,
    quality: Annotated[
        list[int] | None, typer.Option(min=1, max=100, help="JPEG quality instead of severity; repeatable.")
    ] = None,
    normal: Annotated[bool, typer.Option("--normal", help="Keep the images as they are (SAC-normal).")] = False,
    cutmix: Annotated[bool, typer.Option("--cutmix", help="Paste a patch of another image (SAC-m).")] = False,
    corruption: Annotated[
        str | None, typer.Option(help="NAME:SEVERITY of the imagecorruptions package (extra 'corruptions').")
    ] = None,
    mix: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Append a probe file; repeatable.")
    ] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="Then exchange height and width.")] = False,
    subsampling: Annotated[Literal["4:4:4", "4:2:2", "4:2:0"], typer.Option(help="JPEG chroma.")] = "4:2:0",
    engine: Annotated[
        Literal["native", "pillow", "dali"] | None, typer.Option(help="JPEG engine; default: native if compiled.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the engines native and dali, and of the DALI loader.")] = "cpu",
    loader: Annotated[Literal["pillow", "dali"], typer.Option(help="Who decodes and resizes.")] = "pillow",
    size: Annotated[str | None, typer.Option(help="Resize to N or HxW pixels (folders).")] = None,
    fit: Annotated[Literal["crop", "stretch", "pad"], typer.Option(help="How images fit the size.")] = "crop",
    resample: Annotated[
        Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"], typer.Option(help="Pillow's filter.")
    ] = "bilinear",
    labels: Annotated[Literal["none", "folder"], typer.Option(help="folder: one class a sub-folder.")] = "none",
    layout: Annotated[Layout | None, typer.Option(help="Of an HDF5 file whose shape is not clear.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many images.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draw the limited number at random; seed of CutMix …")] = None,
    commit_seed: Annotated[
        str | None, typer.Option(help="Draw by a seed whose commitment you have published; see the README.")
    ] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="So many images of each class.")] = None,
    distinct: Annotated[bool, typer.Option("--distinct", help="Drop images that look like an earlier one.")] = False,
    misclassified_by: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="SAC-w: fingerprints of SOURCE (a probe file); repeatable."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="List unreadable images instead of stopping.")] = False,
    compare_engines: Annotated[
        bool, typer.Option("--compare-engines", help="Write nothing; show how far each engine is from Pillow.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Compare engines: package.module:callable, for a distance.")] = None,
    weights: Weights = None,
    model_args: ModelArgs = None,
    mean: Mean = "0",
    std: Std = "1",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make probes: images, compressed to JPEG and decoded again (SAC-JC), or of another kind.

    `sac-fast probes verify FILE --images DIR` remakes a probe file and compares every pixel.
    """
    from .. import probes as kinds

    kind = [bool(severity), bool(quality), normal, cutmix, corruption is not None]
    if sum(kind) != 1:
        raise _bad("exactly one of --severity, --quality and --normal, --cutmix, --corruption must be given")
    if compare_engines == (out is not None):
        raise _bad("exactly one of --out and --compare-engines must be given")
    if compare_engines and not (severity or quality):
        raise _bad("--compare-engines needs --severity or --quality")
    if model is not None and not compare_engines:
        raise _bad("--model is for --compare-engines")
    how_corrupt = _corruption(corruption)
    if out is not None:
        free(out, force)
    chosen = {"limit": limit, "seed": seed, "commit_seed": commit_seed, "per_class": per_class}
    read = {"size": sides(size), "fit": fit, "resample": resample, "labels": labels}
    if loader == "dali":
        made = _by_dali(source, read, chosen, device, skip_bad, not quiet)
    elif source.is_dir():
        drawn = seed if (limit or per_class) and commit_seed is None else None
        options = {**read, **chosen, "seed": drawn}
        made = kinds.ProbeSet.from_folder(source, skip_bad=skip_bad, progress=not quiet, **options)  # type: ignore[arg-type]
    else:
        if read["size"] is not None or skip_bad or (seed is not None and limit is not None):
            raise _bad("--size, --skip-bad and --seed with --limit are for folders of images, not for files")
        made = _from_file(source, layout, chosen)
    if distinct:
        made = kinds.distinct(made)
    if misclassified_by:
        from ..fingerprint import Fingerprint

        made = kinds.misclassified(made, [Fingerprint.load(file) for file in misclassified_by])
    levels: dict[str, Any] = {"quality": _one_or_all(quality), "severity": _one_or_all(severity)}
    if compare_engines:
        distance = None if model is None else _distance(model, weights, json_object(model_args), mean, std)
        found = kinds.compare_engines(made, **levels, subsampling=subsampling, distance=distance)
        common.show_engines(found, len(made), as_json)
        return
    if quality or severity:
        made = made.jpeg(**levels, subsampling=subsampling, engine=engine, device=device)
    elif cutmix:
        made = kinds.cutmix(made, seed=seed or 0)
    elif how_corrupt is not None:
        made = kinds.corrupt(made, how_corrupt[0], severity=how_corrupt[1], seed=seed or 0)
    if transpose:
        made = made.transpose()
    if mix:
        made = kinds.mixture([made, *(kinds.ProbeSet.load(file) for file in mix)])
    assert out is not None  # checked above, for the type checker
    made.save(out)
    common.show_probes(made, out, as_json)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Probe file.")],
    images: Annotated[Path, typer.Option(exists=True, help="Folder of the source images, or the HDF5 file.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remake probes from their recipe and say of each image whether the pixels are equal.

    Exit code 0: every image is equal, and committed draws are as committed; 1: not.
    """
    from ..probes import ProbeSet, verify_probes

    result = verify_probes(ProbeSet.load(file), images, progress=not quiet)
    common.show_remade(result, as_json)
    if not result.equal:
        raise typer.Exit(1)


def _bad(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="probes")


def _one_or_all(values: list[int] | None) -> int | list[int] | None:
    return values[0] if values and len(values) == 1 else values or None


def _corruption(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    name, _, level = text.partition(":")
    if level not in ("1", "2", "3", "4", "5"):
        raise typer.BadParameter(f"must be NAME:SEVERITY, severity 1…5, got {text!r}", param_hint="--corruption")
    return name, int(level)


def _by_dali(
    source: Path, read: dict[str, Any], chosen: dict[str, Any], device: str, skip_bad: bool, progress: bool
) -> ProbeSet:
    from ..probes import load_dali

    drawn = chosen["seed"] is not None and chosen["limit"] is not None
    if read["size"] is None or drawn or any(chosen[name] is not None for name in ("commit_seed", "per_class")):
        raise _bad("--loader dali needs --size, and knows no --commit-seed, no --per-class and no --seed with --limit")
    return load_dali(source, limit=chosen["limit"], device=device, skip_bad=skip_bad, progress=progress, **read)


def _from_file(source: Path, layout: Layout | None, chosen: dict[str, Any]) -> ProbeSet:
    from .. import probes as kinds
    from ..formats.magic import HDF5

    limit, commit_seed, per_class = chosen["limit"], chosen["commit_seed"], chosen["per_class"]
    if commit_seed is not None and (limit is None or per_class is not None):
        raise _bad("--commit-seed needs --limit, and for files knows no --per-class")
    first = None if commit_seed is not None else limit
    with source.open("rb") as handle:
        is_hdf5 = handle.read(8) == HDF5
    if is_hdf5 or source.suffix != ".safetensors":
        made = kinds.ProbeSet.from_hdf5(source, layout=layout, limit=first)
    else:
        made = kinds.ProbeSet.load(source)
        if first is not None:
            made = made.subset(range(min(first, len(made))), how={"kind": "first", "of": len(made)})
    if commit_seed is not None:
        return kinds.committed(made, limit, commit_seed)
    return made if per_class is None else kinds.balanced(made, per_class, seed=chosen["seed"])


def _distance(spec: str, weights: Path | None, arguments: dict[str, Any], mean: str, std: str) -> Any:
    """The distance of two probe sets as one model sees them."""
    from ..fingerprint import fingerprint
    from ..models import Preprocessing, load_model
    from ..models.code_path import allow_code_in
    from ..ops import correlation_distance

    try:
        preprocessing = Preprocessing(mean=numbers(mean, "--mean"), std=numbers(std, "--std"))
    except ValueError as error:
        raise _bad(str(error)) from None
    allow_code_in(os.getcwd())
    model = load_model(spec, weights=weights, kwargs=arguments)

    def distance(a: ProbeSet, b: ProbeSet) -> float:
        both = (fingerprint(model, probes, preprocessing=preprocessing).outputs for probes in (a, b))
        return float(correlation_distance(*both))

    return distance
