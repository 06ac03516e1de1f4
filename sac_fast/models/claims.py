"""What a manifest that lies in a scanned folder says of the models: to be shown to the user, and not believed.

Whoever has put the models there may have put it there, to have them taken for independents, run on other pixels, or
built by code of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, describe_error
from ..formats.table_format import TableFormat
from .entry import ModelEntry
from .manifest import read_manifest

_MAX_PROBLEM = 1000  # characters


def read_claims(manifest: Path) -> tuple[dict[Path, dict[str, Any]], str]:
    """What a manifest says of each file, and why it cannot be read; one of them is empty.

    Args:
        manifest: in a folder that the user has named, unlike it.

    Returns:
        For each path: name, architecture, kwargs, preprocessing, output, table and tags, those that are stated and as
        JSON has them; several models of one file have their claims in a list under ``"more"``.
    """
    try:
        entries = read_manifest(manifest, ModelEntry("default", manifest), asked=False)
    except FileFormatError as error:
        return {}, str(error)[:_MAX_PROBLEM]
    found: dict[Path, dict[str, Any]] = {}
    for entry in entries:
        claims = _stated(entry, manifest.parent)
        if entry.path in found:
            found[entry.path].setdefault("more", []).append(claims)
        else:
            found[entry.path] = claims
    return found, ""


def _stated(entry: ModelEntry, folder: Path) -> dict[str, Any]:
    preprocessing = None if entry.preprocessing is None else entry.preprocessing.to_dict()
    name = None if entry.name == entry.path.relative_to(folder).as_posix() else entry.name
    values: dict[str, Any] = {"name": name, "architecture": entry.architecture, "kwargs": dict(entry.kwargs)}
    values |= {"preprocessing": preprocessing, "output": entry.output, "tags": list(entry.tags)}
    values["table"] = None if entry.table == TableFormat() else entry.table.to_dict()
    stated = {key: value for key, value in values.items() if value not in (None, {}, [])}
    # Dates of TOML become texts, and NaN, which JSON has no word for.
    try:
        plain: dict[str, Any] = json.loads(json.dumps(stated, default=str), parse_constant=str)
    except (ValueError, RecursionError) as error:
        return {"problem": describe_error(error)}
    return plain
