"""Tables of a store for other programs: CSV and Parquet, sorted by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import StoreError
from ..io.files import StrPath, atomic_write
from ..io.hashing import canonical_json
from ..io.text import csv_text
from .distances import SourceDistance
from .records import ModelRecord
from .store import ModelStore

Row = Sequence[Any]
Columns = dict[str, type]

_MODEL_TEXTS = (
    *("name", "status", "reason", "message", "path", "format", "model_hash", "file_sha256", "architecture"),
    *("kwargs", "output", "tags", "probe_hash", "preprocessing", "preprocessing_hash", "code_version", "dtype"),
)
MODEL_COLUMNS: Columns = {**dict.fromkeys(_MODEL_TEXTS, str), "n": int, "k": int, "outputs_file": str}
TIME_COLUMNS: Columns = {"file_size": int, "file_mtime_ns": int, "seconds": float}
# Names of metrics and comparisons are literals to a type checker, and texts in a table.
DISTANCE_COLUMNS: Columns = {
    name: float if kind is float else str for name, kind in get_type_hints(SourceDistance).items()
}
_CHUNK_ROWS = 10_000


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
    for name in ("kwargs", "preprocessing", "tags", "output"):
        values[name] = None if values[name] is None else canonical_json(values[name])
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
        return csv_text(value)
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
        rows = iter(rows)
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            typed = zip(zip(*chunk, strict=True), schema.types, strict=True)
            arrays = [pa.array([_valid(value) for value in column], kind) for column, kind in typed]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count


def _valid(value: Any) -> Any:
    """Escape lone surrogates, which file names may hold and Parquet's UTF-8 cannot."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
