"""What every JSON of a benchmark states beside its numbers: commit, hash of csrc/, command, hardware, versions.

`benchmarks/results.schema.json` is the same as a JSON schema.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import hashlib
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.files import atomic_write
from .machine import describe_hardware, describe_versions

SCHEMA = "sac_fast result 1"
_NUMBER = (int, float)
_NONE = type(None)
_FIELDS: dict[str, tuple[type, ...]] = {
    "schema": (str,),
    "kind": (str,),
    "commit": (str, _NONE),
    "dirty": (bool, _NONE),
    "csrc_hash": (str, _NONE),
    "installed": (bool,),
    "command": (str,),
    "started": (str,),
    "seconds": _NUMBER,
    "hardware": (dict,),
    "versions": (dict,),
}
_COLUMNS = (
    *("case", "sweep", "op", "metric", "n", "k", "m", "implementation"),
    *("seconds", "rate", "unit", "limit", "fraction", "ratio", "error", "not_timed_because"),
)


def start_result(kind: str, threads: int) -> dict[str, Any]:
    """The fields that every result has, but `seconds`; call it before the work, which changes the machine's load.

    Args:
        kind: what the file holds, such as "sac_fast benchmark".
        threads: of the run.

    Returns:
        A JSON-able dict. `commit`, `dirty` and `csrc_hash` are None where the code does not lie in a git checkout;
        `installed` says that the package came from elsewhere than the checkout, whose commit is then the script's.
    """
    package = Path(__file__).resolve()
    root = _checkout(package) or _checkout(Path(sys.argv[0]).resolve())
    return {
        "schema": SCHEMA,
        "kind": kind,
        **_describe_code(root),
        "installed": root is None or package.parents[2] != root,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": describe_hardware(threads),
        "versions": describe_versions(),
    }


def check_result(result: Mapping[str, Any]) -> None:
    """Check the fields that every result has.

    Raises:
        ValueError: a field is missing or of another type, or the schema is another one.
    """
    for name, types in _FIELDS.items():
        value = result.get(name)
        if name not in result or not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join("null" if kind is _NONE else kind.__name__ for kind in types)
            raise ValueError(f"the result's {name} must be {wanted}, got {value!r}")
    if result["schema"] != SCHEMA:
        raise ValueError(f"the result's schema must be {SCHEMA!r}, got {result['schema']!r}")


def write_json(result: Mapping[str, Any], path: Path, *, row_lines: bool = False) -> None:
    """Check the result and write it as it is.

    Args:
        result: from `start_result`, with what was measured.
        path: replaced if it is there; its folder must be.
        row_lines: write each row of a list of rows on one line, for results of thousands of rows.

    Raises:
        ValueError: a field that every result has is missing or wrong.
    """
    check_result(result)
    with atomic_write(path) as handle:
        text = _dump_rows(result) if row_lines else json.dumps(result, indent=1, allow_nan=False)
        handle.write(text.encode() + b"\n")


def _dump_rows(result: Mapping[str, Any]) -> str:
    fields = []
    for name, value in result.items():
        is_table = isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
        rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value) if is_table else ""
        text = f"[\n  {rows}\n ]" if is_table else json.dumps(value, allow_nan=False)
        fields.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}"


def write_csv(result: Mapping[str, Any], path: Path) -> None:
    """Write one line for each implementation of each case, those that could not be timed included.

    Args:
        result: of `run_bench`.
        path: replaced if it is there; its folder must be.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for record in result["records"]:
        for name, entry in record["implementations"].items():
            reason = entry.get("missing") or entry.get("refused")
            table.writerow(record | record["shape"] | entry | {"implementation": name, "not_timed_because": reason})
    with atomic_write(path) as handle:
        handle.write(text.getvalue().encode())


def _checkout(path: Path) -> Path | None:
    """The checkout of this project that a file lies in."""
    return next((p for p in path.parents if all((p / name).exists() for name in (".git", "csrc", "sac_fast"))), None)


def _describe_code(root: Path | None) -> dict[str, Any]:
    commit = dirty = None
    if root is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            # results that an earlier benchmark wrote do not change what this one runs
            changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
            commit, dirty = _git(root, "rev-parse", "HEAD"), bool(changes)
    return {"commit": commit, "dirty": dirty, "csrc_hash": None if root is None else hash_sources(root / "csrc")}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def hash_sources(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of a folder, in the order of their names."""
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"
