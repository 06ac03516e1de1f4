"""`sac-fast relatives`: the nearest relatives of the models of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .checks import check_output_path, refuse_if, usage_errors
from .option_groups import expand_option_groups
from .options import Alpha, Metric, PrintOptions

if TYPE_CHECKING:
    from ..store.stored import StoredOutputs


@dataclass(frozen=True)
class SearchOptions:
    """Whose relatives are searched, among which models, and how."""

    names: Annotated[
        list[str] | None, Option("--name", help="Model whose relatives are wanted; default: all. Repeatable.")
    ] = None
    among: Annotated[
        list[str] | None, Option(help="Search among these models only, for example your own. Repeatable; default: all.")
    ] = None
    top: Annotated[int, Option(min=1, help="Number of relatives of each model.")] = 10
    metric: Metric = "cosine"
    probe_hash: Annotated[
        str | None, Option(metavar="HASH", help="The probe set, by the start of its hash, where the store has several.")
    ] = None
    independent: Annotated[str, Option(help="Tag of the models that are known to be independent: the null.")] = (
        "independent"
    )
    alpha: Alpha = 0.01


@dataclass(frozen=True)
class GraphOptions:
    """The drawing of the forest."""

    graph: Annotated[
        list[Path] | None, Option(help="Write the minimum spanning forest: .graphml, .dot, .json or .svg. Repeatable.")
    ] = None
    source: Annotated[list[str] | None, Option(help="Root of its tree in the drawing. Repeatable.")] = None


@expand_option_groups
def relatives(
    *,
    folder: Annotated[
        Path,
        Argument(
            metavar="STORE", exists=True, file_okay=False, help="Folder of the store, as `sac-fast scan` writes it."
        ),
    ],
    search: SearchOptions,
    drawing: GraphOptions,
    prints: PrintOptions,
) -> None:
    """Nearest relatives of the models of a store with p-values, groups of relatives, and their spanning forest.

    In groups, --alpha is the share of unrelated pairs that may lie below the threshold.
    """
    from ..lineage.graph import save_graph
    from ..lineage.relatives import find_relatives
    from ..store import ModelStore
    from ..store.stored import stored_outputs
    from .render.relatives import show_relatives

    graphs = drawing.graph or []
    _check_graphs(graphs, prints.force)
    with ModelStore.open(folder, write=False) as store:
        stored = stored_outputs(store, search.probe_hash, progress=not prints.quiet)
    for option, given in (("--name", search.names), ("--among", search.among), ("--source", drawing.source)):
        if unknown := sorted(set(given or []) - set(stored.names)):
            raise typer.BadParameter(
                f"must name models with outputs in {str(folder)!r}, got {unknown[0]!r}", param_hint=option
            )
    found = find_relatives(
        stored.names,
        stored.outputs,
        independents=_independents(stored, search, bool(graphs)),
        models=search.names,
        among=search.among,
        top=search.top,
        alpha=search.alpha,
        metric=search.metric,
        progress=not prints.quiet,
    )
    # Print first, so that a graph that cannot be written does not lose the table.
    show_relatives(found, stored.probe_hash, stored.notes, prints.as_json)
    for path in graphs:
        save_graph(path, found, sources=drawing.source or ())


def _check_graphs(paths: Sequence[Path], force: bool) -> None:
    """Refuse files of another ending, and those that cannot be written."""
    from ..lineage.graph import check_ending

    for path in paths:
        with usage_errors("--graph"):
            check_ending(path)
        check_output_path(path, force, "--graph")


def _independents(stored: StoredOutputs, search: SearchOptions, has_graph: bool) -> list[str]:
    """The models with the tag; a graph needs as many as a threshold does."""
    from ..verdict import nulls_needed

    names = [name for name, tags in zip(stored.names, stored.tags, strict=True) if search.independent in tags]
    pairs, minimum = len(names) * (len(names) - 1) // 2, nulls_needed(search.alpha)
    refuse_if(
        has_graph and pairs < minimum,
        "--graph",
        f"needs models tagged {search.independent!r} (zoo.csv, zoo.toml) with at least {minimum} distances between "
        f"them at α = {search.alpha:g}, got {len(names)} models with {pairs}",
    )
    return names
