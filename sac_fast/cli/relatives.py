"""`sac-fast relatives`: the nearest relatives of the models of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Force, Json, Metric, Quiet, check_output_path

if TYPE_CHECKING:
    from ..store.stored import StoredOutputs

Store = Annotated[
    Path,
    typer.Argument(
        metavar="STORE", exists=True, file_okay=False, help="Folder of the store, as `sac-fast scan` writes it."
    ),
]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="Model whose relatives are wanted; default: all. Repeatable.")
]
Among = Annotated[
    list[str] | None,
    typer.Option(help="Search among these models only, for example your own. Repeatable; default: all."),
]
Top = Annotated[int, typer.Option(min=1, help="Number of relatives of each model.")]
ProbeHash = Annotated[
    str | None,
    typer.Option(metavar="HASH", help="The probe set, by the start of its hash, where the store has several."),
]
Independent = Annotated[str, typer.Option(help="Tag of the models that are known to be independent: the null.")]
Alpha = Annotated[float, typer.Option(help="Share of unrelated pairs that may lie below the threshold of groups.")]
Graph = Annotated[
    list[Path] | None,
    typer.Option(help="Write the minimum spanning forest: .graphml, .dot, .json or .svg. Repeatable."),
]
Source = Annotated[list[str] | None, typer.Option(help="Root of its tree in the drawing. Repeatable.")]


def relatives(
    folder: Store,
    names: Names = None,
    among: Among = None,
    top: Top = 10,
    metric: Metric = "cosine",
    probe_hash: ProbeHash = None,
    independent: Independent = "independent",
    alpha: Alpha = 0.01,
    graph: Graph = None,
    source: Source = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Nearest relatives of the models of a store with p-values, groups of relatives, and their spanning forest."""
    from ..lineage.graph import save_graph
    from ..lineage.relatives import find_relatives
    from ..store import ModelStore
    from ..store.stored import stored_outputs
    from .render.relatives import show_relatives

    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    _check_graphs(graph or [], force)
    with ModelStore.open(folder, write=False) as store:
        stored = stored_outputs(store, probe_hash, progress=not quiet)
    for option, given in (("--name", names), ("--among", among), ("--source", source)):
        if unknown := sorted(set(given or []) - set(stored.names)):
            raise typer.BadParameter(
                f"must name models with outputs in {str(folder)!r}, got {unknown[0]!r}", param_hint=option
            )
    independents = _independents(stored, independent, alpha, bool(graph))
    found = find_relatives(
        stored.names,
        stored.outputs,
        independents=independents,
        models=names,
        among=among,
        top=top,
        alpha=alpha,
        metric=metric,
        progress=not quiet,
    )
    # Print first, so that a graph that cannot be written does not lose the table.
    show_relatives(found, stored.probe_hash, stored.notes, as_json)
    for path in graph or []:
        save_graph(path, found, sources=source or ())


def _check_graphs(paths: Sequence[Path], force: bool) -> None:
    """Refuse files of another ending, and those that cannot be written."""
    from ..lineage.graph import check_ending

    for path in paths:
        try:
            check_ending(path)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--graph") from None
        check_output_path(path, force, "--graph")


def _independents(stored: StoredOutputs, tag: str, alpha: float, needed: bool) -> list[str]:
    """The models with the tag; as many as a threshold needs, if it is needed."""
    from ..verdict import nulls_needed

    names = [name for name, tags in zip(stored.names, stored.tags, strict=True) if tag in tags]
    pairs, minimum = len(names) * (len(names) - 1) // 2, nulls_needed(alpha)
    if needed and pairs < minimum:
        raise typer.BadParameter(
            f"needs models tagged {tag!r} (zoo.csv, zoo.toml) with at least {minimum} distances between them at "
            f"α = {alpha:g}, got {len(names)} models with {pairs}",
            param_hint="--graph",
        )
    return names
