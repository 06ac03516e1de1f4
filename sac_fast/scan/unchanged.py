"""Known models of a scan, recognised many at a time without making a record or a job of each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from ..formats.table_format import TableFormat
from ..models.entry import ModelEntry
from ..store.database import bound
from ..store.store import ModelStore
from .jobs import Job, WorkerSettings, request_text

_NAME, _PATH = "\0name\0", "/\0path\0"
_TABLE = TableFormat()
_Template = tuple[str, str, str]


class UnchangedModels:
    """Recognises models with outputs, of which nothing has changed and nothing is to be said.

    Args:
        store: of the scan.
        probe_hash, settings, code_version: of the scan.
    """

    def __init__(self, store: ModelStore, probe_hash: str, settings: WorkerSettings, code_version: str) -> None:
        self._store, self._probe_hash = store, probe_hash
        self._settings, self._code_version = settings, code_version
        self._templates: dict[object, _Template | None] = {}

    def find(self, entries: Sequence[ModelEntry]) -> set[str]:
        """Names of those that are certainly unchanged; the others must be looked at one by one.

        Args:
            entries: at most 500.
        """
        marks = ", ".join(["CAST(? AS TEXT)"] * len(entries))
        # The order of the tables is given, since there are no statistics by which it could be chosen.
        sql = (
            "SELECT m.name, v.path, v.size, v.mtime_ns, v.ctime_ns, v.inode, v.request FROM models m "
            "CROSS JOIN visits v ON v.name = m.name AND v.probe_hash = m.probe_hash "
            f"WHERE m.name IN ({marks}) AND m.probe_hash = ? AND m.status = 'done' AND m.message IS NULL "
            "AND instr(m.details, '\"tags\":[]') AND EXISTS (SELECT 1 FROM results r WHERE r.digest = m.digest)"
        )
        rows = self._store.rows(sql, *[bound(entry.name) for entry in entries], self._probe_hash)
        visits = {name: visit for name, *visit in rows}
        return {entry.name for entry in entries if entry.name in visits and self._is_same(entry, visits[entry.name])}

    def _is_same(self, entry: ModelEntry, visit: list[object]) -> bool:
        path = os.fspath(entry.path)
        *stamp, request = visit
        template = self._template(entry)
        if template is None:
            return False
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return False
        inode = found.st_ino - (1 << 64) if found.st_ino >= 1 << 63 else found.st_ino
        if stamp != [path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode]:
            return False
        before, between, after = template
        text = f"{before}{json.dumps(entry.name)}{between}{json.dumps(path)}{after}"
        return request == "sha256:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _template(self, entry: ModelEntry) -> _Template | None:
        """The text of a request before, between and after name and path; None: others depend on them too."""
        if entry.tags or entry.claims or entry.kwargs or entry.inputs or entry.table != _TABLE:
            return None
        key = entry.architecture, entry.output, entry.weights_key, entry.root, id(entry.preprocessing)
        if key not in self._templates:
            self._templates[key] = self._make_template(entry)
        return self._templates[key]

    def _make_template(self, entry: ModelEntry) -> _Template | None:
        prepared = self._settings.prepared(entry.at(_NAME, Path(_PATH), entry.root))
        text = request_text(Job(0, prepared), self._settings, self._code_version)
        before, name, rest = text.partition(json.dumps(_NAME))
        between, path, after = rest.partition(json.dumps(_PATH))
        return (before, between, after) if name and path else None
