"""Rows of the database to records and back; every value of a row is untrusted and checked."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..errors import StoreError
from .database import bound
from .records import ADDED_DETAILS, DETAILS, MAX_TEXT, FileStamp, ModelRecord

#: The columns that `record_of` reads, in its order. Not the result's key, which many models may share: `check_store`
#: compares it.
SELECT = (
    "SELECT m.name, m.probe_hash, m.status, m.reason, m.message, r.n, r.k, r.outputs_file, v.request, v.seconds, "
    "m.digest, m.details, r.digest, v.path, v.size, v.mtime_ns, v.ctime_ns, v.inode FROM models m "
    "LEFT JOIN results r ON r.digest = m.digest "
    "LEFT JOIN visits v ON v.name = m.name AND v.probe_hash = m.probe_hash "
)
# The first columns of `SELECT`: fields of a record as they are.
_FIELDS = ("name", "probe_hash", "status", "reason", "message", "n", "k", "outputs_file", "request", "seconds")


def record_of(row: Sequence[Any]) -> ModelRecord:
    """A record of a row of `SELECT`.

    Raises:
        StoreError: the row is not one that this package writes.
    """
    digest, details, of_result, *stamp = row[len(_FIELDS) :]
    try:
        values = json.loads(details)
        if not isinstance(values, dict) or set(ADDED_DETAILS | values) != set(DETAILS):
            raise ValueError("details must be a JSON object of the known fields")
        values |= {"tags": tuple(values["tags"]), "file": None if stamp[0] is None else FileStamp(*stamp)}
        record = ModelRecord(**values, **dict(zip(_FIELDS, row, strict=False)))
        if (record.status == "done") != (record.outputs_file is not None):
            raise ValueError(f"status must be done exactly where there are outputs, got {record.status!r}")
        if record.status == "done" and not (record.model_hash and digest == of_result == record.key_digest):
            raise ValueError("the result must have the key of the model, got another key")
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"the store's row of the model {str(row[0])[:80]!r} is damaged: {error}") from error
    return record


def put_record(connection: sqlite3.Connection, record: ModelRecord, digest: str | None) -> None:
    """Write a model's rows, replacing those of the same name and probe set."""
    names = (bound(record.name), record.probe_hash)
    message = None if record.message is None else bound(record.message)
    connection.execute(
        "INSERT INTO models VALUES (CAST(? AS TEXT), ?, ?, ?, ?, CAST(? AS TEXT), ?) ON CONFLICT (name, probe_hash) "
        "DO UPDATE SET status=excluded.status, digest=excluded.digest, reason=excluded.reason, "
        "message=excluded.message, details=excluded.details",
        (*names, record.status, digest, record.reason, message, record.details),
    )
    path, *numbers = (None,) * 5 if record.file is None else dataclasses.astuple(record.file)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT OR REPLACE INTO visits VALUES (CAST(? AS TEXT), ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)",
        (*names, None if path is None else bound(path), *numbers, record.request, record.seconds, now),
    )


def as_done(record: ModelRecord) -> ModelRecord:
    """The record of a model with outputs."""
    if record.status == "done" and record.reason is None:
        return record
    return dataclasses.replace(record, status="done", reason=None, message=None)


def as_failed(record: ModelRecord, reason: str, message: str) -> ModelRecord:
    """The record of a model that failed; a long message loses its middle."""
    if len(message) > MAX_TEXT:
        message = message[: MAX_TEXT // 2 - 2] + " … " + message[-MAX_TEXT // 2 + 2 :]
    return dataclasses.replace(
        record, status="failed", reason=reason, message=message, n=None, k=None, outputs_file=None
    )
