"""`sac-fast probes`: make probe sets, compare the JPEG engines, remake a probe file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from ..io import choices
from .checks import Layout, check_output_path, load_image_file, refuse_if
from .exit_codes import FINDING
from .help import HelpCommand
from .option_groups import expand_option_groups
from .options import Force, Json, PrintOptions, Quiet
from .probe_options import AfterOptions, ChoiceOptions, ImageOptions, JudgeOptions, LevelOptions

if TYPE_CHECKING:
    from ..probes import ProbeSet


class _JpegUnlessNamed(TyperGroup):
    """`sac-fast probes SOURCE …` is `sac-fast probes jpeg SOURCE …`; a folder called "verify" is "./verify"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if known else ["jpeg", *args])


app = typer.Typer(cls=_JpegUnlessNamed, rich_markup_mode=None, no_args_is_help=True)

Source = Annotated[
    Path, Argument(exists=True, help="Folder of images, HDF5 with /data, or probe file; DALI: .txt, .tar too.")
]
Out = Annotated[Path, Option(help="Probe file to write (safetensors).")]


@app.command("jpeg", cls=HelpCommand)
@expand_option_groups
def jpeg(
    *,
    source: Source,
    out: Out,
    level: LevelOptions,
    engine: Annotated[choices.JpegEngine | None, Option(help="JPEG engine; default: native if compiled.")] = None,
    images: ImageOptions,
    choice: ChoiceOptions,
    after: AfterOptions,
    prints: PrintOptions,
) -> None:
    """Images, compressed to JPEG and decoded again (SAC-JC); `sac-fast probes SOURCE …` is the same.

    `sac-fast probes verify FILE --images DIR` remakes a probe file and compares every pixel.
    """
    levels = level.parse()
    made = _read(source, out, images, choice, prints, uses_device=engine != "pillow")
    _write(after.apply(made.jpeg(**levels, engine=engine, device=images.device)), out, prints)


@app.command("normal", cls=HelpCommand)
@expand_option_groups
def normal(
    *,
    source: Source,
    out: Out,
    images: ImageOptions,
    choice: ChoiceOptions,
    after: AfterOptions,
    prints: PrintOptions,
) -> None:
    """Images as they are (SAC-normal)."""
    _write(after.apply(_read(source, out, images, choice, prints)), out, prints)


@app.command("cutmix", cls=HelpCommand)
@expand_option_groups
def cutmix(
    *,
    source: Source,
    out: Out,
    images: ImageOptions,
    choice: ChoiceOptions,
    after: AfterOptions,
    prints: PrintOptions,
) -> None:
    """Images with a patch of another one pasted in (SAC-m)."""
    from .. import probes as kinds

    made = _read(source, out, images, choice, prints, random_kind=True)
    _write(after.apply(kinds.cutmix(made, seed=choice.seed or 0)), out, prints)


@app.command("corrupt", cls=HelpCommand)
@expand_option_groups
def corrupt(
    *,
    source: Source,
    corruption: Annotated[str, Option(help="Name of the imagecorruptions package (extra 'corruptions').")],
    severity: Annotated[int, Option(min=1, max=5, help="How strong it is.")] = 3,
    out: Out,
    images: ImageOptions,
    choice: ChoiceOptions,
    after: AfterOptions,
    prints: PrintOptions,
) -> None:
    """Images with noise, blur, weather or another of the usual corruptions."""
    from .. import probes as kinds

    made = _read(source, out, images, choice, prints, random_kind=True)
    _write(after.apply(kinds.corrupt(made, corruption, severity=severity, seed=choice.seed or 0)), out, prints)


@app.command("compare", cls=HelpCommand)
@expand_option_groups
def compare(
    *,
    source: Source,
    level: LevelOptions,
    images: ImageOptions,
    choice: ChoiceOptions,
    judge: JudgeOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how far each JPEG engine is from Pillow on these images; nothing is written."""
    from ..probes import compare_engines
    from .render.common import show_engines

    levels, distance = level.parse(), judge.distance()
    made = _read(source, None, images, choice, PrintOptions(quiet=quiet))
    show_engines(compare_engines(made, **levels, distance=distance), len(made), as_json)


@app.command("verify", cls=HelpCommand)
def verify(
    file: Annotated[Path, Argument(exists=True, dir_okay=False, help="Probe file.")],
    images: Annotated[Path, Option(exists=True, help="Folder of the source images, or the HDF5 file.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remake probes from their recipe and say of each image whether the pixels are equal.

    Exit code 0: every image is equal, committed draws are as committed, and nothing else chose the images; 5: not.
    """
    from ..probes import ProbeSet, verify_probes
    from .render.common import show_probe_verification

    result = verify_probes(ProbeSet.load(file), images, progress=not quiet)
    show_probe_verification(result, as_json)
    if not result.equal:
        raise typer.Exit(FINDING)


@app.command("export", cls=HelpCommand)
def export(
    file: Annotated[Path, Argument(exists=True, dir_okay=False, help="Probe file.")],
    folder: Annotated[Path, Argument(help="Folder to write to, missing or empty.")],
    image_format: Annotated[
        Literal["png", "jpeg"], Option("--format", help="png: the very pixels; jpeg: nearly (quality 95).")
    ] = "png",
    as_json: Json = False,
) -> None:
    """Write the probes as image files, for a service that only a person can use.

    Note its answers down under the files' names, and read them with `sac-fast fingerprint --answers`.
    """
    from ..probes import ProbeSet
    from ..probes.export import export_probes
    from .render.common import print_result

    written = export_probes(ProbeSet.load(file), folder, image_format=image_format)
    result = {"folder": str(folder), "images": len(written), "exact": image_format == "png"}
    print_result(result, as_json, "probes.export")


@app.command("import", cls=HelpCommand)
def import_inputs(
    source: Annotated[Path, Argument(exists=True, dir_okay=False, help=".npz file: an array for each input.")],
    out: Annotated[Path, Option(help="Probe file to write (safetensors).")],
    limit: Annotated[int | None, Option(min=1, help="Use at most this number of rows, the first ones.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Keep inputs of models that take no images as probes: arrays of any shape, row i of each for probe i.

    An array called labels holds class numbers. `fingerprint` and `scan` take the .npz file itself too.
    """
    from ..probes import RecordedInputs
    from .render.common import show_inputs

    check_output_path(out, force)
    made = RecordedInputs.from_npz(source, limit=limit)
    made.save(out)
    show_inputs(made, out, as_json)


def _read(
    source: Path,
    out: Path | None,
    images: ImageOptions,
    choice: ChoiceOptions,
    prints: PrintOptions,
    *,
    uses_device: bool = False,
    random_kind: bool = False,
) -> ProbeSet:
    """The chosen images, once the options fit the source and the output can be written."""
    images.check(source, uses_device=uses_device)
    choice.check(random_kind=random_kind)
    if out is not None:
        check_output_path(out, prints.force)
    return choice.filter(_read_source(source, images, choice, not prints.quiet))


def _write(made: ProbeSet, out: Path, prints: PrintOptions) -> None:
    from .render.common import show_probes

    made.save(out)
    show_probes(made, out, prints.as_json)


def _read_source(source: Path, images: ImageOptions, choice: ChoiceOptions, progress: bool) -> ProbeSet:
    """The chosen images of a folder, an HDF5 file, a probe file, or what DALI reads."""
    from ..probes import ProbeSet, load_dali

    reading = images.reading
    if images.loader == "dali":
        draws = choice.draws or choice.commit_seed is not None or choice.per_class is not None
        needs = "--loader dali needs --image-size, and takes no --commit-seed, --per-class, or --seed with --limit"
        refuse_if(reading["size"] is None or draws, "probes", needs)
        return load_dali(
            source, limit=choice.limit, device=images.device, skip_bad=images.skip_bad, progress=progress, **reading
        )
    if source.is_dir():
        drawn = (choice.limit or choice.per_class) and choice.commit_seed is None
        return ProbeSet.from_folder(
            source,
            limit=choice.limit,
            seed=choice.seed if drawn else None,
            commit_seed=choice.commit_seed,
            per_class=choice.per_class,
            skip_bad=images.skip_bad,
            progress=progress,
            **reading,
        )
    for_folders = reading["size"] is not None or images.skip_bad or choice.draws
    message = "--image-size, --skip-bad and --seed with --limit are for folders of images, not for files"
    refuse_if(for_folders, "probes", message)
    return _from_file(source, images.hdf5_layout, choice)


def _from_file(source: Path, layout: Layout | None, choice: ChoiceOptions) -> ProbeSet:
    from .. import probes as kinds

    limit = choice.limit
    wrong = choice.commit_seed is not None and (limit is None or choice.per_class is not None)
    refuse_if(wrong, "probes", "--commit-seed needs --limit, and for files knows no --per-class")
    first = None if choice.commit_seed is not None else limit
    made = load_image_file(source, layout, first, {"kind": "first"})
    if choice.commit_seed is not None and limit is not None:
        return kinds.committed(made, limit, choice.commit_seed)
    return made if choice.per_class is None else kinds.balanced(made, choice.per_class, seed=choice.seed)
