"""Tables of a store for other programs: CSV and Parquet, sorted by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..io.files import StrPath, atomic_write
from ..io.hashing import canonical_json
from ..io.text import escape_text
from .records import ModelRecord
from .store import ModelStore

MODEL_COLUMNS = {
    "name": str,
    "status": str,
    "reason": str,
    "message": str,
    "path": str,
    "format": str,
    "model_hash": str,
    "architecture": str,
    "kwargs": str,
    "output": str,
    "tags": str,
    "probe_hash": str,
    "preprocessing": str,
    "preprocessing_hash": str,
    "code_version": str,
    "dtype": str,
    "n": int,
    "k": int,
    "outputs_file": str,
}
TIME_COLUMNS = {"file_size": int, "file_mtime_ns": int, "seconds": float}
DISTANCE_COLUMNS = {
    "source": str,
    "source_name": str,
    "metric": str,
    "comparison": str,
    "name": str,
    "probe_hash": str,
    "distance": float,
}
_CHUNK_ROWS = 10_000
# First characters of a formula in spreadsheets.
_FORMULA = ("=", "+", "-", "@", "'")

Row = Sequence[Any]
Columns = dict[str, type]


def export_models(store: ModelStore, path: StrPath, *, times: bool = False) -> int:
    """Write one row for each model and probe set, all or nothing.

    Two stores with the same content give the same bytes, in whatever order it was added. kwargs, output,
    tags and preprocessing are JSON.

    Args:
        store: the store.
        path: ``*.csv`` or ``*.parquet`` (extra ``parquet``). In CSV, control characters are escaped and texts that
            a spreadsheet would run as a formula begin with ``'``. Parquet has texts as they are.
        times: add size and time of each model's file and the seconds it took, which differ from run to run.

    Returns:
        The number of rows.

    Raises:
        ValueError: another ending.
        StoreError: pyarrow is missing, or the store is damaged.
        OSError: the folder does not exist or cannot be written to.
    """
    columns = {**MODEL_COLUMNS, **TIME_COLUMNS} if times else MODEL_COLUMNS
    return _write(Path(path), columns, (_model_row(record, times) for record in store.records()))


def export_distances(store: ModelStore, path: StrPath) -> int:
    """Write the distances to sources, as `export_models` writes the models."""
    rows = ([getattr(found, name) for name in DISTANCE_COLUMNS] for found in store.distances())
    return _write(Path(path), DISTANCE_COLUMNS, rows)


def _model_row(record: ModelRecord, times: bool) -> Row:
    values: dict[str, Any] = {name: getattr(record, name) for name in MODEL_COLUMNS}
    for name in ("kwargs", "preprocessing"):
        values[name] = canonical_json(dict(values[name]))
    values["tags"] = canonical_json(list(record.tags))
    values["output"] = None if record.output is None else canonical_json(record.output)
    row = list(values.values())
    if times:
        stamp = record.file
        row += [None, None] if stamp is None else [stamp.size, stamp.mtime_ns]
        row.append(record.seconds)
    return row


def _write(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    writers: dict[str, Callable[[Path, Columns, Iterable[Row]], int]] = {".csv": _csv, ".parquet": _parquet}
    if path.suffix not in writers:
        raise ValueError(f"path must end in {' or '.join(writers)}, got {str(path)!r}")
    return writers[path.suffix](path, columns, rows)


def _csv(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    with atomic_write(path) as handle:
        text = io.TextIOWrapper(handle, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            count += 1
        text.detach()  # flushes, and leaves the file open for fsync
    return count


def _cell(value: Any) -> str:
    if isinstance(value, str):
        text = escape_text(value)
        return "'" + text if text.startswith(_FORMULA) else text
    return "" if value is None else repr(value)


def _parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StoreError(
            f"Parquet needs pyarrow, which cannot be imported ({error}): pip install 'sac-fast[parquet]', or take .csv"
        ) from error
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    count = 0
    with atomic_write(path) as handle, pq.ParquetWriter(handle, schema) as writer:
        for chunk in _chunks(rows):
            arrays = [
                pa.array([_valid(value) for value in column], types[kind])
                for column, kind in zip(zip(*chunk, strict=True), columns.values(), strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        yield chunk


def _valid(value: Any) -> Any:
    """Escape lone surrogates, which file names may hold and Parquet's UTF-8 cannot."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
