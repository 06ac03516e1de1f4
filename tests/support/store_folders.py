"""Looks into the folder of a store, and changes it behind its back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sac_fast.store import ModelStore


def change(folder: Path, *statements: str) -> None:
    """Change the database as its owner can, with none of our checks."""
    connection = sqlite3.connect(folder / "zoo.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def statuses(folder: Path) -> dict[str, str]:
    with ModelStore.open(folder, write=False) as store:
        return {record.name: record.status for record in store.records()}
