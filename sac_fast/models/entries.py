"""The models of a folder, a file or a manifest, before any of them is opened."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..formats.limits import Limits
from ..formats.table_format import TableFormat
from ..formats.weights.sharded import INDEX, shards_of
from ..io.files import STORE_DATABASE, is_store
from ..io.text import most_repeated
from .claims import read_claims
from .entry import ModelEntry
from .folder_content import STORE_FILES, STORE_FOLDERS, describe_content, is_named_as_model, is_of_store
from .folder_walk import walk_folder
from .listing import Listing, PassedOver
from .manifest import MAX_TEXT, is_manifest, read_manifest
from .preprocessing import Preprocessing

_MODELS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".npy", ".npz", ".csv", ".h5", ".hdf5")
_MANIFESTS = ("zoo.toml", "zoo.csv", "zoo.json")


def list_entries(
    source: Path | str,
    *,
    manifest: Path | str | None = None,
    architecture: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    output: int | str | None = None,
    tags: Sequence[str] = (),
    table: TableFormat | None = None,
) -> list[ModelEntry]:
    """List models without opening them.

    A folder is searched with its sub-folders; folders behind links are not entered. What is no model by its content
    is left out, whatever it is called; a checkpoint in several files is one model, listed by its index
    (``model.safetensors.index.json``); what is no regular file but might be taken for a model is listed, to be refused
    by name. A manifest (zoo.toml, zoo.csv, or the zoo.json of a `LabelledZoo`) that lies in the folder is not believed:
    what it says becomes `ModelEntry.claims`. Name it, as ``source`` or ``manifest``, to take its names, architectures,
    preprocessing, outputs and tags.

    Args:
        source: a folder, a model file or a manifest, which lists its own models only.
        manifest: of a folder: what it says of models is believed; the other models of the folder are listed too.
        architecture, kwargs, preprocessing, output, table: of entries for which nothing else is said.
        tags: added to those of every entry.

    Returns:
        The entries, sorted by name in folders, in the manifest's order otherwise.

    Raises:
        FileFormatError: a named manifest that cannot be read.
        ModelError: there is no such file or folder, or two models have one name.

    Example::

        >>> import os, torch
        >>> os.mkdir("models")
        >>> for name in ("a", "b"):
        ...     _ = sac_fast.save_weights(f"models/{name}.safetensors", torch.nn.Linear(4, 2))
        >>> [entry.name for entry in sac_fast.list_entries("models")]
        ['a.safetensors', 'b.safetensors']
    """
    defaults = ModelEntry("default", Path(source), architecture, kwargs or {}, preprocessing, output, tuple(tags))
    defaults = dataclasses.replace(defaults, table=table or TableFormat())
    return list_models(source, manifest=manifest, defaults=defaults).entries


def list_models(
    source: Path | str, *, manifest: Path | str | None = None, defaults: ModelEntry | None = None
) -> Listing:
    """`list_entries`, and what was passed over.

    Args:
        source, manifest: as there.
        defaults: of entries for which nothing else is said; its tags are added to those of every entry.
    """
    source = Path(source)
    defaults = defaults or ModelEntry("default", source)
    if source.is_dir():
        listing = _list_folder(source, defaults)
        if manifest is None:
            return listing
        believed, rest, listing = _believe(Path(manifest), listing, defaults)
        return dataclasses.replace(listing, entries=_unique([*believed, *rest], source))
    if manifest is not None:
        raise ModelError(f"manifest must come with a folder, got it with {str(source)!r}")
    if not os.path.lexists(source):
        raise ModelError(f"models must be a folder, a file or a manifest, got {str(source)!r}, which does not exist")
    if not is_manifest(source):
        return Listing([_like(defaults, source.name, source, None)])
    believed, rest, listing = _believe(source, _list_folder(source.parent, defaults), defaults)
    others = [PassedOver(entry.name, "not in the manifest") for entry in rest]
    return dataclasses.replace(listing, entries=believed, passed_over=[*others, *listing.passed_over])


def _list_folder(root: Path, defaults: ModelEntry) -> Listing:
    """All models of a folder, with the claims of the manifest that lies in it."""
    manifests = list(filter(is_manifest, (root / name for name in _MANIFESTS)))
    manifest = next(iter(manifests), None)
    entries, passed_over = _search(root, defaults, manifests)
    claimed, problem = ({}, "") if manifest is None else read_claims(manifest)
    if claimed:
        entries = [dataclasses.replace(entry, claims=claimed.pop(entry.path, {})) for entry in entries]
    passed_over += [PassedOver(path.relative_to(root).as_posix(), "named by a manifest, not there") for path in claimed]
    return Listing(_unique(entries, root), passed_over, manifest, problem)


def _believe(
    manifest: Path, listing: Listing, defaults: ModelEntry
) -> tuple[list[ModelEntry], list[ModelEntry], Listing]:
    """The models of a manifest that the user has named, the others of the folder's listing, and what else that has."""
    believed = _unique(read_manifest(manifest, defaults), manifest)
    paths = {os.path.abspath(entry.path) for entry in believed}
    names = {entry.name for entry in believed}
    rest = [entry for entry in listing.entries if os.path.abspath(entry.path) not in paths]
    # No path that was listed begins with "./": a name that the manifest has given is not lost to another file.
    rest = [dataclasses.replace(e, name=f"./{e.name}") if e.name in names else e for e in rest]
    other = listing.unbelieved
    if other is not None and os.path.abspath(other) == os.path.abspath(manifest):
        listing = dataclasses.replace(listing, unbelieved=None, problem="")
    return believed, rest, listing


def _search(root: Path, defaults: ModelEntry, manifests: Sequence[Path]) -> tuple[list[ModelEntry], list[PassedOver]]:
    found: list[ModelEntry] = []
    passed: list[PassedOver] = []
    stores: dict[Path, Path] = {}  # folders of a store's own files, and where it is
    outputs: Counter[Path] = Counter()
    unlisted: list[Path] = []
    links: set[Path] = set()
    may_repeat = os.path.basename(os.path.realpath(root)) == "blobs"
    for here, folders, files in walk_folder(root, unlisted, links):
        may_repeat |= here.name == "blobs"  # no folder behind a link is entered
        store = here if STORE_DATABASE in files and is_store(here) else stores.get(here)
        if store is not None:
            stores |= {here / name: store for name in folders if here != store or name in STORE_FOLDERS}
        for name in folders:
            is_link = os.path.islink(here / name)  # False for paths that are too long
            # A folder with a model's name was meant as one, and a link to a folder is not entered: both are listed.
            if is_link and name.startswith("."):
                passed.append(PassedOver((here / name).relative_to(root).as_posix(), "a link to a folder"))
            elif is_link or (Path(name).suffix.lower() in _MODELS and not name.startswith(".")):
                found.append(_like(defaults, (here / name).relative_to(root).as_posix(), here / name, root))
        parts = {part for name in files if name.endswith(INDEX) for part in shards_of(here / name, Limits())}
        below = "" if here == root else f"{here.relative_to(root).as_posix()}/"
        before = os.fspath(here / "x")[:-1]  # a path for each of very many files would take most of the time
        others = parts | {path.name for path in manifests if path.parent == here}
        for name in files:
            inside = below + name
            if store is None and name not in others and is_named_as_model(inside):
                found.append(_like(defaults, inside, before + name, root))
                continue
            path = here / name
            if name in parts:
                passed.append(PassedOver(inside, "a part of a checkpoint in several files"))
                continue
            if store is not None and is_of_store(path, store):
                outputs[store] += 1
                continue
            is_plain = store is None or (here == store and name not in STORE_FILES)
            what = None
            if (manifests and path in manifests) or not (is_plain and is_named_as_model(inside)):
                what = describe_content(path, root)
            if what is None:
                found.append(_like(defaults, inside, path, root))
            else:
                passed.append(PassedOver(inside, "a manifest" if path in manifests else what))
    found += [_like(defaults, path.relative_to(root).as_posix(), path, root) for path in unlisted]
    passed += [PassedOver(path.relative_to(root).as_posix(), "of a store", count) for path, count in outputs.items()]
    found.sort(key=lambda entry: entry.name)
    found, again = _one_of_each_blob(found) if may_repeat or links else (found, [])
    return found, sorted([*passed, *again], key=lambda one: one.name)


def _one_of_each_blob(entries: list[ModelEntry]) -> tuple[list[ModelEntry], list[PassedOver]]:
    """One entry for each file of the folder ``blobs`` of a model hub, by its name in the first snapshot."""
    of_blob: dict[str, list[ModelEntry]] = {}
    for entry in entries:
        real = os.path.realpath(entry.path)
        if os.path.basename(os.path.dirname(real)) == "blobs":
            of_blob.setdefault(real, []).append(entry)
    again: dict[str, PassedOver] = {}
    for real, same in of_blob.items():
        first = next((entry for entry in same if os.path.abspath(entry.path) != real), same[0])
        again |= {e.name: PassedOver(e.name, "another name of a model") for e in same if e is not first}
    return [entry for entry in entries if entry.name not in again], list(again.values())


def _like(defaults: ModelEntry, name: str, path: Path | str, root: Path | None) -> ModelEntry:
    if name.isascii() and len(name) <= MAX_TEXT:
        return defaults.at(name, path, root)
    raw, shown = os.fsencode(name), name
    if raw != name.encode("utf-8", "replace"):
        # Undecodable bytes in a file's name could not be written to a store. No path that was listed begins with "./",
        # so that no other file has the name that is shown instead.
        shown = "./" + raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    if len(shown) > MAX_TEXT:  # longer than any path that can be opened: refused by this name, but not stored by it
        shown = f"./{shown[:1000]}…{hashlib.sha256(raw).hexdigest()}"
    return defaults.at(shown, path, root)


def _unique(entries: list[ModelEntry], source: Path) -> list[ModelEntry]:
    if repeated := most_repeated([entry.name for entry in entries]):
        raise ModelError(f"models of {str(source)!r} must have different names, got {repeated[0]!r} twice")
    return entries
