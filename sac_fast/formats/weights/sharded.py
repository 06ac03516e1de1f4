"""Checkpoints in several files, with an index that says which array lies where."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, BinaryIO

from ..identify import identify_open, open_model_file
from ..json_text import read_json
from ..limits import Limits, refuse
from .safetensors_arrays import safetensors_arrays
from .state_dict import StoredArray
from .torch_arrays import torch_arrays

_MAX_FILES = 512


def check_beside(location: Any, name: str) -> str:
    """A file's name as an index gives it: one in the index's own folder.

    Raises:
        ModelRefusedError: it leads out of the folder.
    """
    if not isinstance(location, str) or not location or set(location) & set("/\\\0") or location in (".", ".."):
        refuse("external-data", f"{name} must name files of its own folder, got {str(location)[:200]!r}")
    return location


def sharded_arrays(
    handle: BinaryIO, path: Path, name: str, limits: Limits, resources: contextlib.ExitStack
) -> dict[str, StoredArray]:
    """The arrays of all files that an index names.

    Args:
        handle: the open index, such as ``model.safetensors.index.json``.
        path: where it is; the files lie in the same folder.
        name: what messages call it.
        limits: on each file, and on the number of arrays of all.
        resources: closes the files.

    Returns:
        Arrays in the order of the index.

    Raises:
        ModelRefusedError: a file outside of the folder or missing, an array that is not where the index says, or one
            that the index does not name.
    """
    said = read_json(handle, name, limits).get("weight_map")
    if not isinstance(said, dict) or not said or not all(isinstance(key, str) for key in said.values()):
        refuse("malformed", f"{name} must map names of arrays to files in weight_map, got another index")
    limits.check_count(name, len(said))
    files = dict.fromkeys(said.values())
    if len(files) > _MAX_FILES:
        refuse("too-large", f"{name} must name at most {_MAX_FILES} files, got {len(files):,}")
    found: dict[str, tuple[str, StoredArray]] = {}
    for location in files:
        place = path.parent / check_beside(location, name)
        shard = resources.enter_context(open_model_file(place, limits))
        for key, array in _arrays(shard, repr(str(place)), limits).items():
            if said.get(key) != location:
                refuse("malformed", f"{name} must name every array of its files, got {key[:80]!r} in {location!r} too")
            found[key] = (location, array)
    missing = next((key for key in said if key not in found), None)
    if missing is not None:
        refuse("truncated", f"{name} must name arrays that are there, got {missing[:80]!r} in none of its files")
    return {key: found[key][1] for key in said}


def _arrays(handle: BinaryIO, name: str, limits: Limits) -> dict[str, StoredArray]:
    format = identify_open(handle, name, limits)
    if format == "safetensors":
        return safetensors_arrays(handle, name, limits)[0]
    if format in ("torch", "torch-legacy"):
        return torch_arrays(handle, name, limits)
    refuse("unknown-format", f"{name} must be safetensors or a checkpoint of torch as a part of another, got {format}")
