"""Known models of a scan, recognised many at a time without making a record or a job of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

from ..formats.table_format import TableFormat
from ..models.entry import ModelEntry
from ..store.database import bound
from ..store.store import ModelStore
from .jobs import Job, WorkerSettings, request_text

_NAME, _PATH = "\0name\0", "/\0path\0"
_TABLE = TableFormat()
_Template = tuple[str, str, str]
# The order of the tables is given, since there are no statistics by which it could be chosen.
_SELECT = (
    # As bytes, which need no call for each text.
    "SELECT CAST(m.name AS BLOB), CAST(v.path AS BLOB), v.size, v.mtime_ns, v.ctime_ns, v.inode, "
    "CAST(v.request AS BLOB) FROM models m "
    "CROSS JOIN visits v ON v.name = m.name AND v.probe_hash = m.probe_hash WHERE m.probe_hash = ? "
    "AND m.status = 'done' AND m.digest NOT NULL AND m.message IS NULL AND instr(m.details, '\"tags\":[]')"
)
_MAX_SHARE = 4
_MAX_NAMES = 500  # of a query: SQLite binds at most 999 values in its smallest builds


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
        self._last: tuple[ModelEntry | None, _Template | None] = (None, None)

    def find(self, entries: Sequence[ModelEntry]) -> set[str]:
        """Names of those that are certainly unchanged; the others must be looked at one by one.

        Args:
            entries: a few thousand, or the first is known late.
        """
        names = [entry.name for entry in entries]
        # Ten times as fast as the names one by one, where the store has few others between the first and the last.
        limit = _MAX_SHARE * len(names)
        within = "m.name BETWEEN CAST(? AS TEXT) AND CAST(? AS TEXT)"
        rows = self._store.rows(f"{_SELECT} AND {within} LIMIT ?", self._probe_hash, *_ends(names), limit)
        if len(rows) == limit:
            rows = []
            for start in range(0, len(names), _MAX_NAMES):
                some = [bound(name) for name in names[start : start + _MAX_NAMES]]
                marks = ", ".join(["CAST(? AS TEXT)"] * len(some))
                rows += self._store.rows(f"{_SELECT} AND m.name IN ({marks})", self._probe_hash, *some)
        visits = {row[0]: row for row in rows}
        return {
            entry.name
            for entry, name in zip(entries, map(bound, names), strict=True)
            if name in visits and self._is_same(entry, visits[name])
        }

    def _is_same(self, entry: ModelEntry, visit: tuple[object, ...]) -> bool:
        template = self._template(entry)
        if template is None:
            return False
        path = entry.path_text
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return False
        inode = found.st_ino - (1 << 64) if found.st_ino >= 1 << 63 else found.st_ino
        if visit[1:-1] != (bound(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode):
            return False
        before, between, after = template
        # As `canonical_json` writes texts, in ASCII.
        text = f"{before}{quoted(entry.name)}{between}{quoted(path)}{after}"
        return visit[-1] == b"sha256:" + sha256(text.encode()).hexdigest().encode()

    def _template(self, entry: ModelEntry) -> _Template | None:
        """The text of a request before, between and after name and path; None: others depend on them too."""
        last, template = self._last
        if last is None or not entry.is_like(last):
            template = self._find_template(entry)
            self._last = entry, template
        return template

    def _find_template(self, entry: ModelEntry) -> _Template | None:
        if entry.tags or entry.claims or entry.kwargs or entry.inputs or entry.table != _TABLE:
            return None
        key = entry.architecture, entry.output, entry.weights_key, entry.root, id(entry.preprocessing)
        if key not in self._templates:
            self._templates[key] = self._make_template(entry)
        return self._templates[key]

    def _make_template(self, entry: ModelEntry) -> _Template | None:
        prepared = self._settings.prepared(entry.at(_NAME, Path(_PATH), entry.root))
        text = request_text(Job(0, prepared), self._settings, self._code_version)
        before, name, rest = text.partition(quoted(_NAME))
        between, path, after = rest.partition(quoted(_PATH))
        return (before, between, after) if name and path else None


def _ends(names: Sequence[str]) -> tuple[bytes, bytes]:
    """The first and the last name in the order of the database."""
    return bound(min(names)), bound(max(names))
