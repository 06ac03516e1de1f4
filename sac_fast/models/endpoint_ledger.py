"""The query ledger: every request to a service, written down before it is sent.

An answer that stands here is never asked for again. A request that was under way when the process died is *in doubt*:
the service may have worked on it. Requests count, whatever came of them: first ones, attempts again, repeats, and those
in doubt. SQLite with a write-ahead log and synchronous=FULL, one fsync a change, locked by one process at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ModelError
from ..io.files import StrPath

#: "SACQ": distinguishes the file from databases of other programs.
APPLICATION_ID = 0x53414351
VERSION = 1
MAX_COLUMNS = 100_000
#: Whether a probe is asked for the first time, or again to see whether the answer changes.
Purpose = Literal["first", "repeat"]
_SCHEMA = (
    "CREATE TABLE services (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, address TEXT NOT NULL)",
    "CREATE TABLE queries (id INTEGER PRIMARY KEY, service INTEGER NOT NULL, probe TEXT NOT NULL, "
    "purpose TEXT NOT NULL, state TEXT NOT NULL, asked REAL NOT NULL, seconds REAL, reason TEXT, answer BLOB)",
    "CREATE INDEX queries_of_service ON queries (service, state, probe)",
)
_Row = npt.NDArray[np.float64]


class BudgetSpentError(Exception):
    """No query is left."""


class QueryLedger:
    """Queries to services, in one file.

    Args:
        path: the file, made where it is missing; ``":memory:"``: nothing is kept.

    Raises:
        FileFormatError: another file.
        ModelError: another process uses it.

    Example::

        >>> with QueryLedger("ledger.sqlite") as ledger:
        ...     service = ledger.service("sha256:…", "https://example.org")
        ...     query = ledger.begin(service, "probe 1", "first", budget=100)
        ...     ledger.answered(query, np.array([0.25, 0.75]), seconds=0.1)
        >>> with QueryLedger("ledger.sqlite") as ledger:
        ...     ledger.answers(service, "first")["probe 1"].tolist(), ledger.counts(service)["asked"]
        ([0.25, 0.75], 1)
    """

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=2)
            self._open()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ModelError(
                    f"ledger {self.path!r} must not be in use, got one that another run has open"
                ) from None
            raise FileFormatError(f"ledger {self.path!r} must be a query ledger, got {error}") from error
        except sqlite3.DatabaseError as error:
            raise FileFormatError(f"ledger {self.path!r} must be a query ledger, got {error}") from error

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA trusted_schema=OFF")
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("BEGIN EXCLUSIVE")  # held until the file is closed, or the process dies
        known = run("PRAGMA application_id").fetchone()[0], run("PRAGMA user_version").fetchone()[0]
        tables = sorted(text for (text,) in run("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
        if known == (0, 0) and not tables:
            for statement in _SCHEMA:
                run(statement)
            run(f"PRAGMA application_id={APPLICATION_ID}")
            run(f"PRAGMA user_version={VERSION}")
        elif known != (APPLICATION_ID, VERSION) or tables != sorted(_SCHEMA):
            run("ROLLBACK")
            self._database.close()
            raise FileFormatError(
                f"ledger {self.path!r} must be a query ledger of version {VERSION}, got another database"
            )
        run("UPDATE queries SET state = 'in doubt', reason = 'the run died' WHERE state = 'in flight'")
        run("COMMIT")

    def service(self, key: str, address: str) -> int:
        """The number of a service in this ledger.

        Args:
            key: hash of all that decides its answers.
            address: for people.
        """
        with self._lock:
            self._database.execute("INSERT OR IGNORE INTO services (key, address) VALUES (?, ?)", (key, address))
            return int(self._database.execute("SELECT id FROM services WHERE key = ?", (key,)).fetchone()[0])

    def begin(self, service: int, probe: str, purpose: Purpose, *, budget: int | None = None) -> int:
        """Write down that a request is about to be sent.

        Args:
            service: see `service`.
            probe: hash of the image.
            purpose: see `Purpose`.
            budget: most queries to this service, over all runs; None: no limit.

        Returns:
            The query's number.

        Raises:
            BudgetSpentError: no query is left.
        """
        with self._lock:
            run = self._database.execute
            asked = run("SELECT count(*) FROM queries WHERE service = ?", (service,)).fetchone()[0]
            if budget is not None and asked >= budget:
                raise BudgetSpentError
            made = run(
                "INSERT INTO queries (service, probe, purpose, state, asked) VALUES (?, ?, ?, 'in flight', ?)",
                (service, probe, purpose, time.time()),
            )
            return int(made.lastrowid or 0)

    def answered(self, query: int, row: _Row, *, seconds: float) -> None:
        """Write an answer down."""
        content = np.ascontiguousarray(row, dtype="<f8").tobytes()
        self._end(query, "answered", None, seconds, content)

    def failed(self, query: int, reason: str, *, in_doubt: bool, seconds: float) -> None:
        """Write down that no answer came; `in_doubt`: the service may have worked on it."""
        self._end(query, "in doubt" if in_doubt else "failed", reason[:300], seconds, None)

    def _end(self, query: int, state: str, reason: str | None, seconds: float, answer: bytes | None) -> None:
        with self._lock:
            self._database.execute(
                "UPDATE queries SET state = ?, reason = ?, seconds = ?, answer = ? WHERE id = ?",
                (state, reason, seconds, answer, query),
            )

    def answers(self, service: int, purpose: Purpose) -> dict[str, _Row]:
        """Recorded answers by the hash of the image; of several the first one.

        Raises:
            FileFormatError: a record that holds no finite numbers.
        """
        with self._lock:
            rows = self._database.execute(
                "SELECT probe, answer FROM queries WHERE service = ? AND purpose = ? AND state = 'answered' "
                "ORDER BY id DESC",
                (service, purpose),
            ).fetchall()
        found: dict[str, _Row] = {}
        for probe, content in rows:
            sound = isinstance(content, bytes) and 0 < len(content) <= 8 * MAX_COLUMNS and not len(content) % 8
            row = np.frombuffer(content, dtype="<f8").astype(np.float64) if sound else np.empty(0)
            if not len(row) or not np.isfinite(row).all():
                raise FileFormatError(f"ledger {self.path!r} must hold finite numbers, got another answer to {probe!r}")
            found[str(probe)] = row
        return found

    def counts(self, service: int) -> dict[str, int]:
        """Queries by what came of them: ``asked`` (all), ``answered``, ``failed``, ``in doubt`` and ``repeated``."""
        with self._lock:
            rows = self._database.execute(
                "SELECT state, purpose, count(*) FROM queries WHERE service = ? GROUP BY state, purpose", (service,)
            ).fetchall()
        found = dict.fromkeys(("asked", "answered", "failed", "in doubt", "in flight", "repeated"), 0)
        for state, purpose, count in rows:
            found[state] += count
            found["asked"] += count
            found["repeated"] += count if purpose == "repeat" else 0
        return found

    def seconds_a_query(self, service: int) -> float | None:
        """Median seconds of an answered query; None before the first one."""
        with self._lock:
            rows = self._database.execute(
                "SELECT seconds FROM queries WHERE service = ? AND state = 'answered'", (service,)
            ).fetchall()
        return float(np.median([row[0] for row in rows])) if rows else None

    def spent(self, probes: Sequence[str], *, before: float, without: Sequence[str] = ()) -> int:
        """How many of these probes any service was asked before a time: whoever runs it may know them.

        Args:
            probes: hashes of images.
            before: seconds since the epoch.
            without: keys of services that do not count.
        """
        with self._lock:
            rows = self._database.execute(
                "SELECT DISTINCT probe, key FROM queries JOIN services ON services.id = service WHERE asked < ?",
                (before,),
            ).fetchall()
        return len({probe for probe, key in rows if key not in without}.intersection(probes))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_counts(path: StrPath) -> dict[str, dict[str, int]]:
    """Number of queries by service and state, for people; nothing is written, and no lock is taken.

    Raises:
        FileFormatError: no query ledger, or a damaged one.
    """
    found: dict[str, dict[str, int]] = {}
    select = "SELECT address, state, COUNT(*) FROM queries JOIN services ON services.id = service GROUP BY 1, 2"
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA trusted_schema=OFF")
            for address, state, count in database.execute(select):
                found.setdefault(str(address), {})[str(state)] = int(count)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise FileFormatError(f"ledger {os.fspath(path)!r} must be a query ledger, got {error}") from error
    return found
