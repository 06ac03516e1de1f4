"""The database of a store: tables, creation, and opening with every check that an untrusted file needs.

Write-ahead log with synchronous=FULL: readers see the last commit while a scan writes and never block it (with a
rollback journal a long read blocks every commit), and a commit costs one fsync. All processes must run on one machine.
The journal mode is kept in the file, so this package never writes a rollback journal. One that lies beside the database
is refused: SQLite applies it, file names inside included, even when it only reads.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
from pathlib import Path

from ..errors import StoreDamagedError, StoreError
from ..io.files import STORE_APPLICATION_ID, STORE_DATABASE, sync_folder

NAME = STORE_DATABASE
SCHEMA_VERSION = 2
#: Version from which there is a table of segments; a store of an earlier one gets it when it is written to.
SEGMENTS_SINCE = 2
APPLICATION_ID = STORE_APPLICATION_ID
#: Largest value that SQLite may return, in bytes.
MAX_VALUE = 8 << 20

_NEW = NAME + ".new"
_TABLES = (
    # One row for each key that has outputs.
    "CREATE TABLE results (digest TEXT PRIMARY KEY, key TEXT NOT NULL, n INTEGER NOT NULL, k INTEGER NOT NULL, "
    "outputs_file TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX results_of_file ON results (outputs_file)",
    # One row for each model and probe set, with its newest result or failure.
    "CREATE TABLE models (name TEXT NOT NULL, probe_hash TEXT NOT NULL, status TEXT NOT NULL, digest TEXT, "
    "reason TEXT, message TEXT, details TEXT NOT NULL, PRIMARY KEY (name, probe_hash)) WITHOUT ROWID",
    "CREATE INDEX models_of_result ON models (digest)",
    # Values that differ from run to run, hence are not exported.
    "CREATE TABLE visits (name TEXT NOT NULL, probe_hash TEXT NOT NULL, path TEXT, size INTEGER, mtime_ns INTEGER, "
    "ctime_ns INTEGER, inode INTEGER, request TEXT, seconds REAL, recorded_at TEXT NOT NULL, "
    "PRIMARY KEY (name, probe_hash)) WITHOUT ROWID",
    "CREATE TABLE sources (source TEXT PRIMARY KEY, name TEXT NOT NULL, probe_hash TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE distances (source TEXT NOT NULL, metric TEXT NOT NULL, comparison TEXT NOT NULL, "
    "digest TEXT NOT NULL, distance REAL NOT NULL, PRIMARY KEY (source, metric, comparison, digest)) WITHOUT ROWID",
    "CREATE INDEX distances_of_result ON distances (digest)",
)
# Where the outputs lie that are no files of their own.
_SEGMENTS = (
    "CREATE TABLE segments (outputs_file TEXT PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL, "
    "length INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX segments_in_order ON segments (segment, start)",
)
_TABLES_OF = {1: frozenset(_TABLES), SCHEMA_VERSION: frozenset(_TABLES + _SEGMENTS)}


def create_database(folder: Path) -> None:
    """Create an empty database, all or nothing.

    Args:
        folder: the store; the caller holds its lock.

    Raises:
        StoreError: it cannot be written.
    """
    new = folder / _NEW
    try:
        for name in (_NEW, _NEW + "-journal", _NEW + "-wal", _NEW + "-shm"):
            (folder / name).unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN")
            for table in _TABLES + _SEGMENTS:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("COMMIT")
        os.rename(new, folder / NAME)
        sync_folder(folder)
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(f"cannot create the database of the store {str(folder)!r}: {error}") from error


def open_database(folder: Path, *, write: bool) -> sqlite3.Connection:
    """Connect after checking that it is a database of this package and holds nothing else.

    Args:
        folder: the store.
        write: False: nothing can be changed through the connection.

    Returns:
        The connection, in autocommit mode, for any thread (the caller serialises access).

    Raises:
        StoreError: missing, a link, damaged, of another program or version, or with other tables, views or triggers.
    """
    path = folder / NAME
    _check_files(folder)
    mode = "rw" if write else "ro"
    if not write and not os.access(folder, os.W_OK) and not _is_filled(folder / (NAME + "-wal")):
        mode += "&immutable=1"  # on a read-only medium there is no writer, and the index of the log cannot be created
    address = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(f"cannot open {str(path)!r}: {error}") from error
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        try:
            _harden(connection)
            _check_schema(connection, path)
            connection.execute("PRAGMA synchronous=FULL")
            if write:
                _upgrade(connection)
            else:
                connection.execute("PRAGMA query_only=ON")
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the text of an error may quote the file
            raise damaged(path, error) from error
        undo.pop_all()
    return connection


def damaged(path: Path, why: object) -> StoreDamagedError:
    """The error for a database that SQLite cannot read."""
    return StoreDamagedError(
        f"the database {str(path)!r} is damaged or cannot be read: {why}; `sac-fast store check --repair` moves it to "
        "quarantine/ and restores the results from their files"
    )


def _harden(connection: sqlite3.Connection) -> None:
    """Apply the settings of SQLite's "Defense Against The Dark Arts" for untrusted databases."""
    connection.text_factory = _text
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _text(value: bytes) -> str | bytes:
    # File names that are not UTF-8 hold lone surrogates in Python, which are kept (see `bound`).
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value  # the reader of the row refuses its type; other rows stay readable


def bound(text: str) -> bytes:
    """A text for ``CAST(? AS TEXT)``: sqlite3 refuses the lone surrogates that file names may hold."""
    return text.encode("utf-8", "surrogatepass")


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Check the version, then that every table is as created: no added view, trigger or computed column."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{str(path)!r} must be the database of a store, got one of another program")
    if version not in _TABLES_OF:
        newer = "a newer" if version > SCHEMA_VERSION else "an older"
        raise StoreError(
            f"{str(path)!r} must have schema version 1 … {SCHEMA_VERSION}, got {version}, of {newer} sac_fast"
        )
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master LIMIT 100")}
    if found != _TABLES_OF[version]:
        foreign = sorted(str(sql)[:80] for sql in found ^ _TABLES_OF[version])
        raise StoreError(f"{str(path)!r} must hold the tables of a store and no others, differs in {foreign[0]!r}")


def _upgrade(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] >= SEGMENTS_SINCE:
        return
    connection.execute("BEGIN IMMEDIATE")
    for table in _SEGMENTS:
        connection.execute(table)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _check_files(folder: Path) -> None:
    for name in (NAME, NAME + "-wal", NAME + "-shm"):
        try:
            found = os.lstat(folder / name)
        except FileNotFoundError:
            if name == NAME:
                raise StoreError(f"{str(folder)!r} must be a store, got a folder without {NAME}") from None
            continue
        except OSError as error:
            raise StoreError(f"cannot read {str(folder / name)!r}: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{str(folder / name)!r} must be a regular file, got a link, a folder or a device")
    if os.path.lexists(folder / (NAME + "-journal")):
        raise StoreError(
            f"{str(folder)!r} must not hold {NAME}-journal: stores write no rollback journal, and SQLite would "
            "apply it; remove it if you trust the origin of the store"
        )


def _is_filled(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_size > 0
    return False
