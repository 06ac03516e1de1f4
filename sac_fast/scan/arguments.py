"""The arguments of a scan: its models, sources and devices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.files import StrPath
from ..io.text import most_repeated
from ..models.entries import list_models
from ..models.entry import ModelEntry
from ..models.listing import Listing
from ..models.manifest import MAX_TEXT, check_lengths
from .jobs import ScanError, WorkerSettings

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint


def _check_different(argument: str, names: Iterable[str]) -> None:
    if repeated := most_repeated(list(names)):
        raise ValueError(f"{argument} must have different names, got {repeated[0]!r} {repeated[1]} times")


def check_sources(sources: Sequence[Fingerprint | str]) -> None:
    """Refuse two sources of the same name, whose distances could not be distinguished."""
    _check_different("sources", (source if isinstance(source, str) else source.name for source in sources))


def check_entries(entries: Sequence[ModelEntry]) -> None:
    """Refuse entries of the same name, and names or tags that a store cannot hold."""
    _check_different("entries", (entry.name for entry in entries))
    last: tuple[str, ...] | None = None  # the entries of a folder have the same tags
    for entry in entries:
        if entry.tags is last and len(entry.name) <= MAX_TEXT:
            continue
        last = entry.tags
        try:
            check_lengths(entry.name, last)
        except ValueError as error:
            raise ValueError(f"entry {entry.name[:80]!r}: {error}") from None


def listing_of(models: Sequence[ModelEntry] | StrPath, manifest: StrPath | None, settings: WorkerSettings) -> Listing:
    """The models of a scan, with absolute paths, and names that differ and that a store can hold.

    Args:
        models, manifest: of `sac_fast.scan_models`.
        settings: of the workers.
    """
    is_below = False  # whether all paths were found below an absolute one
    if isinstance(models, (str, os.PathLike)):
        is_below = os.path.isdir(models) and manifest is None
        source = Path(models).absolute() if os.path.isdir(models) else Path(models)
        defaults = ModelEntry("all", source, table=settings.table)
        listing = list_models(source, manifest=None if manifest is None else Path(manifest), defaults=defaults)
    else:
        listing = Listing(list(models))
    check_entries(listing.entries)
    if is_below:
        return listing
    # A relative path would mean another file to a node of a cluster, and to the next scan.
    return replace(listing, entries=[_absolute(entry) for entry in listing.entries])


def _absolute(entry: ModelEntry) -> ModelEntry:
    if os.path.isabs(entry.path_text) and (entry.root is None or os.path.isabs(entry.root)):
        return entry
    return entry.at(entry.name, entry.path.absolute(), entry.root and entry.root.absolute())


def probe_count(sources: Sequence[Sized]) -> int | None:
    """The number of probes of the sources; None: there are no sources.

    Raises:
        ScanError: their numbers differ.
    """
    counts = {len(source) for source in sources}
    if len(counts) > 1:
        raise ScanError(f"sources must have outputs for the same number of probes, got {sorted(counts)}")
    return counts.pop() if counts else None


def device_list(device: str, workers: int | None) -> list[str]:
    """The device of each worker.

    Args:
        device, workers: as in `sac_fast.scan_models`.

    Raises:
        ValueError: no such device, or no worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    named = [part.strip() for part in device.split(",")]
    kinds = {part.split(":")[0] for part in named}
    if kinds == {"cpu"}:
        return ["cpu"] * (workers or len(os.sched_getaffinity(0)))
    if kinds != {"cuda"}:
        raise ValueError(f'device must be "cpu", "cuda" or GPUs such as "cuda:0,cuda:1", got {device!r}')
    import torch

    count = torch.cuda.device_count()
    gpus = [f"cuda:{number}" for number in range(count)] if named == ["cuda"] else named
    bad = [gpu for gpu in gpus if not gpu[5:].isdecimal() or int(gpu[5:]) >= count]
    if bad or not gpus:
        raise ValueError(f"device must be of the {count} GPUs that torch sees, got {', '.join(bad) or device}")
    return [gpus[number % len(gpus)] for number in range(workers or len(gpus))]
