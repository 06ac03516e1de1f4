"""The base of every part of a store: one connection, one thread at a time, transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .database import NAME, damaged
from .lock import WriterLock
from .output_files import OutputFiles
from .records import ModelRecord
from .rows import SELECT, record_of


class StoreSession:
    """The connection and files of an open store, and the rules for their use.

    Args:
        folder: the store.
        connection: of `open_database`.
        files: its files of outputs.
        lock: None: read only.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, files: OutputFiles, lock: WriterLock | None
    ) -> None:
        self.folder = folder
        self.connection = connection
        self.files = files
        self._lock = lock
        self._guard = threading.RLock()
        self._process = os.getpid()
        self._broken: str | None = None
        self._closed = False

    @property
    def is_writer(self) -> bool:
        """Whether the store was opened for writing."""
        return self._lock is not None

    def close(self) -> None:
        """Close the store and release its lock; a second call does nothing."""
        # In a forked child connection and lock belong to the parent, and the thread lock may never be released.
        if os.getpid() != self._process:
            return
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self.connection.close()
            self.files.close()
            if self._lock is not None:
                self._lock.release()

    def check_open(self) -> None:
        """Raise StoreError for a store that is closed or was opened by another process."""
        if os.getpid() != self._process:
            raise StoreError(
                f"the store {str(self.folder)!r} was opened by process {self._process}: open it here again"
            )
        if self._closed:
            raise StoreError(f"the store {str(self.folder)!r} must be open, got a closed one")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread; after the first disk error nothing more is written.

        Raises:
            StoreError: opened for reading, or the disk is full or fails.
        """
        self.check_open()
        with self._guard:
            self.check_open()
            if self._lock is None:
                raise StoreError(f"the store {str(self.folder)!r} must be open with write=True, got write=False")
            if self._broken is not None:
                raise StoreError(f"the store {str(self.folder)!r} must be opened again after an error: {self._broken}")
            try:
                yield self.connection
            except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
                # A disk that failed once may have lost more than it reported: the store must be opened and read again.
                self._broken = f"{error.strerror or error}" if isinstance(error, OSError) else f"{error}"
                raise StoreError(
                    f"cannot write to the store {str(self.folder)!r}: {self._broken}; results that were reported as "
                    "done are kept, those in progress are not: repair the disk and start again"
                ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Inside `writing`: commit at the end, roll back after any exception; an inner one is part of the outer."""
        is_inner = self.connection.in_transaction
        if is_inner:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            self.after_rollback()
            raise
        self.after_commit()

    def after_commit(self) -> None:
        """Called after a commit."""

    def after_rollback(self) -> None:
        """Called after a rollback."""

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """All rows of a query.

        Raises:
            StoreError: the database is damaged.
        """
        self.check_open()
        with self._guard:
            self.check_open()
            try:
                return self.connection.execute(sql, values).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise damaged(self.folder / NAME, error) from error

    def first(self, where: str, *values: Any) -> ModelRecord | None:
        """The record of the first row."""
        found = self.rows(SELECT + where, *values)
        return record_of(found[0]) if found else None
