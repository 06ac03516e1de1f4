"""`sac-fast store`: the models of a store."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from .checks import check_output_path, refuse_if
from .exit_codes import FINDING
from .help import HelpCommand
from .options import Force, Json, Quiet
from .ray_option import RayAddress, RayCommand

if TYPE_CHECKING:
    from ..store import ModelStore

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Store = Annotated[Path, Argument(metavar="STORE", exists=True, file_okay=False, help="Folder of the store.")]
ProbeHash = Annotated[str | None, Option(metavar="HASH", help="Only this probe set: the start of its hash.")]


def _complete(store: ModelStore, probe_hash: str | None) -> str | None:
    return None if probe_hash is None else store.complete_probe_hash(probe_hash)


def _check_known(found: object, name: str, option: str) -> None:
    refuse_if(not found, option, f"must be a model of the store, got {name!r}")


@app.command("ls", cls=HelpCommand)
def list_models(
    folder: Store,
    probe_hash: ProbeHash = None,
    status: Annotated[Literal["done", "failed", "redo"] | None, Option(help="Only models of this status.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, by name."""
    from ..store import ModelStore
    from .render.store import show_records

    with ModelStore.open(folder, write=False) as store:
        wanted = _complete(store, probe_hash)
        show_records(store.records(wanted, status), as_json)


@app.command(cls=HelpCommand)
def show(folder: Store, name: Annotated[str, Argument(help="The model's name.")], as_json: Json = False) -> None:
    """Show all records of one model, and its distances to sources."""
    from ..store import ModelStore
    from .render.store import show_model

    with ModelStore.open(folder, write=False) as store:
        found = list(store.records_of(name))
        _check_known(found, name, "NAME")
        show_model(found, list(store.distances(name=name)), as_json)


@app.command("rm", cls=HelpCommand)
def remove(
    folder: Store,
    names: Annotated[list[str] | None, Argument(help="Names of models.")] = None,
    probe_hash: ProbeHash = None,
    unused: Annotated[bool, Option("--unused", help="Also delete results of models that have changed since.")] = False,
    as_json: Json = False,
) -> None:
    """Delete models, with their outputs and distances."""
    from ..store import ModelStore
    from .render.store import show_removed

    refuse_if(not names and not unused, "NAMES", "must be given, or --unused, got neither")
    with ModelStore.open(folder, write=True) as store:
        wanted = _complete(store, probe_hash)
        # Check all names first, so that a wrong one leaves the store unchanged.
        for name in names or []:
            _check_known(store.record_for(name, wanted), name, "NAMES")
        removed = sum(store.remove(name, wanted) for name in dict.fromkeys(names or []))
        show_removed(removed, store.remove_unused() if unused else 0, as_json)


@app.command(cls=HelpCommand)
def export(
    folder: Store,
    out: Annotated[
        Path,
        Argument(help="*.csv, *.parquet: a table; *.safetensors: a fingerprint (--name); *.sarif: failed models."),
    ],
    name: Annotated[str | None, Option(help="The model whose fingerprint to write.")] = None,
    probe_hash: ProbeHash = None,
    distances: Annotated[bool, Option("--distances", help="Write distances to sources instead of models.")] = False,
    times: Annotated[
        bool, Option("--times", help="Add file times and run times, which differ from run to run.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a table of models or distances, or one model's fingerprint."""
    from ..store import ModelStore, export_distances, export_models
    from .render.store import show_exported

    named, ending = name is not None, out.suffix
    for wrong, option, message in (
        (named != (ending == ".safetensors"), "--name", f"goes with *.safetensors and nothing else, got {str(out)!r}"),
        (
            not named and ending not in (".csv", ".parquet", ".sarif"),
            "OUT",
            f"must end in .csv, .parquet, .sarif or .safetensors, got {str(out)!r}",
        ),
        (ending == ".sarif" and (distances or times), "OUT", "*.sarif goes without --distances and --times"),
        (distances and (times or named), "--distances", "goes with neither --times nor --name"),
        (probe_hash is not None and not named, "--probe-hash", "goes with --name: tables name each row's probes"),
    ):
        refuse_if(wrong, option, message)
    check_output_path(out, force, "OUT")
    with ModelStore.open(folder, write=False) as store:
        if name is not None:
            wanted = _complete(store, probe_hash)
            found = [record for record in store.records_of(name) if wanted in (None, record.probe_hash)]
            _check_known(found, name, "--name")
            listed = ", ".join(record.probe_hash for record in found)
            several = f"must pick one of the model's probe sets ({listed}), got none"
            refuse_if(len(found) > 1, "--probe-hash", several)
            store.fingerprint(found[0]).save(out)
            rows = 1
        elif ending == ".sarif":
            rows = _export_failures(store, out)
        else:
            rows = export_distances(store, out) if distances else export_models(store, out, times=times)
    show_exported(out, rows, as_json)


def _export_failures(store: ModelStore, out: Path) -> int:
    """Write the models that failed as SARIF; their number."""
    from ..io.files import atomic_write
    from ..report.files import to_text
    from ..report.sarif import failure_results, sarif_log

    records = store.records(None, "failed")
    results = failure_results(
        {"name": record.name, "path": record.path, "reason": record.reason, "message": record.message}
        for record in records
    )
    with atomic_write(out) as handle:
        handle.write(to_text(sarif_log(results)).encode())
    return len(results)


@app.command(cls=RayCommand)
def index(
    folder: Store,
    probe_hash: Annotated[
        str | None, Option(metavar="HASH", help="The probe set, by the start of its hash, where there are several.")
    ] = None,
    rebuild: Annotated[bool, Option("--rebuild", help="Make all vectors and lists anew, in another order.")] = False,
    ray: RayAddress = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add packed vectors and lists of neighbours of new models, by which `relatives --name` answers at once."""
    from ..store import ModelStore
    from ..store.vectors import update_vectors
    from .render.store import show_indexed

    with ModelStore.open(folder, write=True) as store, contextlib.ExitStack() as stack:
        wanted = store.complete_probe_hash(probe_hash or "", "done")
        blocks = None
        if ray is not None:
            from ..neighbours.ray_blocks import RayBlocks

            blocks = stack.enter_context(contextlib.closing(RayBlocks(ray)))
        show_indexed(update_vectors(store, wanted, rebuild=rebuild, progress=not quiet, blocks=blocks), as_json)


@app.command(cls=HelpCommand)
def check(
    folder: Store,
    repair: Annotated[
        bool, Option("--repair", help="Repair what can be repaired; no other process may write.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every file and row of a store; exit code 5 if a defect is left."""
    from ..store import check_store
    from .render.store import show_check

    found = check_store(folder, repair=repair, progress=not quiet)
    show_check(found, as_json)
    if not found.sound:
        raise typer.Exit(FINDING)
