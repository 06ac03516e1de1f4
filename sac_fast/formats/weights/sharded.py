"""Checkpoints in several files, with an index that says which array lies where."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import ModelRefusedError
from ..identify import identify_open, open_model_file, open_part
from ..json_text import read_json
from ..limits import Limits, refuse

if TYPE_CHECKING:
    from .state_dict import StoredArray

#: How the name of an index ends.
INDEX = ".index.json"
_MAX_FILES = 512


def check_beside(location: Any, name: str) -> str:
    """A file's name as an index gives it: one in the index's own folder.

    Raises:
        ModelRefusedError: it leads out of the folder.
    """
    if not isinstance(location, str) or not location or set(location) & set("/\\\0") or location in (".", ".."):
        refuse("external-data", f"{name} must name files of its own folder, got {str(location)[:200]!r}")
    return location


def shards_of(path: Path, limits: Limits) -> tuple[str, ...]:
    """Names of the files that an index beside them names, sorted; none where it is no index or cannot be read."""
    with contextlib.suppress(ModelRefusedError), open_model_file(path, limits) as handle:
        return tuple(sorted(set(_read_index(handle, repr(str(path)), limits).values())))
    return ()


def _read_index(handle: BinaryIO, name: str, limits: Limits) -> dict[str, str]:
    """The file in which each array lies."""
    said = read_json(handle, name, limits).get("weight_map")
    if not isinstance(said, dict) or not said or not all(isinstance(key, str) for key in said.values()):
        refuse("malformed", f"{name} must map names of arrays to files in weight_map, got another index")
    limits.check_count(name, len(said))
    files = {check_beside(location, name) for location in said.values()}
    if len(files) > _MAX_FILES:
        refuse("too-large", f"{name} must name at most {_MAX_FILES} files, got {len(files):,}")
    return said


def sharded_arrays(
    handle: BinaryIO,
    path: Path,
    name: str,
    limits: Limits,
    resources: contextlib.ExitStack,
    *,
    root: Path | None = None,
    as_data: bool = True,
) -> dict[str, StoredArray]:
    """The arrays of all files that an index names.

    Args:
        handle: the open index, such as ``model.safetensors.index.json``.
        path: where it is; the files lie in the same folder.
        name: what messages call it.
        limits: on each file, and on the number of arrays of all.
        resources: closes the files.
        root: a folder that links may not lead out of; None: anywhere.
        as_data: see `read_pickled`.

    Returns:
        Arrays in the order of the index.

    Raises:
        ModelRefusedError: a file outside of the folder or missing, an array that is not where the index says, or one
            that the index does not name.
    """
    said = _read_index(handle, name, limits)
    found: dict[str, tuple[str, StoredArray]] = {}
    for location in dict.fromkeys(said.values()):
        place = path.parent / location
        message = f"{name} must come with its parts, got no {place.name!r} beside it"
        shard = resources.enter_context(open_part(place, limits, root, "external-data", message))
        for key, array in _arrays(shard, repr(str(place)), limits, as_data).items():
            if said.get(key) != location:
                refuse("malformed", f"{name} must name every array of its files, got {key[:80]!r} in {location!r} too")
            found[key] = (location, array)
    missing = next((key for key in said if key not in found), None)
    if missing is not None:
        refuse("truncated", f"{name} must name arrays that are there, got {missing[:80]!r} in none of its files")
    return {key: found[key][1] for key in said}


def _arrays(handle: BinaryIO, name: str, limits: Limits, as_data: bool) -> dict[str, StoredArray]:
    format = identify_open(handle, name, limits)
    # Indices are read without torch.
    if format == "safetensors":
        from .safetensors_arrays import safetensors_arrays

        return safetensors_arrays(handle, name, limits)[0]
    if format in ("torch", "torch-legacy"):
        from .torch_arrays import torch_arrays

        return torch_arrays(handle, name, limits, as_data=as_data)
    refuse("unknown-format", f"{name} must be safetensors or a checkpoint of torch as a part of another, got {format}")
