"""Sketches and tests of a folder's weights in one SQLite file, so that a search that was stopped goes on."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..io.files import StrPath
from ..io.hashing import is_hash
from .weights_sketch import VALUES, Sketch

_APPLICATION_ID = 0x53414357  # "SACW"
_VERSION = 1
_TABLES = (
    "CREATE TABLE sketches (path TEXT PRIMARY KEY, state TEXT NOT NULL, sketch TEXT NOT NULL, vectors BLOB NOT NULL)",
    "CREATE TABLE tests (a TEXT NOT NULL, b TEXT NOT NULL, result TEXT NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID",
)
_COMMIT_EVERY = 64


class WeightsCache:
    """Keeps sketches by path, and results of tests by the contents' hashes.

    Args:
        connection: to a database with the tables.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._pending = 0

    def get_sketch(self, path: StrPath) -> Sketch | None:
        """The sketch of a file that has not changed since; None: there is none."""
        row = self._connection.execute(
            "SELECT sketch, vectors FROM sketches WHERE path = ? AND state = ?", (_key(path), file_state(path))
        ).fetchone()
        return None if row is None else _decode(*row)

    def put_sketch(self, path: StrPath, sketch: Sketch) -> None:
        """Keep the sketch of a file as it is now."""
        row = (_key(path), file_state(path), *_encode(sketch))
        self._connection.execute("INSERT OR REPLACE INTO sketches VALUES (?, ?, ?, ?)", row)
        self._count()

    def get_test(self, a: Sketch, b: Sketch) -> dict[str, Any] | None:
        """What was kept of the test of two contents, in this order; None: nothing."""
        row = self._connection.execute(
            "SELECT result FROM tests WHERE a = ? AND b = ?", (a.content_hash, b.content_hash)
        ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def put_test(self, a: Sketch, b: Sketch, result: dict[str, Any]) -> None:
        """Keep the result of a test of two contents."""
        row = (a.content_hash, b.content_hash, json.dumps(result))
        self._connection.execute("INSERT OR REPLACE INTO tests VALUES (?, ?, ?)", row)
        self._count()

    def _count(self) -> None:
        self._pending += 1
        if self._pending >= _COMMIT_EVERY:
            self._connection.commit()
            self._pending = 0


@contextlib.contextmanager
def open_cache(path: StrPath | None) -> Iterator[WeightsCache]:
    """Open or make a cache; what was put into it is kept after any exception, ``KeyboardInterrupt`` included.

    Args:
        path: the file; None: nothing is kept on disk.

    Raises:
        FileFormatError: a file of another kind, or one that cannot be written.
    """
    name = ":memory:" if path is None else os.fspath(path)
    try:
        with contextlib.closing(sqlite3.connect(name)) as connection:
            _prepare(connection, name)
            try:
                yield WeightsCache(connection)
            finally:
                connection.commit()
    except sqlite3.Error as error:
        raise FileFormatError(f"cannot use {name!r} as a cache of sketches: {error}") from error


def _prepare(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables of an empty database, and refuse one of another program."""
    connection.execute("PRAGMA trusted_schema=OFF")
    objects = sorted(row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    if not objects:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.commit()
        return
    found = [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("application_id", "user_version")]
    if found != [_APPLICATION_ID, _VERSION] or objects != sorted(_TABLES):
        raise FileFormatError(f"cannot use {name!r} as a cache of sketches: it is another database")


def file_state(path: StrPath) -> str:
    """Size and time of a file and, for an index of several, of all that lie beside it."""
    path = Path(path)
    files = sorted(path.parent.iterdir()) if path.suffix == ".json" else [path]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return json.dumps([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _key(path: StrPath) -> str:
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")


def _encode(sketch: Sketch) -> tuple[str, bytes]:
    text = json.dumps(
        {
            "content_hash": sketch.content_hash,
            "parameters": sketch.parameters,
            "layers": sketch.layers,
            "vectors": {key: len(vector) for key, vector in sketch.vectors.items()},
            "traits": [sketch.zeros, sketch.distinct, sketch.short],
        }
    )
    return text, b"".join(vector.tobytes() for vector in sketch.vectors.values())


def _decode(text: str, vectors: bytes) -> Sketch | None:
    """The sketch; None, so that it is made again, where the row is not one."""
    try:
        found = json.loads(text)
        lengths = found["vectors"]
        ends = np.cumsum([int(length) for length in lengths.values()])
        sound = is_hash(found["content_hash"]) and all(0 < length <= VALUES for length in lengths.values())
        if not sound or len(vectors) != (ends[-1] if len(ends) else 0):
            return None
        parts = np.split(np.frombuffer(vectors, np.int8), ends[:-1]) if len(ends) else []
        return Sketch(
            found["content_hash"],
            int(found["parameters"]),
            {key: int(found["layers"][key]) for key in found["layers"]},
            dict(zip(lengths, parts, strict=True)),
            *map(float, found["traits"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
