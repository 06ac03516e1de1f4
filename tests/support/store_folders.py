"""Looks into the folder of a store, and changes it behind its back."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

from sac_fast.store import ModelStore


def blobs(folder: Path) -> dict[str, bytes]:
    """All outputs on the disk by their names, in files of their own and in segments, as the format says."""
    found = {path.stem: path.read_bytes() for path in (folder / "outputs").rglob("*") if path.is_file()}
    for path in sorted((folder / "segments").iterdir()) if (folder / "segments").exists() else []:
        data = path.read_bytes()
        at = 0
        while at < len(data):
            word, length, digest = struct.unpack_from("<8sQ32s", data, at)
            if word == b"outputs\n":
                found[digest.hex()] = data[at + 48 : at + 48 + length]
            at += 48 + (length + 7) // 8 * 8
    return found


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
