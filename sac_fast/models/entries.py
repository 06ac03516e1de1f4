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
from ..formats.weights.sharded import INDEX, shards_of
from ..io.files import STORE_DATABASE
from .entry import ModelEntry
from .folder_walk import walk_folder
from .manifest import MAX_TEXT, is_manifest, read_manifest
from .preprocessing import Preprocessing

# Texts and pictures that lie beside models; everything else is identified by content when it is opened.
_TEXTS = (".md", ".txt", ".rst", ".html", ".json", ".toml", ".yaml", ".yml", ".py", ".ipynb", ".log", ".lock", ".sh")
_NO_MODELS = (*_TEXTS, ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".tmp")
_MODELS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".npy", ".npz", ".csv", ".h5", ".hdf5")
_MANIFESTS = ("zoo.toml", "zoo.csv", "zoo.json")


def list_entries(
    source: Path | str,
    *,
    architecture: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    output: int | str | None = None,
    tags: Sequence[str] = (),
) -> list[ModelEntry]:
    """List models without opening them.

    A folder with a manifest (zoo.toml, zoo.csv, or the zoo.json of a `LabelledZoo`) means what the manifest says.
    Any other folder is searched with its sub-folders; hidden names, texts, pictures and stores are left out,
    folders behind links are not entered. A checkpoint in several files is listed by its index
    (``model.safetensors.index.json``) as one model. What is no regular file but might be taken for a model is listed, to be
    refused by name.

    Args:
        source: a folder, a model file or a manifest.
        architecture, kwargs, preprocessing, output: of entries for which nothing else is said.
        tags: added to those of every entry.

    Returns:
        The entries, sorted by name in folders, in the manifest's order otherwise.

    Raises:
        FileFormatError: a manifest that cannot be read.
        ModelError: there is no such file or folder, or two models have one name.

    Example::

        >>> import os, torch
        >>> os.mkdir("models")
        >>> for name in ("a", "b"):
        ...     _ = sac_fast.save_weights(f"models/{name}.safetensors", torch.nn.Linear(4, 2))
        >>> [entry.name for entry in sac_fast.list_entries("models")]
        ['a.safetensors', 'b.safetensors']
    """
    source = Path(source)
    defaults = ModelEntry("default", source, architecture, kwargs or {}, preprocessing, output, tuple(tags))
    candidates = [source / name for name in _MANIFESTS] if source.is_dir() else [source]
    if manifest := next(filter(is_manifest, candidates), None):
        return _unique(read_manifest(manifest, defaults, asked=manifest == source), source)
    if source.is_dir():
        return _unique(_search(source, defaults), source)
    if not os.path.lexists(source):
        raise ModelError(f"models must be a folder, a file or a manifest, got {str(source)!r}, which does not exist")
    return [_like(defaults, source.name, source, None)]


def _search(root: Path, defaults: ModelEntry) -> list[ModelEntry]:
    found: list[Path] = []
    for here, folders, files in walk_folder(root, found):
        if STORE_DATABASE in files:  # holds outputs, not models: a scan with its store in here would scan itself
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # A folder with a model's name was meant as one, and a link to a folder is not entered: both are listed.
        found += [here / n for n in folders if os.path.islink(here / n) or Path(n).suffix.lower() in _MODELS]
        listed = [n for n in files if not n.startswith(".") and Path(n).suffix.lower() not in _NO_MODELS]
        found += [here / n for n in _with_indexes(here, listed, files)]
    entries = (_like(defaults, path.relative_to(root).as_posix(), path, root) for path in found)
    return sorted(entries, key=lambda entry: entry.name)


def _with_indexes(folder: Path, listed: list[str], files: list[str]) -> list[str]:
    """Checkpoints in several files by their index, which is one model, in the place of its parts."""
    indexes = {n: shards_of(folder / n, Limits()) for n in files if n.endswith(INDEX) and not n.startswith(".")}
    parts = {part for parts in indexes.values() for part in parts}
    return [n for n in listed if n not in parts] + [n for n, parts in indexes.items() if parts]


def _like(defaults: ModelEntry, name: str, path: Path, root: Path | None) -> ModelEntry:
    raw, shown = os.fsencode(name), name
    if raw != name.encode("utf-8", "replace"):
        # Undecodable bytes in a file's name could not be written to a store. No path that was listed begins with "./",
        # so that no other file has the name that is shown instead.
        shown = "./" + raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    if len(shown) > MAX_TEXT:  # longer than any path that can be opened: refused by this name, but not stored by it
        shown = f"./{shown[:1000]}…{hashlib.sha256(raw).hexdigest()}"
    return dataclasses.replace(defaults, name=shown, path=path, root=root)


def _unique(entries: list[ModelEntry], source: Path) -> list[ModelEntry]:
    counts = Counter(entry.name for entry in entries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ModelError(f"models of {str(source)!r} must have different names, got {twice[0]!r} twice")
    return entries
