"""Additions of outputs: what a writer that is stopped before its commit leaves behind is taken back by the next one.

Before it writes, a writer says in ``incoming/addition.json`` where its bytes begin in which segments and how its files
are called. After the commit it deletes that file. A writer that finds one cuts off and deletes whatever the database
does not name. It is not synced: after a loss of power the bytes may stay, where `check_store` finds them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..io.hashing import canonical_json
from .database import SEGMENTS_SINCE as SINCE
from .lock import WriterLock
from .output_files import ADDITION, OutputFiles
from .records import is_digest
from .segments import MAX_BLOB, Place, checked_place
from .session import StoreSession

Values = Sequence[object]
#: Name of outputs, and where they lie in a segment; None: they are a file of their own.
Named = tuple[str, Place | None]
# Larger blobs are files of their own.
_MAX_PACKED = MAX_BLOB
_MAX_BYTES = 8 << 20
_MAX_NAMES = 500  # of a query


class Additions(StoreSession):
    """The part of a store that writes and finds bytes of outputs."""

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, files: OutputFiles, lock: WriterLock | None
    ) -> None:
        super().__init__(folder, connection, files, lock)
        self._begun: list[tuple[int, int, list[str]]] = []

    def places_of(self, outputs_files: Sequence[object]) -> dict[object, Values]:
        """Where outputs lie in segments, unchecked; those that are files of their own are left out."""
        found: dict[object, Values] = {}
        if self.rows("PRAGMA user_version") < [(SINCE,)]:
            return found
        for start in range(0, len(outputs_files), _MAX_NAMES):
            some = outputs_files[start : start + _MAX_NAMES]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT outputs_file, segment, start, length FROM segments WHERE outputs_file IN ({marks})"
            found |= {name: place for name, *place in self.rows(sql, *some)}
        return found

    def add_blobs(self, blobs: Sequence[bytes], *, avoid: int = 0) -> list[Named]:
        """Write blobs, the small ones to a segment, inside `writing`; they are on the disk when the call returns.

        Args:
            blobs: of `encode`.
            avoid: a segment that gets none.

        Returns:
            Names and places, for rows that are to be committed.

        Raises:
            OSError: the disk is full or fails; what was written is taken back.
        """
        names = [hashlib.sha256(blob).hexdigest() for blob in blobs]
        by_name = dict(zip(names, blobs, strict=True))
        small = {name: blob for name, blob in by_name.items() if len(blob) <= _MAX_PACKED}
        large = {name: blob for name, blob in by_name.items() if name not in small}
        places: dict[str, Place] = {}
        try:
            segment, start = self._choose(avoid) if small else (0, 0)
            self._begin(segment, start, large)
            if small:
                written = self.files.segments.append(segment, start, list(small.values()))
                places = dict(zip(small, written, strict=True))
            if large:
                self.files.write(large)
        except BaseException:
            self.after_rollback()  # inside a transaction that is done at its end
            raise
        return [(name, places.get(name)) for name in names]

    def put_places(self, added: Iterable[Named]) -> None:
        """Insert the rows of places, inside a transaction."""
        rows = [(name, *place) for name, place in added if place is not None]
        self.connection.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)", rows)

    def drop_places(self, names: Sequence[object]) -> list[Named]:
        """Delete the rows of places, inside a transaction; returns what `remove_blobs` takes after the commit."""
        places = self.places_of(names)
        self.connection.executemany("DELETE FROM segments WHERE outputs_file = ?", [(name,) for name in places])
        found: list[Named] = []
        for name in names:
            with contextlib.suppress(ValueError):  # a row that no store writes names nothing
                found.append((str(name), checked_place(places[name]) if name in places else None))
        return found

    def after_commit(self) -> None:
        """There is nothing to take back any more."""
        if self._begun:
            self._begun = []
            self.files.remove_incoming(ADDITION)

    def after_rollback(self) -> None:
        """Take back what was written; what fails now is done by the next writer."""
        if self._begun and not self.connection.in_transaction:
            with contextlib.suppress(OSError, sqlite3.Error):
                self.undo_addition()

    def undo_addition(self) -> None:
        """Take back what was written and not committed, by this writer or by one that was stopped.

        Raises:
            OSError: the disk fails.
        """
        self._begun = []
        for segment, start, names in self._read_begun():
            sql = "SELECT max(start + length) FROM segments WHERE segment = ?"
            end = self.connection.execute(sql, (segment,)).fetchone()[0] or 0
            if segment and end <= start:
                self.files.segments.undo(segment, start)
            known = "SELECT 1 FROM results WHERE outputs_file = ?"
            self.files.remove([n for n in names if not self.connection.execute(known, (n,)).fetchone()])
        self.files.remove_incoming(ADDITION)

    def remove_blobs(self, removed: Sequence[Named]) -> None:
        """Delete bytes of outputs whose rows are gone, after the commit; sparsely used segments are written anew.

        Raises:
            OSError: the disk fails.
        """
        self.files.remove([name for name, place in removed if place is None])
        places = [place for _, place in removed if place is not None]
        self.files.segments.mark_removed(places)
        last = self.connection.execute("SELECT max(segment) FROM segments").fetchone()[0]
        for segment in sorted({place.segment for place in places}):
            sql = "SELECT sum(length) FROM segments WHERE segment = ?"
            used = self.connection.execute(sql, (segment,)).fetchone()[0]
            if used is None:
                self.files.segments.delete(segment)
            elif segment != last and used < self.files.segments.size(segment) // 2:
                with contextlib.suppress(ValueError):  # damaged: it stays for a check
                    self.move_records(segment)
                    self.files.segments.delete(segment)

    def move_records(self, segment: int) -> None:
        """Write the records of a segment that are in use to the end of the last one.

        Raises:
            ValueError: a record is damaged.
            OSError: the disk is full or fails.
        """
        sql = "SELECT outputs_file, segment, start, length FROM segments WHERE segment = ? ORDER BY start"
        rows = self.connection.execute(sql, (segment,)).fetchall()
        blobs = [self.files.segments.read(checked_place(place)) for _, *place in rows]
        if [hashlib.sha256(blob).hexdigest() for blob in blobs] != [name for name, *_ in rows]:
            raise ValueError("blobs must have the hashes that are their names")
        added = self.add_blobs(blobs, avoid=segment)
        with self.transaction():
            self.put_places(added)

    def _choose(self, avoid: int) -> tuple[int, int]:
        sql = "SELECT segment, start, length FROM segments ORDER BY segment DESC, start DESC LIMIT 1"
        last = self.connection.execute(sql).fetchone()
        if last is None:
            return self.files.segments.choose(0, 0)
        segment, start, length = checked_place(last)
        end = start + length + -length % 8 if segment != avoid else -1  # no file ends there
        return self.files.segments.choose(segment, end)

    def _begin(self, segment: int, start: int, names: Iterable[str]) -> None:
        self._begun.append((segment, start, list(names)))
        self.files.write_incoming(ADDITION, canonical_json({"parts": self._begun}).encode())

    def _read_begun(self) -> Iterator[tuple[int, int, list[str]]]:
        """What `addition.json` says, the last part first; nothing where it was not completely written."""
        data = self.files.read_incoming(ADDITION, _MAX_BYTES)
        try:
            parts = json.loads(data)["parts"] if data else []
            for segment, start, names in reversed(parts):
                is_place = type(segment) is int and type(start) is int and 0 <= start < 1 << 48
                if is_place and 0 <= segment < 10**8 and isinstance(names, list):
                    yield segment, start, [name for name in names if is_digest(name)]
        except (ValueError, TypeError, LookupError, RecursionError):
            return
