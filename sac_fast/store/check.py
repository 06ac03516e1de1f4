"""Check a store for damage, and repair it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import StoreDamagedError, StoreError
from ..io.files import StrPath
from ..io.progress import track
from .additions import Values
from .check_segments import Finding, Kind, adopt, check_segments
from .database import NAME, bound, create_database, damaged
from .lock import WriterLock, writer_of
from .output_files import ADDITION, FOLDER, INCOMING, SUFFIX, unreadable
from .quarantine import quarantine
from .rows import SELECT, record_of
from .segments import FOLDER as SEGMENTS
from .store import ModelStore
from .vector_files import FOLDER as VECTORS
from .vector_files import VectorFolder, name_of
from .vectors import remove_vectors


@dataclass(frozen=True)
class CheckReport:
    """The outcome of `check_store`.

    Attributes:
        folder: the store.
        results: number of results that were read and hashed.
        findings: the defects, repaired or not.
        notes: remarks that are no defects.
    """

    folder: Path
    results: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no defect was found."""
        return not self.findings

    @property
    def sound(self) -> bool:
        """Whether every defect was repaired."""
        return all(finding.repair is not None for finding in self.findings)


def check_store(store: ModelStore | StrPath, *, repair: bool = False, progress: bool = False) -> CheckReport:
    """Check a store's database and every file of it.

    A repair deletes half-written files, restores results whose rows are lost (their files hold the key), and moves
    whatever is damaged or foreign to ``quarantine/``. A model whose outputs are lost gets the status ``"redo"``. A
    damaged database is moved there too: results are restored from their files, names and failures by the next scan.

    Args:
        store: its folder, or an open store.
        repair: needs a folder without a writer, or a store that is open for writing.
        progress: show a bar on stderr.

    Returns:
        The defects, and their repairs.

    Raises:
        StoreLockedError: ``repair`` while another process writes.
        StoreError: no store, of another version, a file that cannot be read for reasons outside of it (permissions,
            descriptors, the disk), or a repair that failed.
    """
    if isinstance(store, ModelStore):
        return _check(store, repair, progress)
    path = Path(store)
    try:
        with ModelStore.open(path, write=repair, sweep=False) as opened:
            return _check(opened, repair, progress)
    except StoreDamagedError as error:
        broken = Finding("database", NAME, str(error))
        if not repair:
            return CheckReport(path, 0, (broken,))
    moved = _quarantine_database(path)
    with ModelStore.open(path, write=True, sweep=False) as opened:
        opened.files.remove_incoming(ADDITION)  # nothing is committed now: whatever there is is taken up
        found = _check(opened, True, progress)
    done = f"moved to {', '.join(moved)}; created again" if moved else "created again"
    return CheckReport(path, found.results, (replace(broken, repair=done), *found.findings), found.notes)


def _check(store: ModelStore, repair: bool, progress: bool) -> CheckReport:
    with contextlib.ExitStack() as stack:
        if repair:
            stack.enter_context(store.writing())
        verdict = [str(row[0]) for row in store.rows("PRAGMA integrity_check(10)")]
        if verdict != ["ok"]:
            raise damaged(store.folder / NAME, "; ".join(verdict)[:500])
        findings = list(_left_over(store, repair))
        results = store.rows("SELECT digest, key, n, k, outputs_file FROM results ORDER BY outputs_file")
        places = store.places_of([row[4] for row in results])
        for row in track(results, "checking outputs", enabled=progress):
            findings += _check_result(store, row, places.get(row[4]), repair)
        findings += _check_models(store, repair)
        known = {name for (name,) in store.rows("SELECT outputs_file FROM results")}
        findings += _check_files(store, known, repair)
        findings += check_segments(store, known, repair)
        findings += _check_vectors(store, repair)
        notes = []
        (unused,) = store.rows(
            "SELECT count(*) FROM results WHERE digest NOT IN (SELECT digest FROM models WHERE digest NOT NULL)"
        )
        if unused[0]:
            notes.append(
                f"{unused[0]} results belong to no model at present (`sac-fast store rm --unused` deletes them)"
            )
        if not store.is_writer and (pid := writer_of(store.folder)) is not None:
            # Files that the writer is about to commit would be reported as orphaned or half written.
            findings = [found for found in findings if found.kind not in ("orphaned", "left-over")]
            notes.append(f"process {pid or '?'} writes to the store: orphaned and half-written files were not checked")
        return CheckReport(store.folder, len(results), tuple(findings), tuple(notes))


def _left_over(store: ModelStore, repair: bool) -> Iterator[Finding]:
    names = store.files.left_over()
    if repair:
        store.undo_addition()
        store.files.sweep()
    rest = set(store.files.left_over())
    for name in names:
        done = "deleted" if repair else None
        if repair and name in rest:
            done = f"moved to {quarantine(store.files.root, (INCOMING, name))}"
        yield Finding("left-over", f"{INCOMING}/{name}", "its writer was stopped before it was complete", done)


def _check_result(store: ModelStore, row: tuple[object, ...], place: Values | None, repair: bool) -> Iterator[Finding]:
    """Check one row of results and its file."""
    digest, text, n, k, file = row
    what = f"{FOLDER}/{str(file)[:2]}/{str(file)[:100]}{SUFFIX}" if place is None else f"{SEGMENTS}/{str(file)[:100]}"
    kind: Kind
    try:
        key, outputs = store.files.read(str(file), place)
        if key.json != text or key.digest != digest or tuple(outputs.shape) != (n, k):
            raise ValueError("it must hold the result of the row that names it, got another one")
        return
    except FileNotFoundError:
        kind, detail = "missing", "the file of a result does not exist"
    except ValueError as error:
        kind, detail = "damaged", str(error)
    except OSError as error:
        raise unreadable(str(file), error) from error
    if not repair:
        # The model may have been removed since the rows were read.
        if store.rows("SELECT 1 FROM results WHERE digest = ?", digest):
            yield Finding(kind, what, detail)
        return
    reason = f"outputs-{kind}"
    with store.transaction():
        count = store.connection.execute(
            "UPDATE models SET status = 'redo', digest = NULL, reason = ?, message = ? WHERE digest = ?",
            (reason, detail[:200], digest),
        ).rowcount
        store.connection.execute("DELETE FROM results WHERE digest = ?", (digest,))
        store.connection.execute("DELETE FROM distances WHERE digest = ?", (digest,))
        dropped = store.drop_places([file])
    if place is not None:
        store.files.segments.mark_removed([where for _, where in dropped if where is not None])
    done = f"{count} model{'' if count == 1 else 's'} marked to be run again"
    if kind == "damaged" and place is None:
        with contextlib.suppress(OSError):  # the row may hold no valid file name: then there is nothing to move
            done = f"moved to {quarantine(store.files.root, (FOLDER, str(file)[:2], str(file) + SUFFIX))}; {done}"
    yield Finding(kind, what, detail, done)


def _check_models(store: ModelStore, repair: bool) -> Iterator[Finding]:
    for row in store.rows(SELECT + "ORDER BY m.name, m.probe_hash"):
        try:
            record_of(row)
            continue
        except StoreError as error:
            detail = str(error)
        if repair:
            # Damaged rows hold values of any type.
            where = "WHERE CAST(name AS BLOB) = ? AND CAST(probe_hash AS BLOB) = ?"
            keys = tuple(value if isinstance(value, bytes) else bound(str(value)) for value in row[:2])
            with store.transaction():
                for table in ("models", "visits"):
                    store.connection.execute(f"DELETE FROM {table} {where}", keys)
        done = "deleted: the next scan runs the model again" if repair else None
        yield Finding("row", str(row[0])[:200], detail, done)


def _check_files(store: ModelStore, known: set[object], repair: bool) -> Iterator[Finding]:
    """Check for files in outputs/ that no row of results names."""
    for path, name in store.files.names():
        if name is None:
            done = f"moved to {quarantine(store.files.root, (FOLDER, *path.split('/')))}" if repair else None
            yield Finding("foreign", f"{FOLDER}/{path}", "no store writes such a file", done)
        elif name not in known:
            if store.rows("SELECT 1 FROM results WHERE outputs_file = ?", name):
                continue  # committed since the rows were read
            done = adopt(store, name) if repair else None
            yield Finding("orphaned", f"{FOLDER}/{path}", "no row names this file", done)


def _check_vectors(store: ModelStore, repair: bool) -> Iterator[Finding]:
    """Check the packed vectors of every probe set; a repair deletes damaged ones, which hold nothing of their own."""
    hashes = [str(row[0]) for row in store.rows("SELECT DISTINCT probe_hash FROM models ORDER BY probe_hash")]
    for probe_hash in hashes:
        try:
            with VectorFolder(store.files.root, probe_hash) as folder:
                found = folder.describe()
                if found is not None:
                    folder.verify(found)
            continue
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            detail = str(error)
        if repair:
            remove_vectors(store, probe_hash)
        done = "deleted: the next scan, or `sac-fast store index`, makes them again" if repair else None
        yield Finding("damaged", f"{VECTORS}/{name_of(probe_hash)}", detail, done)


def _quarantine_database(folder: Path) -> list[str]:
    with contextlib.ExitStack() as stack:
        stack.callback(WriterLock(folder).release)
        try:
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
            # The database first: a log that a crash leaves behind alone is never applied to the new database.
            moved = []
            for name in (NAME, NAME + "-wal", NAME + "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    moved.append(quarantine(root, (name,)))
            create_database(folder)
        except OSError as error:
            raise StoreError(f"cannot move the database of {str(folder)!r} to quarantine: {error}") from error
    return moved
