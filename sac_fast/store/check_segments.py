"""Check the segments of a store, and take up outputs whose rows are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .output_files import FOLDER, SUFFIX, unreadable
from .quarantine import quarantine
from .segments import FOLDER as SEGMENTS
from .segments import Place, number_of
from .store import ModelStore

Kind = Literal["database", "row", "missing", "damaged", "orphaned", "foreign", "left-over"]


@dataclass(frozen=True)
class Finding:
    """One defect of a store.

    Attributes:
        kind: ``"database"`` damaged; ``"row"`` of a model damaged; a result's file ``"missing"`` or ``"damaged"``; a
            file ``"orphaned"`` (without a row), ``"foreign"`` (not written by a store) or ``"left-over"`` (half
            written).
        what: the file, or the model's name.
        detail: what is wrong with it.
        repair: what was done about it; None: not repaired.
    """

    kind: Kind
    what: str
    detail: str
    repair: str | None = None


def check_segments(store: ModelStore, known: set[object], repair: bool) -> Iterator[Finding]:
    """Check for outputs in segments that no row of results names, and for what is no record.

    Args:
        store: the store.
        known: names of the outputs that have a row.
        repair: restore rows; move what is foreign to ``quarantine/``.
    """
    names = store.files.segments.names()
    if names:
        yield from _check_places(store, repair)
    for name in names:
        number = number_of(name)
        if number is None:
            done = f"moved to {quarantine(store.files.root, (SEGMENTS, name))}" if repair else None
            yield Finding("foreign", f"{SEGMENTS}/{name}", "no store writes such a file", done)
            continue
        yield from _check_segment(store, number, known, repair)


def _check_places(store: ModelStore, repair: bool) -> Iterator[Finding]:
    where = "WHERE outputs_file NOT IN (SELECT outputs_file FROM results)"
    for (name,) in store.rows(f"SELECT outputs_file FROM segments {where}"):
        if repair:
            store.connection.execute("DELETE FROM segments WHERE outputs_file = ?", (name,))
        yield Finding("row", str(name)[:200], "a place of outputs that no result has", "deleted" if repair else None)


def _check_segment(store: ModelStore, number: int, known: set[object], repair: bool) -> Iterator[Finding]:
    what, end = f"{SEGMENTS}/{number:08}", 0
    try:
        for found in store.files.segments.records(number):
            end = found.place.start + found.place.length + -found.place.length % 8
            if found.is_removed or found.name in known:
                continue
            if store.rows("SELECT 1 FROM results WHERE outputs_file = ?", found.name):
                continue  # committed since the rows were read
            done = adopt(store, found.name, found.place) if repair else None
            yield Finding("orphaned", f"{what}: {found.name}", "no row names these outputs", done)
        return
    except FileNotFoundError:
        return  # a writer has deleted it since
    except ValueError as error:
        detail = str(error)
    except OSError as error:
        raise unreadable(what, error) from error
    is_used = bool(store.rows("SELECT 1 FROM segments WHERE segment = ? AND start + length > ? LIMIT 1", number, end))
    done = None
    if repair and is_used:
        store.move_records(number)  # those that are damaged have no rows any more
        done = f"outputs were written anew; moved to {quarantine(store.files.root, (SEGMENTS, f'{number:08}.seg'))}"
    elif repair and end == 0:
        done = f"moved to {quarantine(store.files.root, (SEGMENTS, f'{number:08}.seg'))}"
    elif repair:
        store.files.segments.undo(number, end)
        done = "cut off"
    yield Finding("damaged" if is_used else "left-over", what, detail, done)


def adopt(store: ModelStore, name: str, place: Place | None = None) -> str:
    """Restore the row of a result from its bytes, or remove these.

    Args:
        store: open for writing.
        name: of the outputs.
        place: in a segment; None: a file of their own.

    Returns:
        What was done.
    """
    try:
        key, outputs = store.files.read(name, place)
    except OSError as error:
        raise unreadable(name, error) from error
    except ValueError as error:
        if place is not None:
            store.files.segments.mark_removed([place])
            return f"marked as removed: {error}"
        return f"moved to {quarantine(store.files.root, (FOLDER, name[:2], name + SUFFIX))}: {error}"
    if store.has_result(key):
        store.remove_blobs([(name, place)])
        return "deleted: its key has a result already"
    row = (key.digest, key.json, *outputs.shape, name)
    with store.transaction():
        store.put_places([(name, place)])
        store.connection.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?)", row)
    return "restored: known again when its model is scanned"
