"""`sac-fast simulate`: steal a model in every known way, to calibrate and to evaluate."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..io.text import escape_text
from .options import Json, Layout, Mean, ModelArgs, Quiet, Std, parse_json_object, parse_preprocessing, parse_size

if TYPE_CHECKING:
    from ..probes import ProbeSet
    from ..simulation import Architecture


def simulate(
    source: Annotated[str, typer.Option(help="Your model: package.module:callable that returns the nn.Module.")],
    weights: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Its weights: safetensors, or a weights_only state dict.")
    ],
    data: Annotated[
        Path, typer.Option(exists=True, help="The thief's images: folder, HDF5 with /data and /label, or probe file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the zoo; an earlier simulation in it goes on.")],
    attacks: Annotated[str, typer.Option(help="Names with commas between them, or all.")] = "all",
    copies: Annotated[int, typer.Option(min=1, help="Models of each attack (and of each student).")] = 1,
    student: Annotated[
        list[str] | None,
        typer.Option(
            help="The thief's own network, 'package.module:callable' or 'package.module:callable {JSON arguments}'; "
            "repeatable; default: the source's."
        ),
    ] = None,
    independents: Annotated[int, typer.Option(min=0, help="Independent models of each kind.")] = 0,
    source_data: Annotated[
        Path | None,
        typer.Option(exists=True, help="What the source was trained on: independents on the same data as well."),
    ] = None,
    test_data: Annotated[
        Path | None, typer.Option(exists=True, help="For accuracies; default: every fifth image of each set.")
    ] = None,
    surrogate_data: Annotated[
        Path | None, typer.Option(exists=True, help="Other images, for extract-knockoff.")
    ] = None,
    transfer_data: Annotated[
        Path | None,
        typer.Option(exists=True, help="Another task, for transfers; default: the thief's with half the classes."),
    ] = None,
    probes: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Probe file that all models answer; repeatable."),
    ] = None,
    model_args: ModelArgs = None,
    labels: Annotated[Literal["folder", "none"], typer.Option(help="folder: one class a sub-folder.")] = "folder",
    image_size: Annotated[str | None, typer.Option(help="Resize the files of a folder to N or HxW pixels.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many images of each set.")] = None,
    size: Annotated[str | None, typer.Option(help="Size the models take: N or HxW pixels.")] = None,
    mean: Mean = "0",
    std: Std = "1",
    colour_order: Annotated[Literal["RGB", "BGR", "GRAY"], typer.Option(help="Channels the models take.")] = "RGB",
    layout: Annotated[Layout, typer.Option(help="Input layout the models take.")] = "NCHW",
    epochs: Annotated[int, typer.Option(min=1, help="Of trainings from the start.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Peak, of trainings from the start.")] = 0.1,
    tuning_epochs: Annotated[int, typer.Option(min=1, help="Of trainings of stolen weights.")] = 4,
    tuning_learning_rate: Annotated[float, typer.Option(help="Peak, of trainings of stolen weights.")] = 0.01,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a training step.")] = 128,
    flips: Annotated[bool, typer.Option("--flips/--no-flips", help="Mirror half of the training images.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes; default: one a core.")] = None,
    device: Annotated[str, typer.Option(help="Torch device of the trainings.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Steal your model in every known way, and make independent ones: a labelled zoo for `sac-fast evaluate`.

    Interrupted, or killed: the same command goes on where it was.
    """
    from ..attacks import ATTACKS, TrainingConfig
    from ..models import load_model, weights_hash
    from ..simulation import Images, Setting, plan
    from ..simulation import simulate as run
    from ..simulation.plan import obstacle
    from ..simulation.run import outputs_of

    preprocessing = parse_preprocessing("simulate", mean, std, size, colour_order, layout)
    try:
        # Mirrored is the last dimension, which is the channels' in NHWC.
        common = {"batch_size": batch_size, "flips": flips and layout == "NCHW"}
        config = TrainingConfig(epochs=epochs, learning_rate=learning_rate, **common)  # type: ignore[arg-type]
        tuning = TrainingConfig(epochs=tuning_epochs, learning_rate=tuning_learning_rate, **common)  # type: ignore[arg-type]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="simulate") from None
    arguments = parse_json_object(model_args)
    students = [_student(text) for text in student or []]
    by_stem: dict[str, Path] = {}
    for file in probes or []:
        if (other := by_stem.setdefault(file.stem, file)) is not file:
            raise typer.BadParameter(
                f"files must have different names, each names its set in the zoo, got {str(other)!r} and {str(file)!r}",
                param_hint="--probes",
            )

    def images(path: Path | None, labelled: str = labels) -> ProbeSet | None:
        return None if path is None else _read(path, labelled, parse_size(image_size), limit, seed, not quiet)

    # as `python -m` does: a model beside the user is found
    sys.path.insert(0, os.getcwd())
    from ..simulation import Architecture

    model = load_model(source, weights=weights, kwargs=arguments)
    thief, test, owner, transfer = images(data), images(test_data), images(source_data), images(transfer_data)
    assert thief is not None
    setting = Setting(
        Architecture(source, arguments),
        weights_hash(model),
        outputs_of(model, thief, preprocessing),
        preprocessing,
        Images.split(thief, test, seed),
        None if owner is None else Images.split(owner, test, seed),
        images(surrogate_data, "none"),
        None if transfer is None else Images.split(transfer, None, seed),
        config,
        tuning,
        device,
    )
    left_out: dict[str, str] = {}
    if attacks == "all":
        reasons = {name: obstacle(attack, setting) for name, attack in ATTACKS.items()}
        left_out = {name: reason for name, reason in reasons.items() if reason is not None}
        chosen = [name for name in ATTACKS if name not in left_out]
    else:
        chosen = [name.strip() for name in attacks.split(",") if name.strip()]
        if unknown := [name for name in chosen if name not in ATTACKS]:
            raise typer.BadParameter(
                f"must be all or among {', '.join(ATTACKS)}, got {unknown[0]!r}", param_hint="--attacks"
            )
    planned = plan(setting, chosen, students=students, copies=copies, independents=independents, seed=seed)
    from ..probes import ProbeSet as Probes

    summary = run(
        out,
        model,
        setting,
        planned,
        probes={name: Probes.load(file) for name, file in by_stem.items()},
        workers=workers,
        progress=not quiet,
    )
    summary["left_out"] = left_out
    _show(summary, as_json)
    if summary["failed"]:
        raise typer.Exit(1)


def _student(text: str) -> Architecture:
    """Read "package.module:callable {JSON}"."""
    from ..simulation import Architecture

    spec, _, arguments = text.strip().partition(" ")
    try:
        value = json.loads(arguments or "{}")
    except json.JSONDecodeError as error:
        raise typer.BadParameter(
            f"arguments must be JSON, got {arguments!r} ({error})", param_hint="--student"
        ) from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"arguments must be a JSON object, got {arguments!r}", param_hint="--student")
    return Architecture(spec, value)


def _read(
    path: Path, labels: str, size: tuple[int, int] | None, limit: int | None, seed: int, progress: bool
) -> ProbeSet:
    """Images of a folder, an HDF5 file or a probe file."""
    from ..formats.magic import HDF5
    from ..probes import ProbeSet

    if path.is_dir():
        drawn = None if limit is None else seed
        return ProbeSet.from_folder(path, size=size, labels=labels, limit=limit, seed=drawn, progress=progress)
    with path.open("rb") as handle:
        is_hdf5 = handle.read(8) == HDF5
    if is_hdf5 or path.suffix != ".safetensors":
        return ProbeSet.from_hdf5(path, limit=limit)
    made = ProbeSet.load(path)
    return made if limit is None else made.subset(range(min(limit, len(made))))


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary, indent=2, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for member in summary["members"]:
        rows.setdefault((member["role"], member["origin"]), []).append(member)
    table = Table("role", "origin", "models", "accuracy", "seconds a model", box=None, pad_edge=False)
    for (role, origin), members in rows.items():
        table.add_row(role, origin, str(len(members)), _range(members, "accuracy", 3), _range(members, "seconds", 1))
    console = Console(highlight=False, width=max(Console().width, 100))
    console.print(table)
    console.print(
        f"{len(summary['made'])} made, {len(summary['kept'])} there already, {len(summary['failed'])} failed; "
        f"in {summary['folder']}"
    )
    for name, reason in {**summary["left_out"], **summary["failed"]}.items():
        print(f"sac-fast: {escape_text(f'{name}: {reason}')}", file=sys.stderr)


def _range(members: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [member[key] for member in members if member[key] is not None]
    if not values:
        return "-"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} … {high}"
