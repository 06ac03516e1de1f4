"""Manifests: which files are models, and how each is built and run.

zoo.toml::

    [defaults]                       # of every model; all keys may be left out
    architecture = "package.module:callable"
    kwargs = { classes = 10 }
    preprocessing = { mean = [0.5], std = [0.25] }
    output = "logits"
    table = { header = true }        # of text tables, see TableFormat
    tags = ["independent"]

    [[models]]
    path = "a/weights.safetensors"   # relative to the manifest, inside its folder
    name = "a"                       # default: the path

A model may have ``weights_key = "state_dict_ema"``, where its file holds several state dicts, and ``inputs = { state =
"zeros", sr = 16000 }``: fixed values of an ONNX model's further inputs.

zoo.csv has the columns path, name, architecture, kwargs (JSON), preprocessing (JSON), table (JSON), output,
weights_key, inputs (JSON), tags (with spaces between them), of which only path is needed. zoo.json is that of a
`LabelledZoo`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FileFormatError, describe_error
from ..formats.json_text import parse_json
from ..formats.table_format import TableFormat
from ..formats.toml_text import parse_toml
from ..io.files import LABELLED_ZOO, open_regular, read_regular
from ..io.schema import check_depth
from .entry import ModelEntry
from .preprocessing import Preprocessing

MAX_BYTES = 64 << 20
#: Largest manifest, and most models in it, that is read although the user named only the folder around it.
MAX_UNASKED_BYTES = 1_000_000
MAX_UNASKED_MODELS = 50_000
# What [defaults] may come to, written for each model, in the sizes of the largest manifest.
_TIMES = 16
#: Longest name, path, architecture or output, in characters, and longest tags together: what a store holds.
MAX_TEXT = 4096
MAX_TAGS = 1 << 15


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


# What each key of a model's row must be, in words and as a check.
_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("path", "name", "architecture"), ("a text", _is_text)),
    "weights_key": ("a text", lambda value: value is None or _is_text(value)),
    **dict.fromkeys(("kwargs", "inputs"), ("a table or JSON object", lambda value: isinstance(value, Mapping))),
    "preprocessing": ("a table or JSON object", lambda value: value is None or isinstance(value, Mapping)),
    "output": ("a position or a name", lambda value: value is None or type(value) in (int, str)),
    "table": ("a table or JSON object", lambda value: isinstance(value, Mapping)),
    "tags": ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value)),
}

# How the cells of a zoo.csv are read that are no plain texts.
_CELLS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("kwargs", "inputs"), json.loads),
    "preprocessing": json.loads,
    "table": json.loads,
    "output": lambda text: int(text) if text.lstrip("-").isdecimal() else text,
    "tags": str.split,
}


def is_manifest(path: Path) -> bool:
    """Whether a file has a manifest's name, and is a zoo.json of ours or a zoo.csv with a path column."""
    if not path.is_file() or (path.suffix not in (".toml", ".csv") and path.name != "zoo.json"):
        return False
    if path.suffix == ".toml":
        return True
    with open_regular(path) as handle:
        head = handle.read(4096)
    if path.name == "zoo.json":
        return LABELLED_ZOO.encode() in head
    cells = head.removeprefix(codecs.BOM_UTF8).split(b"\n")[0].split(b",")
    return b"path" in [cell.strip(b' "\r') for cell in cells]


def read_manifest(path: Path, defaults: ModelEntry, *, asked: bool = True) -> list[ModelEntry]:
    """Read zoo.toml, zoo.csv or the zoo.json of a labelled zoo.

    Args:
        path: the manifest.
        defaults: what holds where the manifest is silent; its tags are added everywhere.
        asked: the user named the manifest; False: only the folder that it lies in, so that it may be much smaller.

    Returns:
        The entries in the manifest's order; their files may be missing.

    Raises:
        FileFormatError: not such a manifest; the message names the model.
    """
    readers = {".toml": _toml, ".csv": _csv, ".json": _labelled}
    if (reader := readers.get(path.suffix)) is None:
        raise FileFormatError(f"a manifest must end in {', '.join(readers)}, got {str(path)!r}")
    raw = _read(path, asked)
    try:
        rows = reader(raw.decode("utf-8-sig"), _TIMES * (MAX_BYTES if asked else MAX_UNASKED_BYTES))
    except FileFormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise FileFormatError(f"{str(path)!r} must be a manifest of models, got {describe_error(error)}") from error
    entries = []
    for number, row in enumerate(rows, 1):
        try:
            entries.append(_entry(row, path.parent, defaults))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileFormatError(f"model {number} of {str(path)!r}: {error}") from error
    return entries


def _read(path: Path, asked: bool) -> bytes:
    if asked:
        return read_regular(path, MAX_BYTES)
    why = f"as a manifest inside a folder; name it to have up to {MAX_BYTES:,} read"
    raw = read_regular(path, MAX_UNASKED_BYTES, why)
    # A line of two bytes is a model that takes a kilobyte.
    if path.suffix == ".csv" and (lines := len(raw.splitlines())) > MAX_UNASKED_MODELS:
        raise FileFormatError(f"{str(path)!r} must have at most {MAX_UNASKED_MODELS:,} lines {why}, got {lines:,}")
    return raw


def _toml(text: str, max_shared: int) -> list[dict[str, Any]]:
    content = parse_toml(text)
    check_depth(content, "values")  # they are written as JSON for workers and stores
    if unknown := sorted(set(content) - {"defaults", "models"}):
        raise ValueError(f"tables must be [defaults] and [[models]], got {unknown}")
    shared = dict(content.get("defaults", {}))
    if wrong := sorted(set(shared) & {"path", "name"}):
        raise ValueError(f"[defaults] must not hold {wrong[0]}")
    _check_shared(shared, len(content["models"]), max_shared)
    return [{**shared, **dict(model)} for model in content["models"]]


def _check_shared(defaults: Mapping[str, Any], count: int, most: int) -> None:
    """Refuse defaults that would make the models together thousands of times the file: each is written with them."""
    if (total := len(json.dumps(defaults, default=str)) * count) > most:
        raise ValueError(f"[defaults] must have at most {most:,} characters, times its models, got {total:,}")


def _csv(text: str, max_shared: int) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    rows = []
    for raw in reader:
        if None in raw or None in raw.values():
            raise ValueError(f"line {reader.line_num} must have {len(reader.fieldnames or [])} cells like the first")
        cells = {key.strip(): value.strip() for key, value in raw.items()}
        rows.append({key: _CELLS.get(key, str)(text) for key, text in cells.items() if text})
        check_depth(rows[-1], f"values of line {reader.line_num}")
    return rows


def _labelled(text: str, max_shared: int) -> list[dict[str, Any]]:
    index = parse_json(text.encode(), "zoo.json")
    check_depth(index, "values")
    if index["kind"] != LABELLED_ZOO:
        raise ValueError(f"kind must be {LABELLED_ZOO!r}, got {index['kind']!r}")
    return [
        {
            "path": f"models/{member['name']}.safetensors",
            "name": member["name"],
            "architecture": member["architecture"],
            "kwargs": member["architecture_args"],
            "preprocessing": index["preprocessing"] or None,
            "tags": [member["role"], *([member["origin"]] if member["role"] == "independent" else [])],
        }
        for member in index["members"]
    ]


def _entry(row: Mapping[str, Any], folder: Path, defaults: ModelEntry) -> ModelEntry:
    if unknown := sorted(set(row) - set(_KEYS)):
        raise ValueError(f"keys must be of {', '.join(_KEYS)}, got {unknown}")
    row = {"path": None, "kwargs": defaults.kwargs, "output": defaults.output, "tags": [], **row}
    for key, value in row.items():
        wanted, is_right = _KEYS[key]
        if not is_right(value):
            raise ValueError(f"{key} must be {wanted}, got {value!r}")
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"path must be relative and stay inside the manifest's folder, got {row['path']!r}")
    preprocessing = row.get("preprocessing")
    name = row.get("name", str(path))
    try:
        check_lengths(name, row["tags"])
        for key in ("path", "architecture", "output", "weights_key"):
            _check_length(key, row.get(key))
    except ValueError as error:
        raise ValueError(f"{name[:80]!r}: {error}") from None
    return ModelEntry(
        name=name,
        path=folder / path,
        architecture=row.get("architecture", defaults.architecture),
        kwargs=row["kwargs"],
        preprocessing=defaults.preprocessing if preprocessing is None else Preprocessing.from_dict(preprocessing),
        output=row["output"],
        table=TableFormat(**row["table"]) if "table" in row else defaults.table,
        tags=tuple(dict.fromkeys([*row["tags"], *defaults.tags])),
        root=Path(os.path.abspath(folder)),
        weights_key=row.get("weights_key", defaults.weights_key),
        inputs=row.get("inputs", defaults.inputs),
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
