"""Names of models that a store knows from another file: a second file of that name must not take its place.

Names come from folders of others. One that is called like the owner's own source would replace its outputs, and every
later verdict would compare the suspects with that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..models import ModelEntry
from ..store.records import MAX_TEXT, FileStamp, ModelRecord
from ..store.store import ModelStore


def stamp_of(path: Path) -> FileStamp | None:
    """The stamp of a file; None: there is no such file."""
    with contextlib.suppress(OSError, ValueError):
        return FileStamp.of(path)
    return None


def is_of_file(known: ModelRecord, path: Path, stamp: FileStamp | None) -> bool:
    """Whether a record is of this file: by its path, or by a stamp that only the same file has, under another path.

    Args:
        known: the record; one of a failure has nothing to lose, and is of any file.
        path: absolute.
        stamp: of the file now.
    """
    if known.status == "failed":
        return True
    if stamp is not None and known.file is not None and dataclasses.replace(known.file, path=stamp.path) == stamp:
        return True
    # A relative path, as earlier versions stored, may have been relative to any folder.
    return known.path == str(path) or (
        os.path.isabs(known.path) and os.path.realpath(known.path) == os.path.realpath(path)
    )


@dataclass(frozen=True)
class KnownNames:
    """The names that a store knows under one probe set.

    Attributes:
        store, probe_hash: where they are looked up.
        replace: whether a second file of a known name replaces the model.
    """

    store: ModelStore
    probe_hash: str
    replace: bool

    def is_of_another(self, known: ModelRecord | None, entry: ModelEntry, stamp: FileStamp | None) -> bool:
        """Whether the model known by an entry's name is another file's, and to be kept."""
        return known is not None and not self.replace and not is_of_file(known, entry.path, stamp)

    def is_taken(self, entry: ModelEntry) -> bool:
        """`is_of_another` of the store's model of that name."""
        return self.is_of_another(self.store.record_for(entry.name, self.probe_hash), entry, stamp_of(entry.path))

    def rename(self, entry: ModelEntry) -> tuple[ModelEntry, ModelRecord | None]:
        """An entry under a name that no other file has, and the store's record of that name."""
        entry = dataclasses.replace(entry, name=name_with_path(entry))
        return entry, self.store.record_for(entry.name, self.probe_hash)


def name_with_path(entry: ModelEntry) -> str:
    """A name that holds the file's path; no path below a folder begins with ``./``, so no file is called that."""
    path = os.fsencode(entry.path)
    name = f"./{entry.name} of {path.decode('utf-8', 'backslashreplace')}"
    if len(name) <= MAX_TEXT:
        return name
    return f"./{entry.name[:1000]} of {hashlib.sha256(path).hexdigest()}"
