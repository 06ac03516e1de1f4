"""`sac-fast relatives`: who descends from whom in a zoo store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Force, Json, Metric, Quiet, free


def relatives(
    zoo: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Zoo store, as `sac-fast scan` makes it.")],
    model: Annotated[list[str] | None, typer.Option(help="Whose relatives; default: everyone's. Repeatable.")] = None,
    among: Annotated[
        list[str] | None,
        typer.Option(help="Look for relatives among these models only, say your own ones. Repeatable; default: all."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many relatives of each.")] = 10,
    metric: Metric = "cosine",
    probes: Annotated[
        str | None, typer.Option(help="Hash of the probe set, or its first digits, where the store has several.")
    ] = None,
    independent: Annotated[
        str, typer.Option(help="Tag of the models that are known to be independent: the null.")
    ] = "independent",
    alpha: Annotated[
        float, typer.Option(help="Share of unrelated pairs that may be taken for related in groups.")
    ] = 0.01,
    graph: Annotated[
        list[Path] | None,
        typer.Option(help="Write the minimum spanning forest: .graphml, .dot, .json or .svg. Repeatable."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Root of its tree in the drawing. Repeatable.")] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Nearest relatives of the models of a zoo with p-values, groups of relatives, and the forest that joins them."""
    from ..lineage.graph import check_ending, save_graph
    from ..lineage.relatives import find_relatives
    from ..store import ModelStore
    from ..store.stored import stored_outputs
    from ..verdict import nulls_needed
    from .render.relatives import show_relatives

    if not 0 < alpha < 1:
        raise typer.BadParameter(f"must be between 0 and 1, got {alpha}", param_hint="--alpha")
    for path in graph or []:
        try:
            check_ending(path)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--graph") from None
        free(path, force, "--graph")
    with ModelStore.open(zoo, write=False) as store:
        stored = stored_outputs(store, probes, progress=not quiet)
    for option, given in (("--model", model), ("--among", among), ("--source", source)):
        if strangers := sorted(set(given or []) - set(stored.names)):
            raise typer.BadParameter(
                f"must name models with outputs in {str(zoo)!r}, got {strangers[0]!r}", param_hint=option
            )
    independents = [name for name, tags in zip(stored.names, stored.tags, strict=True) if independent in tags]
    pairs, needed = len(independents) * (len(independents) - 1) // 2, nulls_needed(alpha)
    if graph and pairs < needed:
        raise typer.BadParameter(
            f"needs models tagged {independent!r} (zoo.csv, zoo.toml) with at least {needed} distances between them at "
            f"α = {alpha:g}, got {len(independents)} models with {pairs}",
            param_hint="--graph",
        )
    found = find_relatives(
        stored.names,
        stored.outputs,
        independents=independents,
        models=model,
        among=among,
        top=top,
        alpha=alpha,
        metric=metric,
        progress=not quiet,
    )
    # The table first: it shall not be lost for a drawing that cannot be written.
    show_relatives(found, stored.probe_hash, stored.notes, as_json)
    for path in graph or []:
        save_graph(path, found, sources=source or ())
