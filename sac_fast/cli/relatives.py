"""`sac-fast relatives`: the nearest relatives of the models of a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .checks import check_output_path, parse_moment, refuse_if, usage_errors
from .option_groups import expand_option_groups
from .options import Alpha, Metric, PrintOptions

if TYPE_CHECKING:
    from torch import Tensor

    from ..fingerprint import Fingerprint
    from ..lineage.result import Lineage
    from ..store import ModelStore
    from ..store.records import FileStamp, ModelRecord
    from ..store.stored import StoredOutputs


@dataclass(frozen=True)
class SearchOptions:
    """Whose relatives are searched, among which models, and how."""

    names: Annotated[
        list[str] | None, Option("--name", help="Model whose relatives are wanted; default: all. Repeatable.")
    ] = None
    since: Annotated[
        str | None,
        Option(metavar="TIME", help="Only models that were scanned then or later: 2026-01-31, 2026-01-31T12:00 (UTC)."),
    ] = None
    among: Annotated[
        list[str] | None, Option(help="Search among these models only, for example your own. Repeatable; default: all.")
    ] = None
    top: Annotated[int, Option(min=1, help="Number of relatives of each model.")] = 10
    metric: Metric = "cosine"
    probe_hash: Annotated[
        str | None, Option(metavar="HASH", help="The probe set, by the start of its hash, where the store has several.")
    ] = None
    alpha: Alpha = 0.01

    def wanted(self, store: ModelStore, probe_hash: str) -> list[str] | None:
        """The models whose relatives are wanted; None: all."""
        refuse_if(self.since is not None and bool(self.names), "--since", "does not go with --name")
        if self.since is None:
            return self.names
        names = store.names_since(parse_moment(self.since, "--since"), probe_hash)
        if not names:
            typer.echo(f"no models with outputs were scanned since {self.since}")
            raise typer.Exit
        return names


@dataclass(frozen=True)
class RelativesEvidence:
    """What speaks for a relation."""

    independent: Annotated[
        str,
        Option(help="Tag of the models that are known to be independent: the null. Their kind is a tag too."),
    ] = "independent"
    siblings: Annotated[
        Path | None,
        Option(exists=True, file_okay=False, help="Siblings of --source; default: the models tagged 'sibling'."),
    ] = None
    source: Annotated[
        list[str] | None,
        Option(help="Your model: the siblings' source, and root of its tree in the drawing. Repeatable there."),
    ] = None
    no_weights: Annotated[bool, Option("--no-weights", help="Do not compare the files of near pairs.")] = False
    max_weights: Annotated[int, Option(min=1, help="Largest number of pairs whose files are compared.")] = 50
    all_weights: Annotated[
        bool,
        Option("--all-weights", help="Compare the files of all pairs by their sketches, which the store keeps."),
    ] = False

    def check(self) -> None:
        """Refuse options that contradict each other."""
        refuse_if(self.all_weights and self.no_weights, "--all-weights", "does not go with --no-weights")

    def collect(self, stored: StoredOutputs, folder: Path, progress: bool) -> dict[str, Any]:
        """The evidence, as `find_relatives` takes it."""
        from ..lineage.store_weights import search_store_weights
        from ..models.kinds import KINDS

        independents = {
            record.name: next((tag for tag in record.tags if tag in KINDS), None)
            for record in stored.records
            if self.independent in record.tags
        }
        # The hash of recorded answers is none of weights: good models may give the same labels.
        hashes = {one.name: one.model_hash for one in stored.records if one.model_hash and one.preprocessing_hash}
        found: dict[str, Any] = {"independents": independents, "hashes": hashes}
        if not self.no_weights:
            found |= {"files": weights_files(stored.records), "max_weights": self.max_weights}
        if self.all_weights:
            found["searched"] = search_store_weights(folder, found["files"], progress=progress)
        return found | self._siblings(stored)

    def _siblings(self, stored: StoredOutputs) -> dict[str, Any]:
        """The source and its siblings; nothing where there are none."""
        from ..fingerprint import Fingerprint
        from .fingerprint_files import load_siblings

        sources = self.source or [record.name for record in stored.records if "source" in record.tags]
        tagged = [row for row, record in enumerate(stored.records) if "sibling" in record.tags]
        wrong = f"needs --source once, with the name of its source in the store, got {len(sources)} sources"
        refuse_if(self.siblings is not None and len(sources) != 1, "--siblings", wrong)
        if len(sources) != 1 or (self.siblings is None and not tagged):
            return {}
        row = stored.names.index(sources[0])
        about = {"name": sources[0], "probe_hash": stored.probe_hash, "model_hash": stored.records[row].model_hash}
        siblings: list[Fingerprint | Tensor]
        if self.siblings is not None:
            siblings = [*load_siblings(self.siblings, Fingerprint(stored.outputs[row], about))]
        else:
            siblings = [stored.outputs[row] for row in tagged]
        return {"source": sources[0], "siblings": siblings}


@dataclass(frozen=True)
class GraphOptions:
    """The drawing of the forest."""

    graph: Annotated[
        list[Path] | None, Option(help="Write the spanning forest: .graphml, .dot, .json or .svg. Repeatable.")
    ] = None


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
    evidence: RelativesEvidence,
    drawing: GraphOptions,
    prints: PrintOptions,
) -> None:
    """Nearest relatives of the models of a store and what speaks for each, groups, and their spanning forest.

    Weights of near pairs are compared where the files are there, the row of --source with its siblings, and p-values
    are by independents; without any of these it is a ranking. In groups by distance, --alpha is the share of unrelated
    pairs that may lie below the threshold.
    """
    from ..store import ModelStore
    from .render.relatives import show_relatives

    evidence.check()
    graphs = drawing.graph or []
    with ModelStore.open(folder, write=False) as store:
        probe_hash = store.complete_probe_hash(search.probe_hash or "", "done")
        wanted = search.wanted(store, probe_hash)
        if (
            not graphs
            and (ranked := _rank_from_vectors(store, probe_hash, wanted, search, evidence, prints)) is not None
        ):
            show_relatives(ranked, probe_hash, (), prints.as_json)
            return
    from ..lineage.graph import save_graph
    from ..lineage.relatives import find_relatives
    from ..store.stored import stored_outputs

    _check_graphs(graphs, prints.force)
    with ModelStore.open(folder, write=False) as store:
        stored = stored_outputs(store, probe_hash, progress=not prints.quiet)
    for option, given in (("--name", wanted), ("--among", search.among), ("--source", evidence.source)):
        if unknown := sorted(set(given or []) - set(stored.names)):
            raise typer.BadParameter(
                f"must name models with outputs in {str(folder)!r}, got {unknown[0]!r}", param_hint=option
            )
    collected = evidence.collect(stored, folder, not prints.quiet)
    if graphs and not collected.get("files") and "siblings" not in collected:
        _check_enough(stored, evidence.independent, search.alpha)
    found = find_relatives(
        stored.names,
        stored.outputs,
        models=wanted,
        among=search.among,
        top=search.top,
        alpha=search.alpha,
        metric=search.metric,
        progress=not prints.quiet,
        **collected,
    )
    # Print first, so that a graph that cannot be written does not lose the table.
    show_relatives(found, stored.probe_hash, stored.notes, prints.as_json)
    for path in graphs:
        save_graph(path, found, sources=evidence.source or ())


def _rank_from_vectors(
    store: ModelStore,
    probe_hash: str,
    names: list[str] | None,
    search: SearchOptions,
    evidence: RelativesEvidence,
    prints: PrintOptions,
) -> Lineage | None:
    """A ranking by the store's packed vectors; None: there is more to be said."""
    from ..lineage.ranked import rank_from_vectors

    if search.among or search.metric != "cosine" or evidence.source or evidence.siblings is not None:
        return None
    tags = (evidence.independent, "source", "sibling")
    return rank_from_vectors(
        store, probe_hash, names, search.top, tags, with_files=not evidence.no_weights, progress=not prints.quiet
    )


def _check_graphs(paths: Sequence[Path], force: bool) -> None:
    """Refuse files of another ending, and those that cannot be written."""
    from ..lineage.graph import check_ending

    for path in paths:
        with usage_errors("--graph"):
            check_ending(path)
        check_output_path(path, force, "--graph")


def weights_files(records: Iterable[ModelRecord]) -> dict[str, FileStamp | str]:
    """The files of weights, by model; recorded answers are none."""
    return {record.name: record.file or record.path for record in records if record.preprocessing_hash}


def _check_enough(stored: StoredOutputs, tag: str, alpha: float) -> None:
    """Refuse a graph where nothing but distances can relate models, and there are too few for a threshold."""
    from ..verdict import nulls_needed

    count = sum(tag in record.tags for record in stored.records)
    pairs, minimum = count * (count - 1) // 2, nulls_needed(alpha)
    refuse_if(
        pairs < minimum,
        "--graph",
        f"needs models tagged {tag!r} (zoo.csv, zoo.toml) with at least {minimum} distances between "
        f"them at α = {alpha:g}, got {count} models with {pairs}",
    )
