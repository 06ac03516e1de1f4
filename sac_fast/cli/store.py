"""`sac-fast zoo`: what a scan's store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Force, Json, Quiet, free

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Store = Annotated[Path, typer.Argument(metavar="ZOO", exists=True, file_okay=False, help="Folder of the store.")]
Probes = Annotated[
    str | None, typer.Option("--probes", metavar="HASH", help="Only under this probe set: the start of its hash.")
]


@app.command("ls")
def list_models(
    store: Store,
    probes: Probes = None,
    status: Annotated[
        Literal["done", "failed", "redo"] | None, typer.Option(help="Only models of this status.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the models, by name."""
    from ..store import ModelStore
    from .render import store as report_zoo

    with ModelStore.open(store, write=False) as zoo:
        wanted = None if probes is None else zoo.complete_probe_hash(probes)
        report_zoo.show_records(zoo.records(wanted, status), as_json)


@app.command()
def show(store: Store, name: Annotated[str, typer.Argument(help="The model's name.")], as_json: Json = False) -> None:
    """Show all that is known of one model, its distances to sources included."""
    from ..store import ModelStore
    from .render import store as report_zoo

    with ModelStore.open(store, write=False) as zoo:
        found = list(zoo.records_of(name))
        if not found:
            raise typer.BadParameter(f"must be a model of the store, got {name!r}", param_hint="NAME")
        report_zoo.show_model(found, list(zoo.distances(name=name)), as_json)


@app.command("rm")
def remove(
    store: Store,
    names: Annotated[list[str] | None, typer.Argument(help="Names of models.")] = None,
    probes: Probes = None,
    unused: Annotated[bool, typer.Option("--unused", help="Also results of models that have changed since.")] = False,
    as_json: Json = False,
) -> None:
    """Forget models, with their outputs and distances."""
    from ..store import ModelStore
    from .render import store as report_zoo

    if not names and not unused:
        raise typer.BadParameter("must be given, or --unused, got neither", param_hint="NAMES")
    with ModelStore.open(store, write=True) as zoo:
        wanted = None if probes is None else zoo.complete_probe_hash(probes)
        # All names first: a wrong one must not leave half of the work done.
        for name in names or []:
            if zoo.record_for(name, wanted) is None:
                raise typer.BadParameter(f"must be a model of the store, got {name!r}", param_hint="NAMES")
        removed = sum(zoo.remove(name, wanted) for name in dict.fromkeys(names or []))
        report_zoo.show_removed(removed, zoo.remove_unused() if unused else 0, as_json)


@app.command()
def export(
    store: Store,
    out: Annotated[
        Path, typer.Argument(help="*.csv or *.parquet: a table; *.safetensors: one model's fingerprint (--model).")
    ],
    model: Annotated[str | None, typer.Option(help="Name of the model whose fingerprint to write.")] = None,
    probes: Probes = None,
    distances: Annotated[bool, typer.Option("--distances", help="Distances to sources in place of models.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Add files' times and seconds: these differ by run.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a table of models or distances, or one model's fingerprint."""
    from ..store import ModelStore, export_distances, export_models
    from .render import store as report_zoo

    if (model is not None) != (out.suffix == ".safetensors"):
        raise typer.BadParameter(f"goes with *.safetensors and nothing else, got {str(out)!r}", param_hint="--model")
    if model is None and out.suffix not in (".csv", ".parquet"):
        raise typer.BadParameter(f"must end in .csv, .parquet or .safetensors, got {str(out)!r}", param_hint="OUT")
    if distances and (times or model is not None):
        raise typer.BadParameter("goes with neither --times nor --model", param_hint="--distances")
    free(out, force)
    with ModelStore.open(store, write=False) as zoo:
        if model is not None:
            wanted = None if probes is None else zoo.complete_probe_hash(probes)
            found = [record for record in zoo.records_of(model) if wanted in (None, record.probe_hash)]
            if not found:
                raise typer.BadParameter(f"must be a model of the store, got {model!r}", param_hint="--model")
            if len(found) > 1:
                listed = ", ".join(record.probe_hash for record in found)
                raise typer.BadParameter(
                    f"must pick one of the model's probe sets ({listed}), got none", param_hint="--probes"
                )
            zoo.fingerprint(found[0]).save(out)
            rows = 1
        elif probes is not None:
            raise typer.BadParameter("goes with --model: tables name each row's probes", param_hint="--probes")
        else:
            rows = export_distances(zoo, out) if distances else export_models(zoo, out, times=times)
    report_zoo.show_exported(out, rows, as_json)


@app.command()
def check(
    store: Store,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be; nothing may write meanwhile.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every file and row of a store; exit code 1 if anything is, and stays, wrong."""
    from ..store import check_store
    from .render import store as report_zoo

    found = check_store(store, repair=repair, progress=not quiet)
    report_zoo.show_check(found, as_json)
    if not found.sound:
        raise typer.Exit(1)
