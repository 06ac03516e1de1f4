"""`sac-fast probes`: make probe sets, compare the JPEG engines, remake a probe file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from .checks import Layout, check_output_path, load_image_file, refuse_if
from .exit_codes import FINDING
from .help import HelpCommand
from .option_groups import expand_option_groups
from .options import Force, Json, PrintOptions, Quiet
from .probe_options import ChoiceOptions, CompareOptions, ImageOptions, KindOptions

if TYPE_CHECKING:
    from ..probes import ProbeSet


class _MakeUnlessNamed(TyperGroup):
    """`sac-fast probes SOURCE …` is `sac-fast probes make SOURCE …`; a folder called "verify" is "./verify"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["make", *args])


app = typer.Typer(cls=_MakeUnlessNamed, rich_markup_mode=None)


@app.command("make", cls=HelpCommand)
@expand_option_groups
def make(
    *,
    source: Annotated[
        Path, Argument(exists=True, help="Folder of images, HDF5 with /data, or probe file; DALI: .txt, .tar too.")
    ],
    out: Annotated[Path | None, Option(help="Probe file to write (safetensors).")] = None,
    kind: KindOptions,
    images: ImageOptions,
    choice: ChoiceOptions,
    compare: CompareOptions,
    prints: PrintOptions,
) -> None:
    """Make probes: images, compressed to JPEG and decoded again (SAC-JC), or of another kind.

    `sac-fast probes verify FILE --images DIR` remakes a probe file and compares every pixel.
    """
    from ..probes import compare_engines
    from .render.common import show_engines, show_probes

    kind.check()
    compare.check(out, kind)
    if out is not None:
        check_output_path(out, prints.force)
    made = choice.filter(_read(source, images, choice, kind.device, not prints.quiet))
    if out is None:
        found = compare_engines(made, **kind.levels, subsampling=kind.subsampling, distance=compare.distance())
        show_engines(found, len(made), prints.as_json)
        return
    made = kind.apply(made, choice.seed)
    made.save(out)
    show_probes(made, out, prints.as_json)


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


def _read(source: Path, images: ImageOptions, choice: ChoiceOptions, device: str, progress: bool) -> ProbeSet:
    """The chosen images of a folder, an HDF5 file, a probe file, or what DALI reads."""
    from ..probes import ProbeSet, load_dali

    reading = images.reading
    if images.loader == "dali":
        draws = choice.draws or choice.commit_seed is not None or choice.per_class is not None
        needs = "--loader dali needs --image-size, and takes no --commit-seed, --per-class, or --seed with --limit"
        refuse_if(reading["size"] is None or draws, "probes", needs)
        return load_dali(
            source, limit=choice.limit, device=device, skip_bad=images.skip_bad, progress=progress, **reading
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
