"""The files of weights in a folder."""

from __future__ import annotations

import re
from pathlib import Path

from ..formats.identify import open_model_file
from ..formats.limits import Limits
from ..io.files import StrPath
from ..models import list_entries

_INDEX = re.compile(r".*\.(safetensors|bin)\.index\.json")
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.(safetensors|bin)")


def list_weights(folder: StrPath) -> dict[str, Path]:
    """Files below a folder that may hold weights, by name; shards of one model are listed as their index.

    Args:
        folder: searched with its sub-folders, as `sac_fast.list_entries` does.

    Returns:
        Paths by their names below the folder, sorted.

    Raises:
        ModelError: there is no such folder.
    """
    folder = Path(folder)
    found = {entry.name: Path(entry.path) for entry in list_entries(folder)}
    indexed = {path.parent for path in found.values() if _SHARD.fullmatch(path.name)}
    for place in indexed:
        for index in place.iterdir():
            if _INDEX.fullmatch(index.name):
                found[index.relative_to(folder).as_posix()] = index
    sharded = {path.parent for path in found.values() if _INDEX.fullmatch(path.name)}
    return {
        name: path
        for name, path in sorted(found.items())
        if not (_SHARD.fullmatch(path.name) and path.parent in sharded)
    }


def check_inside(path: StrPath, folder: StrPath) -> None:
    """Refuse what is no regular file, and a link out of the folder.

    Raises:
        ModelRefusedError: with the reason.
    """
    open_model_file(path, Limits(), root=Path(folder)).close()
