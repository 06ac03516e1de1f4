"""Manifests: which files are models, and how each is built and run.

zoo.toml::

    [defaults]                       # of every model; all keys may be left out
    architecture = "package.module:callable"
    kwargs = { classes = 10 }
    preprocessing = { mean = [0.5], std = [0.25] }
    output = "logits"
    tags = ["independent"]

    [[models]]
    path = "a/weights.safetensors"   # relative to the manifest, inside its folder
    name = "a"                       # default: the path

zoo.csv has the columns path, name, architecture, kwargs (JSON), preprocessing (JSON), output, tags (with spaces
between them), of which only path is needed. zoo.json is that of a `LabelledZoo`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FileFormatError
from ..io.files import open_regular, read_regular
from .entry import ModelEntry
from .preprocessing import Preprocessing

MAX_BYTES = 64 << 20
#: Longest name, path, architecture or output, in characters, and longest tags together: what a store holds.
MAX_TEXT = 4096
MAX_TAGS = 1 << 15
_KEYS = ("path", "name", "architecture", "kwargs", "preprocessing", "output", "tags")
_LABELLED = "sac_fast labelled zoo"


def is_manifest(path: Path) -> bool:
    """Whether a file has a manifest's name, and is a zoo.json of ours or a zoo.csv with a path column."""
    if not path.is_file():
        return False
    if path.suffix == ".toml":
        return True
    if path.name == "zoo.json":
        with open_regular(path) as handle:
            return _LABELLED.encode() in handle.read(4096)
    if path.suffix == ".csv":
        with open_regular(path) as handle:
            head = handle.read(4096).removeprefix(b"\xef\xbb\xbf").split(b"\n")[0]
        return b"path" in [cell.strip(b' "\r') for cell in head.split(b",")]
    return False


def read_manifest(path: Path, defaults: ModelEntry) -> list[ModelEntry]:
    """Read zoo.toml, zoo.csv or the zoo.json of a labelled zoo.

    Args:
        path: the manifest.
        defaults: what holds where the manifest is silent; its tags are added everywhere.

    Returns:
        The entries in the manifest's order; their files may be missing.

    Raises:
        FileFormatError: not such a manifest; the message names the model.
    """
    raw = read_regular(path, MAX_BYTES)
    reader = {".toml": _toml, ".csv": _csv, ".json": _labelled}[path.suffix]
    try:
        rows = reader(raw.decode("utf-8-sig"), defaults)
    except FileFormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise FileFormatError(
            f"{str(path)!r} must be a manifest of models, got {type(error).__name__}: {error}"
        ) from error
    entries = []
    for number, row in enumerate(rows, 1):
        try:
            entries.append(_entry(row, path.parent, defaults))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileFormatError(f"model {number} of {str(path)!r}: {error}") from error
    return entries


def _toml(text: str, defaults: ModelEntry) -> list[dict[str, Any]]:
    content = tomllib.loads(text)
    if unknown := sorted(set(content) - {"defaults", "models"}):
        raise ValueError(f"tables must be [defaults] and [[models]], got {unknown}")
    shared = dict(content.get("defaults", {}))
    if wrong := sorted(set(shared) & {"path", "name"}):
        raise ValueError(f"[defaults] must not hold {wrong[0]}")
    return [{**shared, **dict(model)} for model in content["models"]]


def _csv(text: str, defaults: ModelEntry) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    rows = []
    for raw in reader:
        if None in raw or None in raw.values():
            raise ValueError(f"line {reader.line_num} must have {len(reader.fieldnames or [])} cells like the first")
        row: dict[str, Any] = {key.strip(): value.strip() for key, value in raw.items() if value.strip()}
        for key in ("kwargs", "preprocessing"):
            if key in row:
                row[key] = json.loads(row[key])
        if "tags" in row:
            row["tags"] = row["tags"].split()
        if row.get("output", "").lstrip("-").isdecimal():
            row["output"] = int(row["output"])
        rows.append(row)
    return rows


def _labelled(text: str, defaults: ModelEntry) -> list[dict[str, Any]]:
    index = json.loads(text)
    if index["kind"] != _LABELLED:
        raise ValueError(f"kind must be {_LABELLED!r}, got {index['kind']!r}")
    return [
        {
            "path": f"models/{member['name']}.safetensors",
            "name": member["name"],
            "architecture": member["architecture"],
            "kwargs": member["architecture_args"],
            "preprocessing": index["preprocessing"] or None,
            "tags": [member["role"]],
        }
        for member in index["members"]
    ]


def _entry(row: Mapping[str, Any], folder: Path, defaults: ModelEntry) -> ModelEntry:
    if unknown := sorted(set(row) - set(_KEYS)):
        raise ValueError(f"keys must be of {', '.join(_KEYS)}, got {unknown}")
    path = PurePosixPath(_text(row, "path"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"path must be relative and stay inside the manifest's folder, got {row['path']!r}")
    kwargs, tags = row.get("kwargs", defaults.kwargs), row.get("tags", [])
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"kwargs must be a table or JSON object, got {kwargs!r}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"tags must be a list of texts, got {tags!r}")
    output = row.get("output", defaults.output)
    if not isinstance(output, (int, str, type(None))) or isinstance(output, bool):
        raise ValueError(f"output must be a position or a name, got {output!r}")
    preprocessing = row.get("preprocessing")
    name = _text(row, "name") if "name" in row else str(path)
    try:
        check_lengths(name, tags)
        for key in ("path", "architecture", "output"):
            _check_length(key, row.get(key))
    except ValueError as error:
        raise ValueError(f"{name[:80]!r}: {error}") from None
    return ModelEntry(
        name=name,
        path=folder / path,
        architecture=_text(row, "architecture") if "architecture" in row else defaults.architecture,
        kwargs=kwargs,
        preprocessing=defaults.preprocessing if preprocessing is None else Preprocessing.from_dict(preprocessing),
        output=output,
        tags=tuple(dict.fromkeys([*tags, *defaults.tags])),
        root=Path(os.path.abspath(folder)),
    )


def check_lengths(name: str, tags: Sequence[str]) -> None:
    """Refuse a name or tags of a model that are longer than a store holds.

    Raises:
        ValueError: they are.
    """
    _check_length("name", name)
    if (total := sum(map(len, tags))) > MAX_TAGS:
        raise ValueError(f"tags must have at most {MAX_TAGS:,} characters together, got {total:,}")


def _check_length(key: str, value: object) -> None:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"{key} must be a text of at most {MAX_TEXT:,} characters, got {len(value):,}")


def _text(row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row.get(key), str) or not row[key]:
        raise ValueError(f"{key} must be a text, got {row.get(key)!r}")
    return str(row[key])
